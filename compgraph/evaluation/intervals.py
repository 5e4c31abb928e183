"""Intervals over examples and places in a null distribution, shared by the tables of evaluation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LEVEL = 0.95
CLOSE = 1e-9
"""Values this close, relative to the larger, count as equal: the same nodes give the same number but for rounding."""


def resamples(n: int, how_many: int, seed: int) -> Floats:
    """Bootstrap weights [how_many, n]: their products with values [n, ..] are means of resampled examples."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n, np.full(n, 1 / n), size=how_many) / n


def band(values: Floats, axis: int = 0) -> tuple[Floats, Floats]:
    """Ends of the central 95 % of values; NaN where there are none, or some are NaN."""
    if values.shape[axis] == 0:
        empty = np.full(np.delete(values.shape, axis), np.nan)
        return empty, empty
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(values, [tail, 1 - tail], axis=axis)
    return low, high


def tail_p(value: Floats, nulls: Floats, side: str = "two") -> Floats:
    """p = (1 + number of nulls as extreme as the value) / (R + 1), over the first axis of `nulls`.

    Parameters
    ----------
    value
        [..]; where it is NaN, p is NaN.
    nulls
        [R, ..].
    side
        `above` (a large value is surprising), `below`, or `two`: min(1, twice the smaller).
    """
    slack = CLOSE * np.maximum(np.abs(value), np.abs(nulls))
    above = (1 + (nulls >= value - slack).sum(0)) / (len(nulls) + 1)
    below = (1 + (nulls <= value + slack).sum(0)) / (len(nulls) + 1)
    p = {"above": above, "below": below, "two": np.minimum(1, 2 * np.minimum(above, below))}[side]
    # Without nulls nothing was compared.
    return np.where(np.isfinite(value) & (len(nulls) > 0), p, np.nan)
