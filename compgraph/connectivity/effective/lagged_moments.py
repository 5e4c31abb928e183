"""Sums of products of lagged series: all that regressions of any node on any others need to know of the data.

A row is a token position with its past: the signals of all nodes at lags 0 … P, a column for each node and lag, in this
order. Rows of all trials add up in one Gram matrix, nodes × lags squared, whatever the number of trials; no row reaches
over the border of a trial. Means are removed per position of the trial (the ensemble mean: what all trials have in
common at that position is not shared noise), or once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compgraph.connectivity.effective.time_series import Trials
from compgraph.errors import DataError

Array = npt.NDArray[np.float64]
MAX_COLUMNS = 8192
"""Most nodes × lags: four matrices of this size take 2 GB."""
FLAT = 1e-10
"""A lag whose variance is less than this share of the signal's does not vary."""


@dataclass(frozen=True)
class Gram:
    """Centred second moments of all lagged signals of a number of rows, per row.

    Attributes
    ----------
    products
        [columns, columns]: mean over rows of the product of centred columns.
    n
        Rows.
    n_intercepts
        Means that were removed, each of which costs a degree of freedom.
    n_lags
        Lags per node, 0 included.
    """

    products: Array
    n: int
    n_intercepts: int
    n_lags: int

    def columns(self, nodes: npt.ArrayLike, first: int, last: int) -> npt.NDArray[np.int64]:
        """Columns of these nodes at lags first … last, node by node."""
        lags = np.arange(first, last + 1)
        return (np.asarray(nodes, dtype=np.int64)[:, None] * self.n_lags + lags).ravel()

    @property
    def variance(self) -> Array:
        """Of every node at lag 0."""
        return np.diag(self.products)[:: self.n_lags].copy()

    def scaled(self, scale: Array) -> Gram:
        """Of signals divided by a number per node; columns that then hardly vary are zero."""
        by_column = np.repeat(scale, self.n_lags)
        products = self.products / np.outer(by_column, by_column)
        constant = np.diag(products) <= FLAT
        products[constant] = 0
        products[:, constant] = 0
        return Gram(products, self.n, self.n_intercepts, self.n_lags)


def rows_of(values: Array, lengths: npt.NDArray[np.int64], order: int) -> tuple[Array, npt.NDArray[np.int64]]:
    """Rows with a past of `order` positions: ([rows, nodes · (order + 1)], position of each row [rows])."""
    time, n_nodes = values.shape[1:]
    if time <= order:
        return np.zeros((0, n_nodes * (order + 1))), np.zeros(0, dtype=np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(values, order + 1, axis=1)[..., ::-1]
    position = np.arange(order, time)
    trial, at = np.nonzero(position < lengths[:, None])
    return windows[trial, at].reshape(len(trial), n_nodes * (order + 1)), position[at]


class Moments:
    """Running sums over trials, of the two halves of the data apart.

    Parameters
    ----------
    n_nodes, order
        Nodes, and lags behind lag 0.
    by_position
        Whether means are those of a position.

    Raises
    ------
    DataError
        More columns than fit.
    """

    def __init__(self, n_nodes: int, order: int, by_position: bool) -> None:
        n = n_nodes * (order + 1)
        if n > MAX_COLUMNS:
            raise DataError(
                f"{n_nodes} nodes with max_order {order} make {n} lagged series; at most {MAX_COLUMNS} are served: "
                "take a coarser partition or a smaller max_order"
            )
        self.order, self.by_position = order, by_position
        self.shift: Array | None = None
        self.products = np.zeros((2, n, n))
        self.sums: list[dict[int, Array]] = [{}, {}]
        self.counts: list[dict[int, int]] = [{}, {}]

    def add(self, trials: Trials) -> None:
        """Add the rows of some trials."""
        values = trials.values
        if self.shift is None:  # any number near the means, so that sums of squares keep their digits
            real = np.arange(values.shape[1]) < trials.lengths[:, None]
            self.shift = values[real].mean(0)
        for half in (0, 1):
            own = trials.fold == half
            rows, position = rows_of(values[own] - self.shift, trials.lengths[own], self.order)
            self.products[half] += rows.T @ rows
            for at in np.unique(position):
                chosen = rows[position == at]
                key = int(at) if self.by_position else 0
                self.sums[half][key] = self.sums[half].get(key, 0.0) + chosen.sum(0)
                self.counts[half][key] = self.counts[half].get(key, 0) + len(chosen)

    def half(self, which: int) -> Gram:
        """Moments of one half of the data, around its own means."""
        return self._gram(self.products[which], self.sums[which], self.counts[which])

    def whole(self) -> Gram:
        """Moments of all data."""
        keys = sorted(set(self.counts[0]) | set(self.counts[1]))
        none = np.zeros(self.products.shape[1])
        sums = {k: self.sums[0].get(k, none) + self.sums[1].get(k, none) for k in keys}
        counts = {k: self.counts[0].get(k, 0) + self.counts[1].get(k, 0) for k in keys}
        return self._gram(self.products.sum(0), sums, counts)

    def _gram(self, products: Array, sums: dict[int, Array], counts: dict[int, int]) -> Gram:
        n = sum(counts.values())
        if n == 0:
            return Gram(np.zeros_like(products), 0, 0, self.order + 1)
        means = np.stack([sums[k] / np.sqrt(counts[k]) for k in sorted(sums)])
        return Gram((products - means.T @ means) / n, n, len(means), self.order + 1)


def moments_of(series: Iterable[Trials], n_nodes: int, order: int, by_position: bool) -> Moments:
    """Moments of all trials."""
    moments = Moments(n_nodes, order, by_position)
    for trials in series:
        moments.add(trials)
    return moments
