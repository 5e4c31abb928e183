"""Two-way effects: a sum of one effect per row and one per column (or per end), and what it leaves over.

log |w_uv| = a_u + b_v + residual takes the strengths of nodes out of the weights, and with them most of what
depth does to a layered graph.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compgraph.communities.pairs import Floats, Integers, Mask

SATURATED = 1e-6
"""An observation whose leverage is within this of 1 decides its own fit: its residual says nothing."""

HUBER = 1.345
"""Residuals beyond this many deviations count as if they were there (95 % efficiency for normal noise)."""

MAX_STEPS = 200


@dataclass(frozen=True)
class Additive:
    """A fit of y = effect of the first end + effect of the second end.

    Attributes
    ----------
    fitted, residual
        float64 [P].
    leverage
        Share of its own fit that each observation decides, float64 [P]; a residual has variance
        sigma^2 (1 - leverage).
    informative
        Observations with a residual of their own, bool [P].
    """

    fitted: Floats
    residual: Floats
    leverage: Floats
    informative: Mask

    def studentised(self) -> Floats:
        """Residuals of the informative observations, brought to one variance."""
        keep = self.informative
        scaled: Floats = self.residual[keep] / np.sqrt(1 - self.leverage[keep])
        return scaled


def fit_additive(first: npt.ArrayLike, second: npt.ArrayLike, y: Floats, robust: bool = False) -> Additive:
    """Fit effects of both ends.

    Parameters
    ----------
    first, second
        Which effect each end of an observation has, int [P]. Ends that share their effects (undirected pairs)
        share their numbers.
    y
        float64 [P].
    robust
        Huber's M-estimate instead of least squares: one extreme observation then cannot shift a whole
        row. Logarithms of scores near zero have such a tail, and least squares turns it into structure.
    """
    a, b, n = _numbered(np.asarray(first), np.asarray(second))
    inverse = _inverse_normal_matrix(a, b, n)
    leverage = inverse[a, a] + inverse[b, b] + 2 * inverse[a, b]
    informative = leverage < 1 - SATURATED

    def fit(values: Floats) -> Floats:
        sums = np.bincount(a, values, minlength=n) + np.bincount(b, values, minlength=n)
        effects = inverse @ sums
        fitted: Floats = effects[a] + effects[b]
        return fitted

    fitted = fit(y)
    if robust and informative.any():
        fitted = _huber(y, fitted, fit, informative)
    return Additive(fitted, y - fitted, leverage, informative)


def _huber(y: Floats, fitted: Floats, fit: Callable[[Floats], Floats], informative: Mask) -> Floats:
    """Huber's fit by pseudo-observations: clip the residuals, fit again, until nothing moves."""
    for _ in range(MAX_STEPS):
        residual = y - fitted
        deviation = float(np.median(np.abs(residual[informative]))) / 0.6745
        if deviation == 0:
            break
        update = fit(fitted + np.clip(residual, -HUBER * deviation, HUBER * deviation))
        step = float(np.abs(update - fitted).max())
        fitted = update
        if step <= 1e-9 * deviation:
            break
    return fitted


def _numbered(first: Integers, second: Integers) -> tuple[Integers, Integers, int]:
    """Effects numbered without gaps."""
    used, numbers = np.unique(np.concatenate([first, second]), return_inverse=True)
    return numbers[: len(first)], numbers[len(first) :], len(used)


def _inverse_normal_matrix(a: Integers, b: Integers, n: int) -> Floats:
    """Pseudo-inverse of X^T X, where a row of X has a one at each of its two effects."""
    normal = np.zeros((n, n))
    np.add.at(normal, (a, a), 1)
    np.add.at(normal, (b, b), 1)
    np.add.at(normal, (a, b), 1)
    np.add.at(normal, (b, a), 1)
    inverse: Floats = np.linalg.pinv(normal, rcond=1e-10, hermitian=True)
    return inverse
