"""The k-th largest value of every column, by a sorting network over whole rows.

A selection that looks at one column at a time cannot use vector instructions. Here a comparison is a maximum and a
minimum of two blocks of rows, over all columns at once: groups of as many rows as the next power of two of k are
sorted (Batcher 1968, bitonic sort) and merged two by two, of which only the larger half is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

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
        self._shape: tuple[int, int, np.dtype[Any]] | None = None

    def __call__(self, values: Array) -> Array:
        """The k-th largest of each column, [columns], of values [rows, columns]."""
        if self._shape != (*values.shape, values.dtype):
            self._prepare(values)
        np.maximum(values, 0, out=self._first[: len(values)])
        self._first[len(values) :] = 0
        for compare, one, other, out in self._steps:
            compare(one, other, out=out)
        # The last merge leaves the best unsorted; where all of them are wanted the least is the answer.
        if self.k == self.size:
            return self._best.min(0)
        return np.partition(self._best, self.size - self.k, 0)[self.size - self.k]

    def _prepare(self, values: Array) -> None:
        """Views of the memory for every comparison, made once."""
        rows, columns = values.shape
        groups = 1 << (-(-rows // self.size) - 1).bit_length()
        memory = np.zeros((2, self.size * groups * columns), values.dtype)
        self._shape = rows, columns, values.dtype
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

    def _sort(self, now: Array, other: Array, step: int, lane: int) -> tuple[Array, Array]:
        while step:
            now, other = self._add(_apart(now, other, step, lane), now, other)
            step //= 2
        return now, other

    def _add(self, steps: Iterator[Step] | list[Step], now: Array, other: Array) -> tuple[Array, Array]:
        """Results are in the other memory."""
        self._steps += steps
        return other, now


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
