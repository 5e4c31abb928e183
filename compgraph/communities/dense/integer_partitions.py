"""How many ways an integer has of being a sum: what a degree sequence costs to describe.

graph-tool reads the number from a table up to `TABULATED` and from an asymptotic formula beyond; to give its
description lengths, both are followed here.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from compgraph.communities.pairs import Floats, Integers

TABULATED = 10_000
"""Largest integer whose partitions are counted exactly."""

CONVERGED = 1e-8
"""Where the asymptotic formula's fixed point is left: looser or tighter would give other digits than graph-tool's."""

MOST_CELLS = 8_000_000
"""Cells of a table that is kept (float64: 64 MB)."""


class IntegerPartitions:
    """ln q(m, n): partitions of m into at most n parts.

    Parameters
    ----------
    total
        Largest m that will be asked for.
    parts
        Largest n with m <= `TABULATED` that will be asked for.
    """

    def __init__(self, total: int, parts: int) -> None:
        self._total = min(total, TABULATED)
        self._table: Floats | None = None
        if (self._total + 1) * (parts + 1) <= MOST_CELLS:
            self._table = np.stack(list(_columns(self._total, parts)))

    def exact(self, m: npt.ArrayLike, n: npt.ArrayLike) -> Floats:
        """graph-tool's value, float64 of the arguments' shape."""
        m, n = _arguments(m, n)
        value = _asymptotic(m, n)
        counted = (m > 0) & (n > 0) & (m <= self._total)
        if counted.any():
            value[counted] = self._counted(m[counted], n[counted])
        return value

    def quick(self, m: npt.ArrayLike, n: npt.ArrayLike) -> Floats:
        """The same where a table is kept, else the asymptotic formula: for the choice of moves."""
        if self._table is not None:
            return self.exact(m, n)
        return _asymptotic(*_arguments(m, n))

    def _counted(self, m: Integers, n: Integers) -> Floats:
        n = np.minimum(n, m)
        if self._table is not None and n.max() < len(self._table):
            return self._table[n, m]
        value = np.empty(len(m))
        for parts, column in enumerate(_columns(self._total, int(n.max()))):
            at = n == parts
            value[at] = column[m[at]]
        return value


def _columns(total: int, parts: int) -> Iterator[Floats]:
    """graph-tool's table of ln q(0 … total, n) for n = 0 … parts.

    q(m, n) = q(m, n - 1) + q(m - n, n), where graph-tool takes q(m, n) = 0 for m < n in the second term. The
    counts are therefore a little below those of all partitions; followed, because its number is the judge's.
    """
    yield np.full(total + 1, -np.inf)
    count = np.ones(total + 1)
    for n in range(1, parts + 1):
        if n > total:
            yield np.full(total + 1, -np.inf)
            continue
        count[:n] = 0
        if n > 1:
            rows = -(-(total + 1) // n)
            padded = np.zeros(rows * n)
            padded[: total + 1] = count
            count = padded.reshape(rows, n).cumsum(axis=0).reshape(-1)[: total + 1]
        with np.errstate(divide="ignore"):
            yield np.log(count)


def _arguments(m: npt.ArrayLike, n: npt.ArrayLike) -> tuple[Integers, Integers]:
    first, second = np.broadcast_arrays(np.asarray(m, np.int64), np.asarray(n, np.int64))
    return first, second


def _asymptotic(m: Integers, n: Integers) -> Floats:
    """Szekeres' formula (Canfield 1997, Electron. J. Combin. 4, R6), few parts: C(m - 1, n - 1) / n!."""
    from scipy.special import gammaln, spence

    value = np.zeros(m.shape)
    some = (m > 0) & (n > 0)
    total = m[some].astype(np.float64)
    parts = np.minimum(n[some], m[some]).astype(np.float64)
    few = parts < total**0.25
    found = np.zeros(len(total))
    a, k = total[few] - 1, parts[few] - 1
    found[few] = gammaln(a + 1) - gammaln(k + 1) - gammaln(a - k + 1) - gammaln(k + 2)
    root = np.sqrt(total[~few])
    u = parts[~few] / root
    v = np.array(u)
    going = np.ones(len(v), bool)
    while going.any():
        update = u * np.sqrt(spence(np.exp(-v)))
        moved = np.abs(update - v)
        v = np.where(going, update, v)
        going &= moved > CONVERGED
    factor = np.log(v) - np.log1p(-np.exp(-v) * (1 + u * u / 2)) / 2 - 1.5 * np.log(2) - np.log(u * np.pi)
    found[~few] = factor - np.log(total[~few]) + root * (2 * v / u - u * np.log1p(-np.exp(-v)))
    value[some] = found
    return value
