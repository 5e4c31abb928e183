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
    q = np.full(len(p), np.nan)
    finite = np.flatnonzero(np.isfinite(p))
    order = finite[np.argsort(p[finite])]  # equal p-values get equal q in any order
    steps = p[order] * (n_tests or len(order)) / np.arange(1, len(order) + 1)
    q[order] = np.minimum(np.minimum.accumulate(steps[::-1])[::-1], 1.0)
    return q


def benjamini_yekutieli(p: Vector, n_tests: int | None = None) -> Vector:
    """As `benjamini_hochberg` for tests that depend on each other in any way (Benjamini & Yekutieli 2001).

    The rate is multiplied by 1 + 1/2 + ... + 1/n.
    """
    n = n_tests or int(np.isfinite(p).sum())
    harmonic = (1 / np.arange(1, min(n, 10**6) + 1)).sum() + (np.log(n / 10**6) if n > 10**6 else 0.0)
    adjusted: Vector = np.minimum(benjamini_hochberg(p, n_tests) * harmonic, 1.0)
    return adjusted
