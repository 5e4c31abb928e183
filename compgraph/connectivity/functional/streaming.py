"""Mean and covariance of many signals in one pass, in memory that does not depend on the number of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compgraph.connectivity.functional.lag_sums import LagSums

Matrix = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class JointMoments:
    """Count, mean and centred second moments of n signals, all in float64.

    Blocks of rows are centred on their own mean and joined by the pairwise update of Chan, Golub & LeVeque
    (Updating formulae and a pairwise algorithm for computing sample variances, 1979), so that signals far
    from zero lose no digits and the order of the blocks does not matter beyond rounding:

        S_ab = S_a + S_b + (n_a n_b / (n_a + n_b)) (m_b - m_a)(m_b - m_a)^T

    Parameters
    ----------
    n_signals
        Number of columns of every block.

    Notes
    -----
    Only the upper triangle of the second moments is computed: half the arithmetic of a full product, which
    pays for float64 where a full product in float32 would cost the same.
    """

    def __init__(self, n_signals: int) -> None:
        self.count = 0
        self.mean = np.zeros(n_signals)
        self._upper = np.zeros((n_signals, n_signals), order="F")
        self._centred: Matrix | None = None

    def add(self, block: Matrix) -> None:
        """Add rows: float64 [rows, n_signals]."""
        rows = len(block)
        if rows == 0:
            return
        if self._centred is None or len(self._centred) <= rows:
            # Kept: fresh memory costs as much as the subtraction.
            self._centred = np.empty((rows + 1, block.shape[1]))
        mean = block.mean(axis=0)
        np.subtract(block, mean, out=self._centred[:rows])
        # The shift as one more row: a product of its own would go through all sums once more.
        self._centred[rows] = self._shift(rows, mean)
        self._add_products(self._centred[: rows + 1])

    def merge(self, other: JointMoments) -> None:
        """Add what another pass has seen (of other rows, same signals)."""
        if other.count:
            self._upper += other._upper
            self._add_products(self._shift(other.count, other.mean)[None])

    @property
    def upper(self) -> Matrix:
        """Centred second moments, not divided: the upper triangle of [n_signals, n_signals]."""
        return np.triu(self._upper)

    @classmethod
    def of(cls, count: int, mean: Matrix, upper: Matrix) -> JointMoments:
        """Moments that were kept."""
        moments = cls(len(mean))
        moments.count, moments.mean, moments._upper = count, mean, np.asfortranarray(upper)
        return moments

    def covariance(self) -> Matrix:
        """Symmetric covariance [n_signals, n_signals], divided by the number of rows."""
        whole = self._upper + self._upper.T  # below the diagonal there are zeros
        np.fill_diagonal(whole, np.diag(self._upper))
        whole /= max(self.count, 1)
        return whole

    def _shift(self, rows: int, mean: Matrix) -> Matrix:
        """Count rows, and move the centre to the joint mean: the vector whose square this adds to the moments."""
        total = self.count + rows
        gap = mean - self.mean
        added: Matrix = gap * (self.count * rows / total) ** 0.5
        self.mean = self.mean + gap * (rows / total)
        self.count = total
        return added

    def _add_products(self, rows: Matrix) -> None:
        from scipy.linalg.blas import dsyrk

        # In place: `_upper` is in Fortran order, which BLAS overwrites without a copy.
        dsyrk(1.0, rows.T, beta=1.0, c=self._upper, lower=0, overwrite_c=1)


class LaggedRows:
    """Pairs of rows of one item whose positions differ by k, however the rows come in blocks.

    Parameters
    ----------
    n_lags
        The largest k.
    """

    def __init__(self, n_lags: int) -> None:
        self.n_lags = n_lags
        self._tail: tuple[Matrix, Integers, Integers] | None = None

    def pairs(self, values: Matrix, item: Integers, position: Integers) -> Iterator[tuple[int, Matrix, Matrix]]:
        """For each lag k: earlier and later rows [pairs, n] of which the later is new. Blocks follow each other."""
        new = len(values)
        if self._tail is not None:
            values = np.concatenate([self._tail[0], values])
            item, position = np.concatenate([self._tail[1], item]), np.concatenate([self._tail[2], position])
        old = len(values) - new
        for k in range(1, min(self.n_lags, len(values) - 1) + 1):
            begin = max(old - k, 0)
            near, far = slice(begin, len(values) - k), slice(begin + k, len(values))
            paired = (item[near] == item[far]) & (position[far] - position[near] == k)
            if paired.all():
                yield k, values[near], values[far]
            elif paired.any():
                yield k, values[near][paired], values[far][paired]
        keep = slice(max(len(values) - self.n_lags, 0), None)
        self._tail = values[keep].copy(), item[keep].copy(), position[keep].copy()


class Tails:
    """Fourth powers of units: how much a few rows weigh in their variance."""

    def __init__(self, n_units: int) -> None:
        self.count = 0
        self.fourth = np.zeros(n_units)

    def add(self, values: Matrix) -> None:
        """Add rows of centred units [rows, n_units]."""
        squares = values * values
        self.fourth += np.einsum("ij,ij->j", squares, squares)
        self.count += len(values)

    def kurtosis(self, spread: Matrix) -> Matrix:
        """Mean fourth power of each unit in standard deviations; 3 for a normal distribution."""
        kurtosis: Matrix = self.fourth / max(self.count, 1) / spread**4
        return kurtosis


@dataclass
class Sums:
    """All that one pass keeps: sums that add up over parts of the data.

    Attributes
    ----------
    joint
        Second moments of the signals.
    lags
        Their autocovariances; None where rows stand alone.
    tails
        Site -> fourth powers of its units.
    """

    joint: JointMoments
    lags: LagSums | None
    tails: dict[str, Tails]

    def merge(self, other: Sums) -> None:
        """Add those of other items."""
        self.joint.merge(other.joint)
        if self.lags is None:
            self.lags = other.lags
        elif other.lags is not None:
            self.lags.merge(other.lags)
        for site, tails in self.tails.items():
            tails.fourth += other.tails[site].fourth
            tails.count += other.tails[site].count


def blocks(chunks: Iterable[Matrix], rows: int) -> Iterator[Matrix]:
    """The same rows in blocks of `rows` (the last may be shorter), however they come.

    Small blocks would make the product wait for memory: adding to n by n sums costs as much as 16 rows of it.

    Notes
    -----
    The block is overwritten by the next.
    """
    store: Matrix | None = None
    filled = 0
    for chunk in chunks:
        if store is None:
            store = np.empty((rows, chunk.shape[1]))
        start = 0
        while start < len(chunk):
            take = min(rows - filled, len(chunk) - start)
            store[filled : filled + take] = chunk[start : start + take]
            filled, start = filled + take, start + take
            if filled == rows:
                yield store
                filled = 0
    if store is not None and filled:
        yield store[:filled]
