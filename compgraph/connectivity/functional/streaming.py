"""Mean and covariance of many signals in one pass, in memory that does not depend on the number of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]


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

    def add(self, block: Matrix) -> None:
        """Add rows: float64 [rows, n_signals]."""
        rows = len(block)
        if rows == 0:
            return
        mean = block.mean(axis=0)
        self._add_products(np.subtract(block, mean), 1.0)
        self._shift(rows, mean)

    def merge(self, other: JointMoments) -> None:
        """Add what another pass has seen (of other rows, same signals)."""
        if other.count:
            self._upper += other._upper
            self._shift(other.count, other.mean)

    def covariance(self) -> Matrix:
        """Symmetric covariance [n_signals, n_signals], divided by the number of rows."""
        upper = np.triu(self._upper)
        return (upper + np.triu(upper, 1).T) / max(self.count, 1)

    def _shift(self, rows: int, mean: Matrix) -> None:
        """Count rows, and move the centre to the joint mean."""
        total = self.count + rows
        gap = mean - self.mean
        if self.count:
            self._add_products(gap[None, :], self.count * rows / total)
        self.mean = self.mean + gap * (rows / total)
        self.count = total

    def _add_products(self, rows: Matrix, scale: float) -> None:
        from scipy.linalg.blas import dsyrk

        # In place: `_upper` is in Fortran order, which BLAS overwrites without a copy.
        dsyrk(scale, np.ascontiguousarray(rows).T, beta=1.0, c=self._upper, lower=0, overwrite_c=1)


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
