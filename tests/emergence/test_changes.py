"""Changes of level: found where planted, at the nominal rate where there is only noise that remembers itself."""

from __future__ import annotations

import numpy as np
import pytest

from compgraph.emergence.changes import autocorrelation, best_division, find_changes, likeliest_change, surrogates


@pytest.mark.parametrize("coefficient", [0.0, 0.5, 0.8, 0.95])
def test_noise_has_changes_at_no_more_than_the_nominal_rate(coefficient: float) -> None:
    rng = np.random.default_rng(int(100 * coefficient))
    curves = surrogates(24, coefficient, 200, rng)
    found = np.mean([likeliest_change(y, 99, rng).p <= 0.05 for y in curves])
    assert found <= 0.085  # 0.05 and two standard errors of 200 draws


def test_the_usual_penalty_finds_changes_in_such_noise() -> None:
    curves = surrogates(24, 0.8, 200, np.random.default_rng(0))
    innovations = curves[:, 1:] - 0.8 * curves[:, :-1]
    gain = best_division(curves)[1] * ((curves - curves.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    assert np.mean(gain / innovations.var(axis=1) > 2 * np.log(24)) > 0.8


@pytest.mark.parametrize("coefficient", [0.0, 0.5, 0.8])
def test_a_planted_change_is_found_where_it_is(coefficient: float) -> None:
    rng = np.random.default_rng(3)
    curves = surrogates(24, coefficient, 40, rng) * np.sqrt(1 - coefficient**2)
    curves[:, 14:] += 6
    tables = [find_changes(np.arange(24), y, most=1, n_surrogates=99) for y in curves]
    assert np.mean([table["found"].iloc[0] for table in tables]) >= 0.9
    assert np.mean([table["before"].iloc[0] == 14 for table in tables]) >= 0.9
    assert np.mean([table["size"].iloc[0] for table in tables]) == pytest.approx(6, abs=0.4)


def test_two_changes_are_found_in_order() -> None:
    y = np.r_[np.zeros(10), np.full(10, 5.0), np.full(10, 20.0)] + np.random.default_rng(0).normal(size=30) * 0.2
    found = find_changes(np.arange(30), y)
    assert found["before"].tolist() == [10, 20] and found["found"].all()


def test_the_best_division_is_that_of_all() -> None:
    y = np.random.default_rng(4).normal(size=15)
    total = ((y - y.mean()) ** 2).sum()
    tried = {t: 1 - (((y[:t] - y[:t].mean()) ** 2).sum() + ((y[t:] - y[t:].mean()) ** 2).sum()) / total
             for t in range(3, 13)}  # fmt: skip
    at, explained = best_division(y[None])
    assert at[0] == max(tried, key=lambda t: tried[t]) and explained[0] == pytest.approx(max(tried.values()), abs=1e-12)


def test_the_coefficient_is_nearly_unbiased_in_short_curves() -> None:
    curves = surrogates(30, 0.6, 400, np.random.default_rng(5))
    assert np.mean([autocorrelation(y) for y in curves]) == pytest.approx(0.6, abs=0.03)


def test_what_cannot_be_tested_says_why() -> None:
    assert "3 on either side" in find_changes([0, 1, 2, 3], [0, 1, 2, 3])["reason"][0]
    flat = find_changes(np.arange(9), np.ones(9)).iloc[0]
    assert flat["reason"] == "all values are equal" and not flat["found"] and np.isnan(flat["p"])
    assert find_changes(np.arange(9), np.r_[1.411, np.full(8, 1.411 + 1e-15)])["reason"][0] == "all values are equal"
    with pytest.raises(ValueError, match="finite"):
        find_changes([0, 1], [0.0, np.nan])
