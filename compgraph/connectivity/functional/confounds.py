"""Regressing out what is known of the rows: position, token frequency, or any column of the item table.

A column of numbers enters as it is; a column of words, or `each:<column>`, as one indicator per value, which removes
that value's mean. With design matrix C (centred) and signals S, residuals are S - C C⁺ S: functional imaging's nuisance
regression. One pass gathers CᵀC and CᵀS, the next ones see residuals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compgraph.connectivity.functional.recordings import Pool
from compgraph.connectivity.functional.signals import Matrix, Signals
from compgraph.errors import DataError

EACH = "each:"
MAX_COLUMNS = 1024
EXPLAINED = 1e-12
"""A signal is all confound if no larger share of its squares is left."""


@dataclass(frozen=True)
class Design:
    """Columns to regress out, made block by block.

    Attributes
    ----------
    numbers
        Standardised numeric columns, float64 [rows of the pool, n].
    codes
        For each column of indicators: the value's number of each row, int64 [rows of the pool].
    sizes
        Number of values of each of them.
    """

    numbers: Matrix
    codes: tuple[npt.NDArray[np.int64], ...]
    sizes: tuple[int, ...]

    @property
    def n_columns(self) -> int:
        """The intercept among them."""
        return 1 + self.numbers.shape[1] + sum(self.sizes)

    def __call__(self, rows: npt.NDArray[np.int64]) -> Matrix:
        """The design of some rows of the pool, float64 [len(rows), n_columns]."""
        parts = [np.ones((len(rows), 1)), self.numbers[rows]]
        for codes, size in zip(self.codes, self.sizes, strict=True):
            parts.append(np.eye(size)[codes[rows]])
        return np.concatenate(parts, axis=1)


def design(pool: Pool, names: Sequence[str]) -> Design:
    """Design of the named columns.

    Raises
    ------
    DataError
        An unknown column, values that are not finite, or more values than can be regressed out.
    """
    numbers, codes, sizes = [], [], []
    for name in names:
        values = pool.column(name.removeprefix(EACH))
        if name.startswith(EACH) or not np.issubdtype(values.dtype, np.number):
            found, inverse = np.unique(values.astype(str), return_inverse=True)
            codes.append(inverse.astype(np.int64))
            sizes.append(len(found))
            continue
        column = values.astype(np.float64)
        if not np.isfinite(column).all():
            raise DataError(f"functional: the confound {name!r} has values that are not finite")
        spread = column.std()
        numbers.append((column - column.mean()) / (spread if spread > 0 else 1.0))
    made = Design(np.stack(numbers, axis=1) if numbers else np.zeros((pool.n_rows, 0)), tuple(codes), tuple(sizes))
    if made.n_columns > MAX_COLUMNS:
        raise DataError(
            f"functional: the confounds {', '.join(names)} have {made.n_columns} columns; at most {MAX_COLUMNS} can be "
            f"regressed out: take numbers without {EACH!r}"
        )
    return made


@dataclass(frozen=True)
class Residuals:
    """The step that takes out what the design explains.

    Attributes
    ----------
    design
        The columns.
    coefficients
        float64 [n_columns, n].
    rank
        Degrees of freedom that this costs, the mean not counted.
    explained
        Signals of which nothing but rounding is left, bool [n]; they become 0.
    """

    design: Design
    coefficients: Matrix
    rank: int
    explained: npt.NDArray[np.bool_]

    def __call__(self, values: Matrix, rows: npt.NDArray[np.int64]) -> Matrix:
        """Residuals of a block."""
        left = values - self.design(rows) @ self.coefficients
        left[:, self.explained] = 0.0
        return left


def regress_out(signals: Signals, columns: Design) -> Residuals:
    """Fit the design to all signals, in one pass.

    Raises
    ------
    DataError
        The design leaves fewer than two degrees of freedom.
    """
    numbers = signals.row_numbers
    inner, outer = np.zeros((columns.n_columns, columns.n_columns)), np.zeros((columns.n_columns, len(signals.nodes)))
    squares = np.zeros(len(signals.nodes))
    for start, values in signals.blocks():
        squares += np.einsum("ij,ij->j", values, values)
        known = columns(numbers[start : start + len(values)])
        inner += known.T @ known
        outer += known.T @ values
    rank = int(np.linalg.matrix_rank(inner, hermitian=True))
    if len(numbers) - rank < 2:
        raise DataError(
            f"functional: the confounds have {rank} independent columns, which leaves nothing of {len(numbers)} rows"
        )
    coefficients = np.linalg.pinv(inner, rcond=1e-12, hermitian=True) @ outer
    left = squares - np.einsum("ij,ij->j", coefficients, outer)
    return Residuals(columns, coefficients, rank - 1, left <= EXPLAINED * squares)
