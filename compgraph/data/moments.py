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
            total = total.merge(cls.of_block(np.array(rows[start : start + block], np.float64)))
        return total

    @classmethod
    def of_block(cls, rows: NDArray[np.float64]) -> Moments:
        """Moments of an array [rows, units] of float64, which is overwritten.

        A unit that is constant has a variance of exactly zero, for a few hundred equal float32 numbers add up
        without rounding.
        """
        mean = (np.ones(len(rows)) @ rows) / len(rows)
        rows -= mean
        return cls(len(rows), mean, np.einsum("ij,ij->j", rows, rows))

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
