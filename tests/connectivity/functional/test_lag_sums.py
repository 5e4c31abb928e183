"""Autocovariances from spectra against a walk over all pairs, for any positions, items and blocks."""

from __future__ import annotations

import numpy as np
import pytest

from compgraph.connectivity.functional.lag_sums import LagSums


def rows(lengths: list[int], gaps: bool, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    item = np.repeat(np.arange(len(lengths)), lengths)
    places = [np.sort(rng.choice(3 * n, n, replace=False)) if gaps else np.arange(n) for n in lengths]
    return rng.normal(1.0, 2.0, size=(len(item), 3)), item, np.concatenate(places)


def pairwise(x: np.ndarray, item: np.ndarray, position: np.ndarray, n_lags: int) -> dict[str, np.ndarray]:
    found = {"count": np.zeros(n_lags, np.int64)}
    found |= {name: np.zeros((n_lags, x.shape[1])) for name in ("first", "second", "product")}
    for a in range(len(x)):
        for b in range(a + 1, len(x)):
            k = position[b] - position[a]
            if item[a] == item[b] and 1 <= k <= n_lags:
                found["count"][k - 1] += 1
                found["first"][k - 1] += x[a]
                found["second"][k - 1] += x[b]
                found["product"][k - 1] += x[a] * x[b]
    return found


@pytest.mark.parametrize("lengths", [[6] * 5, [1, 9, 2, 40, 3], [83]], ids=["equal", "unequal", "long"])
@pytest.mark.parametrize("n_lags", [1, 5, 12])
@pytest.mark.parametrize("gaps", [False, True], ids=["dense", "gaps"])
@pytest.mark.parametrize("size", [1, 7, 64])
def test_every_pair_counts_once(lengths: list[int], n_lags: int, gaps: bool, size: int) -> None:
    x, item, position = rows(lengths, gaps)
    sums = LagSums(3, n_lags)
    for start in range(0, len(x), size):
        cut = slice(start, start + size)
        sums.add(x[cut], item[cut], position[cut])
    for name, expected in pairwise(x, item, position, n_lags).items():
        np.testing.assert_allclose(getattr(sums, name), expected, rtol=0, atol=1e-11, err_msg=name)


def test_passes_with_other_longest_lags_add_up() -> None:
    x, item, position = rows([4, 30], gaps=False)
    whole, short, long = LagSums(3, 9), LagSums(3, 3), LagSums(3, 9)
    whole.add(x, item, position)
    short.add(x[:4], item[:4], position[:4])
    long.add(x[4:], item[4:], position[4:])
    short.merge(long)
    assert np.array_equal(short.count, whole.count)
    np.testing.assert_allclose(short.product, whole.product, rtol=0, atol=1e-11)
