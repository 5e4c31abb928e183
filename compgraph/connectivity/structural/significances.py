"""Adjusted p-values over more edges than can be kept.

The adjusted p-value of an edge depends on how many edges are at least as significant, so that these are counted: by p
in bins of under one percent width, each taken at its less significant end, so that adjusted p-values are never too
small.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from compgraph.connectivity.structural.null import Array, cosine_tail

SHIFT = 16
"""Bits of a float32 that bins leave off: 7 of the mantissa remain."""


class Significances:
    """How many edges there are of each p-value.

    Parameters
    ----------
    dimension
        Of the cosines' null (`null.cosine_tail`).
    """

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self.cosines, self.p = (np.zeros(1 << (31 - SHIFT), np.int64) for _ in range(2))

    def add_cosines(self, scores: Tensor) -> None:
        """Count cosines of single vectors."""
        self.cosines += _binned(scores.float().abs())

    def add_p(self, p: Array) -> None:
        """Count p-values; NaN is no test."""
        self.p += _binned(torch.from_numpy(p[~np.isnan(p)]).float())

    def adjusted(self, p: Array) -> Array:
        """Adjusted p-values (Benjamini & Hochberg 1995) among all that were counted; NaN stays NaN."""
        at, counts = self._points()
        order = np.argsort(at, kind="stable")
        at, below = at[order], counts[order].cumsum()
        if not len(at):
            return np.full(len(p), np.nan)
        rates = np.minimum.accumulate((at * below[-1] / below)[::-1])[::-1]
        where = np.minimum(np.searchsorted(at, p), len(at) - 1)
        return np.where(np.isnan(p), np.nan, np.minimum(rates[where], 1.0))

    def _points(self) -> tuple[Array, npt.NDArray[np.int64]]:
        """p-values at the less significant end of each bin that is not empty, and counts."""
        used = np.flatnonzero(self.cosines), np.flatnonzero(self.p)
        low, high = _edges(used[0]), np.minimum(_edges(used[1] + 1), 1.0)
        points = np.concatenate([cosine_tail(low**2, self.dimension), high])
        return points, np.concatenate([self.cosines[used[0]], self.p[used[1]]])


def _binned(values: Tensor) -> npt.NDArray[np.int64]:
    """Counts of float32 values, 0 or positive, by their leading bits."""
    bins = values.contiguous().view(-1).view(torch.int32).bitwise_right_shift(SHIFT)
    return torch.bincount(bins, minlength=1 << (31 - SHIFT)).numpy()


def _edges(bins: npt.NDArray[np.int64]) -> Array:
    """The smallest value of each bin."""
    return (bins << SHIFT).astype(np.int32).view(np.float32).astype(np.float64)
