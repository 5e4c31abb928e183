"""Where a curve over checkpoints changes its level, tested against noise that remembers itself.

Values at neighbouring checkpoints are alike even where nothing happens, and a test that takes them for independent
finds changes in almost every such curve (a penalty of 2 ln n in 84 % of curves of 24 checkpoints of first-order
autoregressive noise with coefficient 0.8). Here the evidence for a change is the share of the variance that the best
division into two levels explains,

    R2 = max over t of (SS_0 - SS_1(t)) / SS_0,

and it is compared with the same number in surrogates: first-order autoregressive noise of the same length, whose
coefficient is the curve's own, corrected for the bias of its estimate in short curves ((1 + 3 a) / n; Marriott & Pope
1954). A change raises the estimated coefficient, which makes the test careful, never lenient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
MIN_SIZE = 3
"""Checkpoints on either side of a change."""
LARGEST = 0.99
"""Largest coefficient of the surrogates: at 1 noise has no level to return to."""
LEVEL = 0.05
ROUNDING = 1e-9
"""Differences below this share of the largest value are none."""
COLUMNS = ("after", "before", "p", "explained", "size", "coefficient", "n_surrogates", "found", "reason")


@dataclass(frozen=True)
class Change:
    """The most likely change of a curve.

    Attributes
    ----------
    at
        Place of the first value after the change.
    explained
        R2, between 0 and 1.
    size
        Mean after less mean before.
    coefficient
        Of the autoregressive surrogates.
    p
        (1 + surrogates with as large an R2) / (R + 1).
    """

    at: int
    explained: float
    size: float
    coefficient: float
    p: float


def find_changes(
    steps: Sequence[float],
    values: Sequence[float],
    *,
    most: int = 3,
    level: float = LEVEL,
    n_surrogates: int = 999,
    seed: int = 0,
) -> pd.DataFrame:
    """Changes of level of a curve.

    Parameters
    ----------
    steps, values
        The curve, in order of training. The test knows only the order: space checkpoints as the process runs, evenly
        in the logarithm of the step as a rule.
    most
        Most changes to look for: each one found divides the curve, and the parts are searched again.
    level
        Largest p of a change.
    n_surrogates
        Surrogate curves a test.
    seed
        Of the surrogates.

    Returns
    -------
    DataFrame
        One row a change, in order, or one row with `found` false for the most likely place where none is found:
        after, before (steps of the checkpoints that it lies between), p, explained, size, coefficient, n_surrogates,
        found, reason (why nothing was tested, else "").

    Raises
    ------
    ValueError
        Different lengths, values that are not finite, or choices out of range.
    """
    import pandas as pd

    x, y = np.asarray(steps, np.float64), np.asarray(values, np.float64)
    if x.shape != y.shape or x.ndim != 1 or not np.isfinite(y).all() or (np.diff(x) <= 0).any():
        raise ValueError("steps must rise, with one finite value for each")
    if most < 1 or n_surrogates < 19 or not 0 < level < 1:
        raise ValueError("most must be at least 1, n_surrogates at least 19, and level between 0 and 1")
    why = _untestable(y)
    if why:
        nothing = {"after": math.nan, "before": math.nan, "p": math.nan, "explained": math.nan, "size": math.nan}
        rows = [{**nothing, "coefficient": math.nan, "n_surrogates": 0, "found": False, "reason": why}]
        return pd.DataFrame(rows, columns=list(COLUMNS))
    rng = np.random.default_rng(seed)
    found = _search(y, 0, level, n_surrogates, rng, most)
    tested = found or [likeliest_change(y, n_surrogates, np.random.default_rng(seed))]
    rows = [
        {
            "after": x[change.at - 1],
            "before": x[change.at],
            **{name: getattr(change, name) for name in ("p", "explained", "size", "coefficient")},
            "n_surrogates": n_surrogates,
            "found": bool(found),
            "reason": "",
        }
        for change in sorted(tested, key=lambda one: one.at)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _untestable(values: Floats) -> str:
    if len(values) < 2 * MIN_SIZE:
        return f"{len(values)} checkpoints; a change needs {MIN_SIZE} on either side"
    return "all values are equal" if np.ptp(values) <= ROUNDING * np.abs(values).max() else ""


def _search(
    values: Floats, start: int, level: float, n_surrogates: int, rng: np.random.Generator, most: int
) -> list[Change]:
    """Changes of a stretch that begins at `start`, the strongest first; then of its parts."""
    if most < 1 or _untestable(values):
        return []
    change = likeliest_change(values, n_surrogates, rng)
    if change.p > level:
        return []
    here = Change(start + change.at, change.explained, change.size, change.coefficient, change.p)
    left = _search(values[: change.at], start, level, n_surrogates, rng, most - 1)
    right = _search(values[change.at :], here.at, level, n_surrogates, rng, most - 1 - len(left))
    return [here, *left, *right]


def likeliest_change(values: Floats, n_surrogates: int, rng: np.random.Generator) -> Change:
    """The best division of a curve, and how often surrogates divide as well."""
    at, explained = best_division(values[None])
    coefficient = autocorrelation(values)
    null = best_division(surrogates(len(values), coefficient, n_surrogates, rng))[1]
    p = (1 + int((null >= explained[0] - 1e-12).sum())) / (n_surrogates + 1)
    k = int(at[0])
    size = float(values[k:].mean() - values[:k].mean())
    return Change(k, float(explained[0]), size, coefficient, p)


def best_division(values: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    """Place and R2 of the best division of each curve into two levels; [curves, n] -> [curves], [curves]."""
    n = values.shape[1]
    centred = values - values.mean(axis=1, keepdims=True)
    total = (centred**2).sum(axis=1)
    place = np.arange(MIN_SIZE, n - MIN_SIZE + 1)
    left = np.cumsum(centred, axis=1)[:, place - 1]
    between = left**2 * n / (place * (n - place))
    best = between.argmax(axis=1)
    explained = np.divide(between.max(axis=1), total, out=np.zeros(len(values)), where=total > 0)
    return place[best], explained


def autocorrelation(values: Floats) -> float:
    """Coefficient of first-order autoregression, corrected for its bias, from 0 to `LARGEST`."""
    centred = values - values.mean()
    total = float((centred**2).sum())
    raw = float((centred[1:] * centred[:-1]).sum()) / total if total else 0.0
    n = len(values)
    # The estimate is low by (1 + 3 a) / n on average: a = (raw + 1 / n) / (1 - 3 / n).
    return float(np.clip((raw + 1 / n) / (1 - 3 / n), 0.0, LARGEST))


def surrogates(n: int, coefficient: float, how_many: int, rng: np.random.Generator) -> Floats:
    """Stationary first-order autoregressive noise, float64 [how_many, n]."""
    noise = rng.normal(size=(how_many, n))
    drawn = np.empty_like(noise)
    drawn[:, 0] = noise[:, 0] / math.sqrt(1 - coefficient**2)
    for k in range(1, n):
        drawn[:, k] = coefficient * drawn[:, k - 1] + noise[:, k]
    return drawn
