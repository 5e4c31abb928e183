"""Checked arrays of token ids, masks, positions and labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from compgraph.errors import DataError

Padding = Literal["right", "left"]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
StrArray = NDArray[np.str_]


def pad(rows: Sequence[Sequence[int]], value: int, side: Padding = "right") -> tuple[IntArray, BoolArray]:
    """Rows of unequal length as one array.

    Parameters
    ----------
    rows
        Token ids of each item.
    value
        What fills the gaps.
    side
        Where the gaps are.

    Returns
    -------
    tokens : array of int [n, t]
        t is the length of the longest row.
    mask : array of bool [n, t]
        True for the real entries.
    """
    lengths = np.fromiter((len(row) for row in rows), np.int64, len(rows))
    width = int(lengths.max(initial=0))
    column = np.arange(width)
    mask = column < lengths[:, None] if side == "right" else column >= width - lengths[:, None]
    tokens = np.full((len(rows), width), value, np.int64)
    # Boolean assignment runs row by row, left to right: the order of the flattened rows, on either side.
    tokens[mask] = np.fromiter((token for row in rows for token in row), np.int64, int(lengths.sum()))
    return tokens, mask


def check_pair_lengths(clean: Any, corrupted: Any) -> None:
    """For ragged lists: name the first pair that differs, before an array is attempted."""
    if not (isinstance(clean, (list, tuple)) and isinstance(corrupted, (list, tuple))):
        return
    for index, (one, other) in enumerate(zip(clean, corrupted, strict=False)):
        if isinstance(one, Sequence) and isinstance(other, Sequence) and len(one) != len(other):
            raise DataError(
                f"item {index}: the clean prompt has {len(one)} tokens and the corrupted one {len(other)}; "
                "the two must have the same number of tokens"
            )


def _integers(name: str, rows: Any, n_dims: tuple[int, ...]) -> IntArray:
    if isinstance(rows, (list, tuple)):
        lengths = [len(row) for row in rows if isinstance(row, Sequence)]
        for index, length in enumerate(lengths):
            if length != lengths[0]:
                raise DataError(
                    f"{name}: item {index} has {length} tokens and item 0 has {lengths[0]}; "
                    "give rows of equal length, padded, with a mask"
                )
    values = np.asarray(rows)
    if values.dtype.kind not in "iu" or values.ndim not in n_dims:
        wanted = " or ".join(f"{d}-dimensional" for d in n_dims)
        raise DataError(
            f"{name}: got an array of {values.dtype} and shape {list(values.shape)}; "
            f"token ids must be a {wanted} array of integers"
        )
    return values.astype(np.int64, copy=False)


def check_tokens(name: str, rows: Any) -> IntArray:
    values = _integers(name, rows, (2,))
    if 0 in values.shape:
        raise DataError(f"{name}: shape {list(values.shape)} holds no token; at least one item and one token")
    negative = (values < 0).any(axis=1)
    if negative.any():
        raise DataError(f"{name}: item {int(np.argmax(negative))} holds a negative token id")
    return values


def check_targets(name: str, rows: Any, n: int) -> IntArray:
    values = _integers(name, rows, (1, 2))
    values = values[:, None] if values.ndim == 1 else values
    if len(values) != n:
        raise DataError(f"{name}: {len(values)} rows for {n} items; give one row per item")
    wrong = (values < -1).any(axis=1) | (values < 0).all(axis=1)
    if wrong.any():
        raise DataError(
            f"{name}: item {int(np.argmax(wrong))} has {values[np.argmax(wrong)].tolist()}; "
            "give at least one token id (0 or more), padded with -1"
        )
    return values


def check_mask(mask: Any, shape: tuple[int, int]) -> BoolArray:
    values = np.asarray(mask)
    if values.shape != shape or values.dtype != bool:
        raise DataError(
            f"mask: got {values.dtype} of shape {list(values.shape)}; it must be bool of shape {list(shape)}"
        )
    starts = values[:, 0].astype(int) + (values[:, 1:] & ~values[:, :-1]).sum(axis=1)
    if (starts != 1).any():
        raise DataError(
            f"mask: item {int(np.argmax(starts != 1))} must have real tokens in one unbroken run, "
            "with padding only before or after it"
        )
    return values


def check_positions(positions: Any, mask: BoolArray, ids: StrArray) -> IntArray:
    values = np.asarray(positions)
    n, t = mask.shape
    if values.shape != (n,) or values.dtype.kind not in "iu":
        raise DataError(f"positions: got {values.dtype} of shape {list(values.shape)}; give {n} integers")
    values = values.astype(np.int64, copy=False)
    outside = (values < 0) | (values >= t)
    wrong = outside | ~mask[np.arange(n), np.where(outside, 0, values)]
    if wrong.any():
        row = int(np.argmax(wrong))
        real = np.flatnonzero(mask[row])
        raise DataError(
            f"item {str(ids[row])!r}: position {int(values[row])} is not one of its tokens "
            f"({int(real[0])} to {int(real[-1])})"
        )
    return values


def check_strings(name: str, values: Any, n: int, prefix: str) -> StrArray:
    if values is None:
        return np.array([f"{prefix}{index:06d}" for index in range(n)])
    texts = np.asarray(values, dtype=str)
    if texts.shape != (n,):
        raise DataError(f"{name}: {texts.size} values for {n} items; give one for each")
    return texts


def check_labels(name: str, values: Any, n: int) -> StrArray:
    return np.full(n, values) if isinstance(values, str) else check_strings(name, values, n, "")
