"""Adjusted p-values for many tests at once: the one place for false-discovery control."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Correction = Literal["bh", "by", "none"]
Vector = npt.NDArray[np.float64]

MANY = 100_000
"""Tests from which on sorting is worth the loading of torch."""


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
    """A stable order in which numbers from 0 up ascend."""
    if len(p) < MANY:
        order: npt.NDArray[np.int64] = np.argsort(p, kind="stable")
        return order
    import torch

    # Bits of numbers from 0 up are ordered like these, and whole numbers are sorted by radix, in a third of the time.
    bits = np.abs(np.ascontiguousarray(p, dtype=np.float64)).view(np.int64)  # of negative zeros too
    found: npt.NDArray[np.int64] = torch.sort(torch.from_numpy(bits), stable=True).indices.numpy()
    return found


def benjamini_yekutieli(p: Vector, n_tests: int | None = None) -> Vector:
    """As `benjamini_hochberg` for tests that depend on each other in any way (Benjamini & Yekutieli 2001).

    The rate is multiplied by 1 + 1/2 + ... + 1/n.
    """
    n = n_tests or int(np.isfinite(p).sum())
    harmonic = (1 / np.arange(1, min(n, 10**6) + 1)).sum() + (np.log(n / 10**6) if n > 10**6 else 0.0)
    adjusted: Vector = np.minimum(benjamini_hochberg(p, n_tests) * harmonic, 1.0)
    return adjusted
