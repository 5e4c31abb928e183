"""Adjusted p-values for many tests at once: the one place for false-discovery control."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Correction = Literal["bh", "by", "none"]
Vector = npt.NDArray[np.float64]


def adjust(p: Vector, correction: Correction, n_tests: int | None = None) -> Vector:
    """p-values adjusted by the named procedure (`bh`, `by`, or `none`).

    Parameters
    ----------
    n_tests
        How many tests there were, where only some are listed: the others count as having p = 1.

    Raises
    ------
    ValueError
        An unknown procedure.
    """
    if correction == "none":
        return np.array(p, dtype=np.float64)
    if correction == "bh":
        return benjamini_hochberg(p, n_tests)
    if correction == "by":
        return benjamini_yekutieli(p, n_tests)
    raise ValueError(f"correction {correction!r} is not known; valid are bh, by, none")


def benjamini_hochberg(p: Vector, n_tests: int | None = None) -> Vector:
    """Adjusted p over the finite ones (Benjamini & Hochberg 1995); NaN stays NaN.

    q_(k) = min over j >= k of p_(j) n / j: the false discovery rate at which each is found, for tests that are
    independent or positively dependent.
    """
    finite = np.isfinite(p)
    if finite.all():
        q, order = np.empty(len(p)), ascending(p)
    else:
        q, order = np.full(len(p), np.nan), np.flatnonzero(finite)[ascending(p[finite])]
    steps = p[order]  # equal p-values get equal q in any order
    steps *= n_tests or len(order)
    steps /= np.arange(1, len(order) + 1)
    np.minimum.accumulate(steps[::-1], out=steps[::-1])
    q[order] = np.minimum(steps, 1.0, out=steps)
    return q


def ascending(p: Vector) -> npt.NDArray[np.int64]:
    """An order in which numbers from 0 up ascend.

    Sorting numbers takes half the time of sorting their indices, and bits of numbers from 0 up are ordered like them:
    the last bits of each give way to its index, and what they would have parted is put right.
    """
    bits = max(len(p) - 1, 1).bit_length()
    keys = np.abs(np.ascontiguousarray(p, dtype=np.float64)).view(np.uint64)  # of negative zeros too
    low = np.uint64((1 << bits) - 1)
    keys &= ~low
    keys |= np.arange(len(p), dtype=np.uint64)
    keys.sort()
    keys &= low
    order = keys.view(np.int64)
    found = p[order]
    if (found[1:] < found[:-1]).any():
        order = order[np.argsort(found, kind="stable")]  # nearly sorted: a pass or two
    return order


def benjamini_yekutieli(p: Vector, n_tests: int | None = None) -> Vector:
    """As `benjamini_hochberg` for tests that depend on each other in any way (Benjamini & Yekutieli 2001).

    The rate is multiplied by 1 + 1/2 + ... + 1/n.
    """
    n = n_tests or int(np.isfinite(p).sum())
    harmonic = (1 / np.arange(1, min(n, 10**6) + 1)).sum() + (np.log(n / 10**6) if n > 10**6 else 0.0)
    adjusted: Vector = np.minimum(benjamini_hochberg(p, n_tests) * harmonic, 1.0)
    return adjusted
