"""Does structure come before, with or after the skill?

The time of a curve is where it has done half of its way from its first value to its last, in the logarithm of the
step. The lag is the time of the structure less that of the skill, in factors of ten of the step: below 0 the structure
comes first. Its interval is over independent training runs (Student's t over seeds). From a single run there is only a
bootstrap of the noise about the course of each curve (a logistic curve in the logarithm of the step, with first-order
autoregressive noise), which knows nothing of how runs differ; half the distance of two checkpoints is added at both
ends, without which it is too short where noise remembers itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from compgraph.emergence.changes import autocorrelation, surrogates

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
Curve = tuple[Sequence[float], Sequence[float]]
"""Steps and values."""

LEAST = 8
"""Checkpoints that a bootstrap within one run needs."""
RESOLVED = 3.0
"""A curve moves if its ends differ by more than so many standard deviations of its noise."""
COLUMNS = ("structure", "skill", "lag", "low", "high", "order", "n_runs", "interval", "reason")


@dataclass(frozen=True)
class Lag:
    """How far one curve is behind another.

    Attributes
    ----------
    lag
        Mean over runs, in factors of ten of the step; NaN where a curve does not move.
    low, high
        95 % interval; NaN where there is none.
    order
        `before` or `after` where the interval leaves out 0; `with` where it lies inside the distance of two
        checkpoints; else `undecided`.
    n_runs
        Runs in which both curves move.
    interval
        `runs` (t over runs), `bootstrap` (within one run) or `none`.
    reason
        Why there is no lag or no interval, else "".
    """

    lag: float
    low: float
    high: float
    order: str
    n_runs: int
    interval: str
    reason: str


def lead_lag(
    structure: Sequence[Curve], skill: Sequence[Curve], *, n_bootstrap: int = 999, seed: int = 0
) -> Lag:
    """Lag of the structure behind the skill.

    Parameters
    ----------
    structure, skill
        One curve a run, the same runs in the same order.
    n_bootstrap
        Resamples of a single run.
    seed
        Of the resamples.

    Raises
    ------
    ValueError
        No run, or different numbers of them.
    """
    if not structure or len(structure) != len(skill):
        raise ValueError(f"as many curves of structure as of skill are needed: {len(structure)} and {len(skill)} given")
    pairs = [(half_time(*one), half_time(*other)) for one, other in zip(structure, skill, strict=True)]
    lags = np.array([a - b for a, b in pairs])
    known = np.flatnonzero(np.isfinite(lags))
    if not len(known):
        still = "structure" if all(math.isnan(a) for a, _ in pairs) else "skill"
        why = f"the {still} does not change beyond its noise"
        return Lag(math.nan, math.nan, math.nan, "undecided", 0, "none", why)
    mean = float(lags[known].mean())
    spacing = float(np.median(np.diff(log_steps(skill[known[0]][0]))))
    if len(known) > 1:
        low, high = _over_runs(lags[known])
        return Lag(mean, low, high, _order(low, high, spacing), len(known), "runs", "")
    run = int(known[0])
    n = min(len(structure[run][0]), len(skill[run][0]))
    if n < LEAST:
        why = f"one run of {n} checkpoints has no interval: take several seeds, or at least {LEAST} checkpoints"
        return Lag(mean, math.nan, math.nan, "undecided", 1, "none", why)
    low, high = _within_run(structure[run], skill[run], n_bootstrap, seed)
    low, high = low - spacing / 2, high + spacing / 2
    return Lag(mean, low, high, _order(low, high, spacing), 1, "bootstrap", "")


def _order(low: float, high: float, spacing: float) -> str:
    if high < 0 or low > 0:
        return "before" if high < 0 else "after"
    return "with" if max(abs(low), abs(high)) <= spacing else "undecided"


def _over_runs(lags: Floats) -> tuple[float, float]:
    """Student's t interval of the mean. Lags that are all equal have no width."""
    from scipy.stats import t

    half = float(t.ppf(0.975, len(lags) - 1) * lags.std(ddof=1) / math.sqrt(len(lags)))
    return float(lags.mean()) - half, float(lags.mean()) + half


def _within_run(structure: Curve, skill: Curve, n_bootstrap: int, seed: int) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    times = []
    for steps, values in (structure, skill):
        x = log_steps(steps)
        drawn = _redrawn(x, np.asarray(values, np.float64), n_bootstrap, rng)
        times.append(np.array([_crossing(x, y) for y in drawn]))
    low, high = np.nanquantile(times[0] - times[1], [0.025, 0.975])
    return float(low), float(high)


def _redrawn(x: Floats, y: Floats, how_many: int, rng: np.random.Generator) -> Floats:
    """The curve's course with noise like its own, [how_many, n]."""
    course = _course(x, y)
    residual = y - course
    coefficient = autocorrelation(residual) if residual.any() else 0.0
    scale = math.sqrt(float((residual**2).sum()) / max(1, len(y) - PARAMETERS)) * math.sqrt(1 - coefficient**2)
    drawn: Floats = course + scale * surrogates(len(y), coefficient, how_many, rng)
    return drawn


PARAMETERS = 4
"""Of a logistic curve: both levels, middle and width."""


def _course(x: Floats, y: Floats) -> Floats:
    """The logistic curve that fits best, among those whose middle and width lie on a grid."""
    span = x[-1] - x[0]
    middles, widths = np.linspace(x[0], x[-1], 60), span * np.geomspace(0.003, 0.3, 12)
    rise = expit((x - middles[:, None, None]) / widths[:, None])
    shape = rise - rise.mean(axis=2, keepdims=True)
    slope = (shape @ (y - y.mean())) / np.maximum((shape**2).sum(axis=2), 1e-300)
    fitted = y.mean() + slope[:, :, None] * shape
    error = ((y - fitted) ** 2).sum(axis=2)
    best: Floats = fitted[np.unravel_index(int(error.argmin()), error.shape)]
    return best


def half_time(steps: Sequence[float], values: Sequence[float]) -> float:
    """Logarithm (base 10) of the step at which a curve has first done half of its way; NaN where it does not move.

    Raises
    ------
    ValueError
        Steps that do not rise, fewer than two, or values that are not finite.
    """
    x, y = np.asarray(steps, np.float64), np.asarray(values, np.float64)
    if len(x) < 2 or x.shape != y.shape or (np.diff(x) <= 0).any() or x[0] < 0 or not np.isfinite(y).all():
        raise ValueError("a curve needs at least two rising steps from 0 on, with one finite value for each")
    if abs(y[-1] - y[0]) <= RESOLVED * noise_of(y):
        return math.nan
    return _crossing(log_steps(x), y)


def noise_of(values: Floats) -> float:
    """Standard deviation of a curve's noise, from its second differences (median, so that a jump does not count)."""
    if len(values) < 4:
        return 0.0
    second = np.abs(np.diff(values, 2))
    return float(np.median(second) / 0.6745 / math.sqrt(6))


def _crossing(x: Floats, y: Floats) -> float:
    """Where y first crosses the middle of its ends, linear between checkpoints; NaN where the ends are equal."""
    rise = (y - y[0]) * np.sign(y[-1] - y[0])
    half = rise[-1] / 2
    if half <= 0:
        return math.nan
    k = int(np.argmax(rise >= half))
    return float(x[k - 1] + (half - rise[k - 1]) / (rise[k] - rise[k - 1]) * (x[k] - x[k - 1]))


def log_steps(steps: Sequence[float] | Floats) -> Floats:
    """Logarithm (base 10) of the steps; step 0 stands at half of the first step after it."""
    x = np.asarray(steps, np.float64).copy()
    if len(x) > 1 and x[0] == 0:
        x[0] = x[1] / 2
    return np.log10(x)


def lag_table(
    curves: Sequence[Mapping[str, Curve]], skill: str, *, n_bootstrap: int = 999, seed: int = 0
) -> pd.DataFrame:
    """`lead_lag` of every quantity behind the skill.

    Parameters
    ----------
    curves
        Quantity -> curve, one mapping a run. A run takes part in the rows of the quantities that it has.
    skill
        Which quantity is the skill.
    n_bootstrap, seed
        As for `lead_lag`.

    Returns
    -------
    DataFrame
        One row a quantity: structure, skill, lag, low, high, order, n_runs, interval, reason.
    """
    import pandas as pd

    names = [name for name in dict.fromkeys(name for run in curves for name in run) if name != skill]
    rows = []
    for name in names:
        runs = [run for run in curves if name in run and skill in run]
        if not runs:
            continue
        found = lead_lag([run[name] for run in runs], [run[skill] for run in runs], n_bootstrap=n_bootstrap, seed=seed)
        rows.append({"structure": name, "skill": skill, **vars(found)})
    return pd.DataFrame(rows, columns=list(COLUMNS))
