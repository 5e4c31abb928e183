"""JointMoments in one pass: against numpy, in any order and any cut, far from zero."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compgraph.connectivity.functional.streaming import JointMoments, blocks


def data(rows: int = 60, signals: int = 5, offset: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, signals)) @ rng.normal(size=(signals, signals)) + offset


def fed(*pieces: np.ndarray) -> JointMoments:
    moments = JointMoments(pieces[0].shape[1])
    for piece in pieces:
        moments.add(piece)
    return moments


@settings(max_examples=50, deadline=None)
@given(cuts=st.lists(st.integers(0, 60), max_size=6), offset=st.sampled_from([0.0, 1e6]))
def test_any_cut_gives_numpys_covariance(cuts: list[int], offset: float) -> None:
    x = data(offset=offset)
    moments = fed(*np.split(x, sorted(cuts)))
    assert moments.count == 60
    np.testing.assert_allclose(moments.mean, x.mean(axis=0), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(moments.covariance(), np.cov(x.T, bias=True), rtol=0, atol=1e-8)


def test_signals_far_from_zero_lose_no_digits() -> None:
    x = data()
    moments = fed(*np.split(x + 2.0**30, 6))  # representable shift: the deviations are what they were to 1e-7
    np.testing.assert_allclose(moments.covariance(), np.cov(x.T, bias=True), rtol=1e-6)
    raw = ((x + 2.0**30).T @ (x + 2.0**30)) / 60 - np.outer(*[(x + 2.0**30).mean(axis=0)] * 2)
    assert np.abs(raw - np.cov(x.T, bias=True)).max() > 1  # what the textbook formula would give


def test_blocks_whose_means_drift() -> None:
    x = data(80) + 1e3 * np.arange(80)[:, None]
    np.testing.assert_allclose(fed(*np.split(x, 8)).covariance(), np.cov(x.T, bias=True), rtol=1e-12)


def test_merge_is_the_union() -> None:
    x = data(offset=5)
    left, right = fed(x[:13]), fed(x[13:20], x[20:])
    left.merge(right)
    left.merge(JointMoments(5))
    assert left.count == 60
    np.testing.assert_allclose(left.covariance(), np.cov(x.T, bias=True), rtol=1e-12, atol=1e-13)
    empty = JointMoments(5)
    empty.merge(right)
    np.testing.assert_allclose(empty.covariance(), np.cov(x[13:].T, bias=True), rtol=1e-12, atol=1e-13)


def test_covariance_is_exactly_symmetric_and_input_untouched() -> None:
    x = data()
    before = x.copy()
    covariance = fed(x).covariance()
    assert np.array_equal(covariance, covariance.T)
    assert np.array_equal(x, before)


@pytest.mark.parametrize("sizes", [[1] * 10, [3, 4, 3], [10], [25, 0, 1], [0]])
@pytest.mark.parametrize("rows", [1, 4, 30])
def test_blocks_keep_the_rows(sizes: list[int], rows: int) -> None:
    x = np.arange(2.0 * sum(sizes)).reshape(-1, 2)
    pieces = np.split(x, np.cumsum(sizes)[:-1])
    found = [block.copy() for block in blocks(iter(pieces), rows)]
    assert all(len(block) == rows for block in found[:-1])
    assert np.array_equal(np.concatenate([*found, np.zeros((0, 2))]), x)
