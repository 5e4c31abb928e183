"""Adjusted p-values: the definitions written out, and a simulated rate of false discoveries."""

from __future__ import annotations

import numpy as np
import pytest

from compgraph.multiple_testing import adjust, ascending, benjamini_hochberg, benjamini_yekutieli


def test_by_hand_and_nan_stays_nan() -> None:
    q = benjamini_hochberg(np.array([0.04, np.nan, 0.01, 0.03, 0.5]))
    np.testing.assert_allclose(q, [0.16 / 3, np.nan, 0.04, 0.16 / 3, 0.5])
    assert len(benjamini_hochberg(np.zeros(0))) == 0
    assert np.isnan(benjamini_yekutieli(np.array([np.nan]))).all()


def test_yekutieli_multiplies_by_the_harmonic_sum_and_stops_at_one() -> None:
    p = np.array([0.001, 0.2, 0.9])
    np.testing.assert_allclose(benjamini_yekutieli(p), [0.003 * 11 / 6, 0.55, 1.0])


def test_the_rate_is_kept_under_a_mixture_of_effects() -> None:
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(300):
        p = np.concatenate([rng.uniform(size=160), rng.beta(0.05, 4, size=40)])
        found = adjust(p, "bh") <= 0.1
        shares.append(found[:160].sum() / max(found.sum(), 1))
    assert 0.05 < np.mean(shares) < 0.1


def test_names() -> None:
    p = np.array([0.01, 0.5])
    assert adjust(p, "none").tolist() == p.tolist()
    with pytest.raises(ValueError, match="'holm' is not known; valid are bh, by, none"):
        adjust(p, "holm")  # type: ignore[arg-type]


@pytest.mark.parametrize("correction", ["bh", "by"])
def test_unlisted_tests_count_as_ones(correction: str) -> None:
    p = np.array([0.001, 0.02, 0.3])
    whole = adjust(np.concatenate([p, np.ones(7)]), correction)  # type: ignore[arg-type]
    np.testing.assert_allclose(adjust(p, correction, n_tests=10), whole[:3])  # type: ignore[arg-type]


@pytest.mark.parametrize("n", [0, 1, 2, 5000])
def test_ascending_is_a_sorting_order_down_to_the_last_bit(n: int) -> None:
    rng = np.random.default_rng(0)
    near = 0.5 + rng.integers(0, 50, n) * 2.0**-53  # keys of many are the same but for the index
    for p in (near, np.where(rng.uniform(size=n) < 0.3, 0.0, rng.uniform(size=n) ** 50), -np.zeros(n)):
        order = ascending(p)
        assert np.array_equal(np.sort(order), np.arange(n))
        assert np.array_equal(p[order], np.sort(p))
