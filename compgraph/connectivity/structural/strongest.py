"""The strongest of more edges than can be kept, with adjusted p-values over all of them.

Kept and known of the others are the same as of effective graphs (`effective.strongest_edges`, `.score_summary`). Since
the adjusted p-value of an edge depends on how many edges are at least as significant, these are counted: by p in bins
of under one percent width, each taken at its less significant end, so that adjusted p-values are never too small.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from compgraph.connectivity.effective.score_summary import Histogram, NodeSums
from compgraph.connectivity.effective.strongest_edges import EdgeNumbers, Edges, StrongestOverall, StrongestPerTarget
from compgraph.connectivity.structural.null import Array, cosine_tail

SHIFT = 16
"""Bits of a float32 that bins leave off: 7 of the mantissa remain."""


class Kept:
    """What is kept of scores that go by in blocks, sites in order.

    Parameters
    ----------
    n_nodes, n_channels
        Of the graph.
    keep, keep_overall
        Edges of each target, and of the whole.
    """

    def __init__(self, n_nodes: int, n_channels: int, keep: int, keep_overall: int) -> None:
        self.numbers = EdgeNumbers(n_nodes, n_channels)
        self.per_target = StrongestPerTarget(keep, self.numbers) if keep else None
        self.overall = StrongestOverall(keep_overall, self.numbers) if keep_overall else None
        self.sums, self.histogram = NodeSums(n_nodes), Histogram()

    def add(self, scores: Tensor, target: int, channel: int, source: int, edges: Tensor | None = None) -> None:
        """A block [targets, sources] whose first nodes have these numbers; `edges` says which entries are edges."""
        absolute = scores.abs()
        self.histogram.add(scores if edges is None else scores[edges])
        self.sums.add(scores, absolute, target, source)
        if edges is not None:
            absolute = torch.where(edges, absolute, -1)
        for reducer in (self.per_target, self.overall):
            if reducer is not None:
                reducer.add(scores, absolute, target, channel, source)

    def restart(self) -> None:
        """What comes next may begin with the first source again."""
        if self.per_target is not None:
            self.per_target.restart()

    def close(self) -> None:
        """The targets so far get no more edges."""
        if self.per_target is not None:
            self.per_target.close()

    def edges(self) -> Edges:
        """The edges kept for either reason, in canonical order."""
        pieces = [] if self.per_target is None else self.per_target.pieces
        return Edges.joined([*pieces, *([] if self.overall is None else [self.overall.edges()])])

    def about(self) -> dict[str, Any]:
        """Attributes of the graph."""
        return {"n_edges_scored": self.histogram.n, "histogram": self.histogram.about()}


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
