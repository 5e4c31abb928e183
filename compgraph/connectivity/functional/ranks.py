"""Steps that tame heavy tails: ranks, normal scores, and clipping at quantiles.

All three read the same thing: the sorted values of each signal. Where those of all rows fit into memory, ranks are
exact, ties at their mean rank; else they are those of a random sample of `SAMPLE` rows, and the graph says so. The
error of a sketched rank is at most about 1.4 / sqrt(SAMPLE) of the number of rows (Dvoretzky, Kiefer & Wolfowitz 1956,
at a probability of 0.04 per signal).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from compgraph.connectivity.functional.signals import Matrix, Signals
from compgraph.memory import available_memory

SAMPLE = 16_384
EXACT_BYTES = 2 * 10**9
"""Most memory that all values of all signals may take for exact ranks."""

FLAT = 1e-9
"""Spread of a signal, whose units have variance 1, that is no more than rounding."""

Kind = Literal["rank", "normal"]


@dataclass(frozen=True)
class Order:
    """Sorted values of each signal.

    Attributes
    ----------
    values
        float64 [n, m]: each signal's m values in ascending order.
    exact
        Whether these are all rows.
    """

    values: Matrix
    exact: bool

    @cached_property
    def flat(self) -> npt.NDArray[np.bool_]:
        """Signals whose values differ by rounding alone (standardised units cancel), bool [n]."""
        flat: npt.NDArray[np.bool_] = self.values[:, -1] - self.values[:, 0] <= FLAT
        return flat

    def fractions(self, block: Matrix) -> Matrix:
        """Mid-rank of each entry as a share of all values: (number below + number at most) / 2 m."""
        found = np.empty(block.shape)
        for k, ordered in enumerate(self.values):
            column = np.ascontiguousarray(block[:, k])
            found[:, k] = np.searchsorted(ordered, column, "left") + np.searchsorted(ordered, column, "right")
        return found / (2 * self.values.shape[1])


def order_of(signals: Signals, seed: int = 0) -> Order:
    """Sorted values of each signal, of all rows or of a sample; one pass."""
    n, size = signals.n_rows, len(signals.nodes)
    free = available_memory()
    budget = EXACT_BYTES if free is None else min(EXACT_BYTES, free // 3)
    exact = n <= SAMPLE or n * size * 8 <= budget
    chosen = np.arange(n) if exact else np.sort(np.random.default_rng(seed).choice(n, SAMPLE, replace=False))
    values, filled = np.empty((len(chosen), size)), 0
    for start, block in signals.blocks():
        low, high = np.searchsorted(chosen, [start, start + len(block)])
        values[filled : filled + high - low] = block[chosen[low:high] - start]
        filled += high - low
    ordered = np.ascontiguousarray(values.T)
    ordered.sort(axis=1)
    return Order(ordered, exact)


@dataclass(frozen=True)
class Ranks:
    """The step that replaces values by their ranks, or by the normal quantiles of these."""

    order: Order
    kind: Kind

    def __call__(self, values: Matrix, rows: npt.NDArray[np.int64]) -> Matrix:
        """Centred ranks in [-1/2, 1/2], or normal scores."""
        share = self.order.fractions(values)
        share[:, self.order.flat] = 0.5
        if self.kind == "rank":
            return share - 0.5
        from scipy.special import ndtri

        edge = 0.5 / self.order.values.shape[1]
        scores: Matrix = ndtri(np.clip(share, edge, 1 - edge))
        return scores


@dataclass(frozen=True)
class Clip:
    """The step that winsorises: values beyond a signal's quantiles become these."""

    low: Matrix
    high: Matrix

    def __call__(self, values: Matrix, rows: npt.NDArray[np.int64]) -> Matrix:
        """Clipped signals."""
        return np.clip(values, self.low, self.high)


def clip_at(order: Order, share: float) -> Clip:
    """Clip a share of the values of each signal at either end."""
    low, high = np.quantile(order.values, [share, 1 - share], axis=1)
    return Clip(low, high)
