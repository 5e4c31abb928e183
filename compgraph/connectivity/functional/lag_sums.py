"""Autocovariances of many signals in one pass, by power spectra of short stretches of rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class LagSums:
    """Autocovariances of n signals along the positions of an item, up to a number of positions apart.

    For lag k, over the pairs of rows of one item whose positions differ by k: their number, and per signal the sums
    of both ends and of their product. They add up over passes, whatever the blocks.

    Parameters
    ----------
    n_signals, n_lags
        Columns of every block, and the largest lag.

    Notes
    -----
    Products are sums over the squared spectra of stretches of rows (Wiener-Khinchin), zeros behind them: two products
    of small matrices instead of a walk through memory for every lag. A stretch begins with the rows before it that
    are at most n_lags positions away, and what these have among themselves is taken off again.
    """

    def __init__(self, n_signals: int, n_lags: int) -> None:
        self.n_lags = n_lags
        self.count = np.zeros(n_lags, np.int64)
        self.first, self.second, self.product = (np.zeros((n_lags, n_signals)) for _ in range(3))
        self._tail: _Tail | None = None

    def add(self, values: Matrix, item: Integers, position: Integers) -> None:
        """Add rows that follow those added before: items one after another, positions ascending in each."""
        if len(values) == 0:
            return
        spectra = _Spectra(self.n_lags, values.shape[1])
        step = np.diff(position)
        breaks = (np.diff(item) != 0) | (step > self.n_lags) | (step <= 0)
        bounds = [0, *(np.flatnonzero(breaks) + 1).tolist(), len(values)]
        for start, stop in pairwise(bounds):
            rows, places = values[start:stop], position[start:stop]
            known = 0
            if start == 0 and self._tail is not None and self._tail.precedes(item[0], position[0]):
                known = len(self._tail.places)
                rows = np.concatenate([self._tail.rows, rows])
                places = np.concatenate([self._tail.places, places])
            spectra.add_run(rows, places, known)
        near = places > places[-1] - self.n_lags
        self._tail = _Tail(int(item[-1]), rows[near].copy(), places[near].copy())
        spectra.into(self)

    def merge(self, other: LagSums) -> None:
        """Add what another pass has seen, of other items; either may know more lags."""
        longer, shorter = (self, other) if self.n_lags >= other.n_lags else (other, self)
        n = shorter.n_lags
        for name in ("count", "first", "second", "product"):
            total = getattr(longer, name).copy()
            total[:n] += getattr(shorter, name)
            setattr(self, name, total)
        self.n_lags = longer.n_lags

    def autocorrelation(self, mean: Matrix, variance: Matrix) -> Matrix:
        """Of each signal at lags 1 to n_lags [n_lags, n_signals], around its overall mean; 0 where no pair was seen."""
        count = np.maximum(self.count, 1)[:, None]
        centred = self.product - mean * (self.first + self.second) + self.count[:, None] * mean**2
        scale = np.where(variance > 0, variance, 1.0)
        return np.where(self.count[:, None] > 0, centred / count / scale, 0.0)


@dataclass(frozen=True)
class _Tail:
    """The last rows of an item, which those to come may be paired with."""

    item: int
    rows: Matrix
    places: Integers

    def precedes(self, item: int, position: int) -> bool:
        return bool(self.item == item and self.places[-1] < position)


@dataclass(frozen=True)
class _Pattern:
    """Places of the rows of a stretch, counted from its first, and what is needed to correlate any such rows.

    With N at least the stretch's length plus the largest lag, the circular correlation of N places is the plain one.
    """

    places: tuple[int, ...]
    n_lags: int

    @property
    def _span(self) -> int:
        return self.places[-1] + 1

    @cached_property
    def size(self) -> int:
        """N, odd, so that every frequency but 0 has a cosine and a sine."""
        return (self._span + self.n_lags) | 1

    @cached_property
    def _waves(self) -> tuple[Matrix, Matrix]:
        """Cosines and sines around the middle of the stretch, at its first half [frequencies, places]."""
        half = np.arange((self._span + 1) // 2) - (self._span - 1) / 2
        angle = 2 * np.pi / self.size * np.outer(np.arange(self.size // 2 + 1), half)
        once = np.where(half == 0, 0.5, 1.0)  # the middle of an odd stretch is its own mirror image
        return np.cos(angle) * once, np.sin(angle[1:])

    def spectrum(self, rows: Matrix) -> Matrix:
        """Cosine, then sine parts of the transform of rows at these places [N, signals].

        The sum of a row and its mirror image has the cosines, their difference the sines: half the arithmetic.
        """
        if len(rows) < self._span:
            filled = np.zeros((self._span, rows.shape[1]))
            filled[list(self.places)] = rows
            rows = filled
        half = (self._span + 1) // 2
        front, back = rows[:half], rows[::-1][:half]
        cosines, sines = self._waves
        found = np.empty((self.size, rows.shape[1]))
        np.matmul(cosines, front + back, out=found[: len(cosines)])
        np.matmul(sines, front - back, out=found[len(cosines) :])
        return found

    @cached_property
    def inverse(self) -> Matrix:
        """From squares of what `spectrum` gives to sums of products at every lag [n_lags, N]."""
        frequency = np.arange(self.size // 2 + 1)
        lag = np.arange(1, self.n_lags + 1)
        waves = np.cos(2 * np.pi / self.size * np.outer(lag, frequency)) * np.where(frequency, 2, 1) / self.size
        return np.concatenate([waves, waves[:, 1:]], axis=1)

    @cached_property
    def ends(self) -> tuple[Matrix, Matrix]:
        """Whether each row is the earlier, or the later, of a pair at each lag [n_lags, rows]."""
        gap = np.array(self.places)[:, None] - np.array(self.places)
        lag = np.arange(1, self.n_lags + 1)[:, None, None]
        pairs = gap[None] == lag  # [lag, later, earlier]
        return pairs.any(axis=1).astype(np.float64), pairs.any(axis=2).astype(np.float64)


@lru_cache(maxsize=256)
def _pattern(places: bytes, n_lags: int) -> _Pattern:
    return _Pattern(tuple(np.frombuffer(places, np.int64).tolist()), n_lags)


class _Spectra:
    """Sums over stretches of one pattern: of their rows, and of the squares of their transforms."""

    def __init__(self, n_lags: int, n_signals: int) -> None:
        self.n_lags, self.n_signals = n_lags, n_signals
        self.sums: dict[_Pattern, tuple[Matrix, Matrix]] = {}
        self.number: dict[_Pattern, int] = {}

    def add_run(self, rows: Matrix, places: Integers, known: int) -> None:
        """Rows of one item, of which the first `known` were added before."""
        start = known
        while start < len(rows):
            stop = min(len(rows), start + 2 * self.n_lags + 1)
            begin = int(np.searchsorted(places, places[start] - self.n_lags))
            self._add(rows[begin:stop], places[begin:stop], 1)
            if begin < start:
                self._add(rows[begin:start], places[begin:start], -1)
            start = stop

    def _add(self, rows: Matrix, places: Integers, sign: int) -> None:
        pattern = _pattern((places - places[0]).astype(np.int64).tobytes(), self.n_lags)
        if pattern not in self.sums:
            self.sums[pattern] = np.zeros((len(rows), self.n_signals)), np.zeros((pattern.size, self.n_signals))
            self.number[pattern] = 0
        total, power = self.sums[pattern]
        add = np.add if sign > 0 else np.subtract
        add(total, rows, out=total)
        spectrum = pattern.spectrum(rows)
        spectrum *= spectrum
        add(power, spectrum, out=power)
        self.number[pattern] += sign

    def into(self, sums: LagSums) -> None:
        """Add what was gathered."""
        for pattern, (total, power) in self.sums.items():
            earlier, later = pattern.ends
            sums.count += self.number[pattern] * earlier.sum(axis=1).astype(np.int64)
            sums.first += earlier @ total
            sums.second += later @ total
            sums.product += pattern.inverse @ power
