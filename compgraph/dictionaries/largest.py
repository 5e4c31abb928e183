"""The k largest values of every column, by a sorting network over whole rows.

A selection that looks at one column at a time cannot use vector instructions. Here a comparison is a maximum and a
minimum of two blocks of rows, over all columns at once: groups of as many rows as the next power of two of k are
sorted (Batcher 1968, bitonic sort) and merged two by two, of which only the larger half is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from compgraph.dictionaries.active import Active

Array = npt.NDArray[Any]
Step = tuple[Callable[..., Any], Array, Array, Array]
COMPARISONS: tuple[Callable[..., Any], ...] = (np.maximum, np.minimum)


class KthLargest:
    """Finds the k-th largest of values, where negative ones count as 0; its memory is kept between calls.

    Parameters
    ----------
    k
        At least 1. Where there are fewer rows the answer is 0.
    """

    def __init__(self, k: int) -> None:
        self.k = k
        self.size = 1 << (k - 1).bit_length()
        self._networks: dict[tuple[int, int, np.dtype[Any]], _Network] = {}

    def __call__(self, values: Array) -> Array:
        """The k-th largest of each column, [columns], of values [rows, columns]."""
        groups = 1 << (-(-len(values) // self.size) - 1).bit_length()
        shape = (groups, values.shape[1], values.dtype)
        if shape not in self._networks:
            self._networks[shape] = _Network(self.size, *shape)
        best = self._networks[shape](values)
        # The last merge leaves the best unsorted; where all of them are wanted the least is the answer.
        if self.k == self.size:
            return best.min(0)
        return np.partition(best, self.size - self.k, 0)[self.size - self.k]


class _Network:
    """The comparisons for matrices of up to `size` times `groups` rows, as views of memory of their own."""

    def __init__(self, size: int, groups: int, columns: int, dtype: np.dtype[Any]) -> None:
        self.size = size
        memory = np.zeros((2, size * groups * columns), dtype)
        self._first = memory[0].reshape(-1, columns)
        self._steps: list[Step] = []
        now, other = memory
        width = 2
        while width <= self.size:
            now, other = self._add(_reversed(now, other, width, groups * columns), now, other)
            now, other = self._sort(now, other, width // 4, groups * columns)
            width *= 2
        while groups > 1:
            groups //= 2
            lane, kept = groups * columns, self.size * groups * columns
            halves = now[: 2 * kept].reshape(self.size, 2, lane)
            # Both fall along the first axis: against the reverse of the other, the larger ones are the top half.
            top = (np.maximum, halves[:, 0], halves[::-1, 1], other[:kept].reshape(self.size, lane))
            now, other = self._add([top], now[:kept], other[:kept])
            if groups > 1:
                now, other = self._sort(now, other, self.size // 2, lane)
        self._best = now[: self.size * columns].reshape(self.size, columns)

    def __call__(self, values: Array) -> Array:
        """The `size` largest of each column, unsorted, where negative ones count as 0; valid until the next call."""
        np.maximum(values, 0, out=self._first[: len(values)])
        self._first[len(values) :] = 0
        for compare, one, other, out in self._steps:
            compare(one, other, out=out)
        return self._best

    def _sort(self, now: Array, other: Array, step: int, lane: int) -> tuple[Array, Array]:
        while step:
            now, other = self._add(_apart(now, other, step, lane), now, other)
            step //= 2
        return now, other

    def _add(self, steps: Iterator[Step] | list[Step], now: Array, other: Array) -> tuple[Array, Array]:
        """Results are in the other memory."""
        self._steps += steps
        return other, now


class Largest:
    """Finds the k largest positive values of every column; of equal ones at the end all.

    The k-th largest of the maxima of groups of rows is at most the k-th largest of all, so that few values are left to
    choose from.

    Parameters
    ----------
    k
        At least 1.
    """

    groups_per_k = 4

    def __init__(self, k: int) -> None:
        self.k, self._least = k, KthLargest(k)

    def __call__(self, values: Array) -> Active:
        """Where they are in values [rows, columns], contiguous."""
        shape = (values.shape[0], values.shape[1])
        least = self._least(self._maxima(values))
        reached = values >= least
        if not least.all():
            reached &= values > 0
        places = np.flatnonzero(reached)
        active = Active(places, shape)
        order, starts = active.by_row()
        counts = np.diff(starts)
        if counts.max(initial=0) <= self.k:
            return active
        rows, found = active.rows[order], values.reshape(-1)[places[order]]
        few = np.zeros((counts.max(), values.shape[1]), values.dtype)
        few[np.arange(len(places)) - starts[rows], rows] = found
        kept = np.empty(len(places), bool)
        kept[order] = found >= self._least(few)[rows]
        return Active(places[kept], shape)

    def _maxima(self, values: Array) -> Array:
        """Of groups of rows; rows themselves where they are few."""
        groups = 1 << (self.groups_per_k * self.k - 1).bit_length()
        times, rest = divmod(len(values), groups)
        if times < 2:
            return values
        maxima: Array = values[: times * groups].reshape(times, groups, -1).max(0)
        np.maximum(maxima[:rest], values[times * groups :], out=maxima[:rest])
        return maxima


def _reversed(now: Array, other: Array, width: int, lane: int) -> Iterator[Step]:
    """The halves of runs of `width` rows, each sorted, one against the other's reverse."""
    runs, out = (x.reshape(-1, 2, width // 2, lane) for x in (now, other))
    for half, compare in enumerate(COMPARISONS):
        yield compare, runs[:, 0], runs[:, 1, ::-1], out[:, half]


def _apart(now: Array, other: Array, step: int, lane: int) -> Iterator[Step]:
    """Rows that are `step` apart, the larger first."""
    pairs, out = (x.reshape(-1, 2, step, lane) for x in (now, other))
    for half, compare in enumerate(COMPARISONS):
        yield compare, pairs[:, 0], pairs[:, 1], out[:, half]
