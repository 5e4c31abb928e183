from __future__ import annotations

import numpy as np
import pytest

from compgraph.communities.additive import fit_additive


@pytest.fixture
def table() -> tuple[np.ndarray, np.ndarray]:
    """All pairs of 6 rows and 5 columns but three."""
    first, second = (ends.ravel() for ends in np.meshgrid(np.arange(6), np.arange(5), indexing="ij"))
    return first[3:], second[3:]


def design(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    n = int(max(first.max(), second.max())) + 1
    rows = np.zeros((len(first), n))
    for row, ends in enumerate(zip(first, second, strict=True)):
        for end in ends:
            rows[row, end] += 1
    return rows


def test_fit_equals_least_squares(table: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = table
    y = np.random.default_rng(0).normal(size=len(first))
    rows = design(first, second + 6)
    expected = rows @ np.linalg.lstsq(rows, y, rcond=None)[0]
    fit = fit_additive(first, second + 6, y)
    assert fit.fitted == pytest.approx(expected, abs=1e-12)
    hat = rows @ np.linalg.pinv(rows)
    assert fit.leverage == pytest.approx(np.diag(hat), abs=1e-10)


def test_undirected_pairs_share_their_effects() -> None:
    first, second = np.triu_indices(6, 1)
    y = np.random.default_rng(1).normal(size=len(first))
    rows = design(first, second)
    expected = rows @ np.linalg.lstsq(rows, y, rcond=None)[0]
    assert fit_additive(first, second, y).fitted == pytest.approx(expected, abs=1e-12)


def test_the_only_pair_of_a_row_has_no_residual(table: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = np.append(table[0], 6), np.append(table[1], 0)
    y = np.random.default_rng(2).normal(size=len(first))
    fit = fit_additive(first, second + 7, y)
    assert np.flatnonzero(~fit.informative).tolist() == [len(first) - 1]
    assert fit.residual[-1] == pytest.approx(0, abs=1e-12)
    assert len(fit.studentised()) == len(first) - 1


def test_residuals_are_brought_to_one_variance(table: tuple[np.ndarray, np.ndarray]) -> None:
    rng = np.random.default_rng(3)
    draws = [fit_additive(table[0], table[1] + 6, rng.normal(size=len(table[0]))).studentised() for _ in range(800)]
    assert np.std(draws, axis=0) == pytest.approx(np.ones(len(table[0])), abs=0.12)


def test_one_extreme_value_does_not_shift_its_row(table: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = table
    noise = 0.1 * np.random.default_rng(4).normal(size=len(first))
    spoiled = noise.copy()
    spoiled[10] -= 50
    row = (first == first[10]) & (np.arange(len(first)) != 10)
    robust = fit_additive(first, second + 6, spoiled, robust=True)
    plain = fit_additive(first, second + 6, spoiled)
    assert np.abs(robust.residual[row]).max() < 0.5
    assert np.abs(plain.residual[row]).max() > 5


def test_robust_residuals_do_not_depend_on_the_effects(table: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = table
    rng = np.random.default_rng(5)
    y = rng.standard_t(2, size=len(first))
    moved = y + 3 * rng.normal(size=6)[first] + 3 * rng.normal(size=5)[second]
    residuals = [fit_additive(first, second + 6, values, robust=True).residual for values in (y, moved)]
    assert residuals[0] == pytest.approx(residuals[1], abs=1e-5)


def test_exact_sums_leave_nothing(table: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = table
    fit = fit_additive(first, second + 6, first * 1.5 - second * 0.25, robust=True)
    assert fit.residual == pytest.approx(np.zeros(len(first)), abs=1e-12)
