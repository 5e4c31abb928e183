from __future__ import annotations

import numpy as np
import pytest

from compgraph.data.moments import Moments


@pytest.mark.parametrize("cuts", [[], [1], [7, 300, 301], [999]])
def test_however_the_rows_are_cut(cuts):
    rows = np.random.default_rng(0).normal(1e4, 0.01, (1000, 5))  # a mean that drowns the naive formula
    total = Moments.none(5)
    for part in np.split(rows, cuts):
        total = total.merge(Moments.of(part, block=64))
    assert total.count == 1000
    np.testing.assert_allclose(total.mean, rows.mean(0), rtol=1e-14)
    np.testing.assert_allclose(total.variance, rows.var(0), rtol=1e-9)


def test_no_rows_are_neutral():
    some = Moments.of(np.arange(6.0).reshape(3, 2))
    for merged in (some.merge(Moments.none(2)), Moments.none(2).merge(some)):
        np.testing.assert_array_equal(merged.mean, [2, 3])
        np.testing.assert_array_equal(merged.variance, some.variance)
    assert (Moments.none(2).merge(Moments.none(2)).variance == 0).all()


def test_half_precision_is_summed_in_double():
    rows = np.full((100_000, 1), 0.1, np.float16)
    assert Moments.of(rows).mean[0] == pytest.approx(float(np.float16(0.1)), rel=1e-12)


def test_groups():
    rows = np.random.default_rng(0).normal(3, 1, (640, 4))
    groups = rows.reshape(10, 64, 4)
    means, squares = groups.mean(1), groups.var(1) * 64
    total = Moments.of_groups(64, means.astype(np.float32), squares.astype(np.float32))
    assert total.count == 640
    np.testing.assert_allclose(total.mean, rows.mean(0), rtol=1e-7)
    np.testing.assert_allclose(total.variance, rows.var(0), rtol=1e-6)
