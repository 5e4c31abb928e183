"""Structure against size: matched circuits, and slopes whose intervals hold."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.stats import linregress

from compgraph.emergence.scaling import Member, scale, slope
from compgraph.emergence.tracking import track
from compgraph.errors import DataError

from .examples import snapshot, trajectory

SIZES = ((1_000, 1), (1_000, 1), (10_000, 2), (10_000, 4), (100_000, 3))


@cache
def members() -> list[Member]:
    """Larger models are as faithful with fewer edges."""
    table = track(trajectory(), n_nulls=1, n_surrogates=19).table
    return [
        Member(f"m{k}", n, depth, snapshot(1000, seed=k, slope=float(np.log10(n))), table if k < 3 else None)
        for k, (n, depth) in enumerate(SIZES)
    ]


def test_circuits_are_matched_in_both_ways() -> None:
    found = scale(members(), shares=(0.05, 0.14), faithfulness=(0.9,), n_nulls=2)
    table = found.table.set_index(["model", "matched", "quantity", "level"])["value"]
    assert table["m0", "share", "faithfulness", 0.05] == pytest.approx(3 * 0.05**0.5)
    # Between circuits that were run, linear in the logarithm of the share.
    x = np.log([0.1, 0.2])
    expected = np.interp(np.log(0.14), x, [3 * 0.1**0.5, 1.0])
    assert table["m0", "share", "faithfulness", 0.14] == pytest.approx(expected)
    needed = np.log10(np.exp(np.interp(0.9, [3 * 0.05**0.5, 3 * 0.1**0.5], np.log([0.05, 0.1]))))
    assert table["m0", "faithfulness", "log10_share", 0.9] == pytest.approx(needed)
    easy = found.table[(found.table["model"] == "m4") & (found.table["quantity"] == "log10_share")].iloc[0]
    assert np.isnan(easy["value"]) and "smallest circuit that was run" in easy["reason"]
    excess = found.table["value"] - found.table["null_mean"]
    assert np.allclose(found.table["excess"], excess, equal_nan=True)
    slopes = found.slopes.set_index(["matched", "quantity", "level", "axis", "adjusted"])
    assert slopes.loc[("share", "faithfulness", 0.05, "log10_parameters", False), "slope"] > 0
    assert slopes.loc[("share", "circuit_modularity", 0.05, "depth", False), "response"] == "excess"
    assert ("share", "faithfulness", 0.05, "depth", True) in slopes.index
    lags = found.lags
    assert lags[lags["n_parameters"] == 1_000]["n_runs"].max() == 2 and lags["n_parameters"].isna().any()


def test_slopes_are_those_of_least_squares() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=9), rng.normal(size=9)
    found, known = slope(x[:, None], y), linregress(x, y)
    assert found["slope"] == pytest.approx(known.slope, abs=1e-12) and found["p"] == pytest.approx(known.pvalue)
    both = np.column_stack([x, rng.normal(size=9)])
    exact = slope(both, 2 * both[:, 0] - 3 * both[:, 1] + 1)
    assert exact["slope"] == pytest.approx(2) and exact["high"] - exact["low"] < 1e-6


def test_intervals_of_slopes_cover_at_the_nominal_rate() -> None:
    rng = np.random.default_rng(1)
    x = np.repeat([1.0, 2.0, 3.0], 2)[:, None]
    found = [slope(x, 0.5 * x[:, 0] + rng.normal(size=6)) for _ in range(400)]
    assert 0.925 <= np.mean([one["low"] <= 0.5 <= one["high"] for one in found]) <= 0.975


def test_what_has_no_slope_says_why() -> None:
    assert slope(np.ones((4, 1)), np.arange(4.0))["reason"] == "fewer than two sizes along this axis"
    assert "nothing for an interval" in slope(np.array([[1.0], [2.0]]), np.array([0.0, 1.0]))["reason"]


def test_missing_results_are_named() -> None:
    one, other = members()[:2]
    with pytest.raises(DataError, match="at least two different models"):
        scale([one, one])
    bare = Member("bare", 5, 1, trajectory()[0].__class__(0))
    with pytest.raises(DataError, match=r"graphs 'effective.heads' of bare; curves 'edges@effective.heads' of bare"):
        scale([one, other, bare])
