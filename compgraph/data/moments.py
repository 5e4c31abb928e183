"""Means and variances over many rows, exact whatever the way in which the rows are cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Number of rows, their mean [units] and their sum of squared deviations from it [units], in float64."""

    count: int
    mean: Vector
    squares: Vector

    @classmethod
    def none(cls, n_units: int) -> Moments:
        """Moments of no rows."""
        return cls(0, np.zeros(n_units), np.zeros(n_units))

    @classmethod
    def of(cls, rows: NDArray[Any], block: int = 256) -> Moments:
        """Moments of an array [rows, units] of any floating type, taken in blocks that fit the cache."""
        total = cls.none(rows.shape[1])
        for start in range(0, len(rows), block):
            part = np.array(rows[start : start + block], np.float64)
            mean = part.mean(0)
            part -= mean
            total = total.merge(cls(len(part), mean, np.einsum("ij,ij->j", part, part)))
        return total

    @classmethod
    def of_groups(cls, size: int, means: NDArray[Any], squares: NDArray[Any]) -> Moments:
        """Moments of groups of `size` rows each, from the mean and squares [groups, units] of every group."""
        means = means.astype(np.float64)
        mean = means.mean(0)
        means -= mean
        within = squares.sum(0, dtype=np.float64)
        return cls(size * len(means), mean, within + size * np.einsum("ij,ij->j", means, means))

    def merge(self, other: Moments) -> Moments:
        """Moments of both sets of rows (Chan, Golub and LeVeque 1979, pairwise update)."""
        count = self.count + other.count
        if count == 0:
            return self
        difference = other.mean - self.mean
        mean = self.mean + difference * (other.count / count)
        squares = self.squares + other.squares + difference**2 * (self.count * other.count / count)
        return Moments(count, mean, squares)

    @property
    def variance(self) -> Vector:
        """Population variance [units]: the mean squared deviation."""
        return self.squares / max(self.count, 1)
