"""Adjusted p-values for many tests at once: the one place for false-discovery control."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Correction = Literal["bh", "by", "none"]
Vector = npt.NDArray[np.float64]


def adjust(p: Vector, correction: Correction) -> Vector:
    """p-values adjusted by the named procedure (`bh`, `by`, or `none`).

    Raises
    ------
    ValueError
        An unknown procedure.
    """
    if correction == "none":
        return np.array(p, dtype=np.float64)
    if correction == "bh":
        return benjamini_hochberg(p)
    if correction == "by":
        return benjamini_yekutieli(p)
    raise ValueError(f"correction {correction!r} is not known; valid are bh, by, none")


def benjamini_hochberg(p: Vector) -> Vector:
    """Adjusted p over the finite ones (Benjamini & Hochberg 1995); NaN stays NaN.

    q_(k) = min over j >= k of p_(j) n / j: the false discovery rate at which each is found, for tests that are
    independent or positively dependent.
    """
    q = np.full(len(p), np.nan)
    finite = np.flatnonzero(np.isfinite(p))
    order = finite[np.argsort(p[finite], kind="stable")]
    steps = p[order] * len(order) / np.arange(1, len(order) + 1)
    q[order] = np.minimum.accumulate(steps[::-1])[::-1]
    return q


def benjamini_yekutieli(p: Vector) -> Vector:
    """As `benjamini_hochberg` for tests that depend on each other in any way (Benjamini & Yekutieli 2001).

    The rate is multiplied by 1 + 1/2 + ... + 1/n.
    """
    n = int(np.isfinite(p).sum())
    adjusted: Vector = np.minimum(benjamini_hochberg(p) * (1 / np.arange(1, n + 1)).sum(), 1.0)
    return adjusted
