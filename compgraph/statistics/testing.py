"""The table of measures: value, null, effect size and probability of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from compgraph import catalogue
from compgraph.communities.optimise import run_seeds
from compgraph.errors import ConfigError
from compgraph.graph import ComputationalGraph
from compgraph.multiple_testing import benjamini_hochberg
from compgraph.progress import track
from compgraph.statistics.measures import Measure
from compgraph.statistics.nulls import NULLS
from compgraph.statistics.view import UndefinedError, View, view

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "measure", "value", "null_mean", "null_sd", "low", "high", "z", "p", "q", "n_nulls", "null", "reason",
)  # fmt: skip

CONSTANT = 1e-9
"""A null spread below this share of the value is rounding: the null determines the measure."""


def network_statistics(
    graph: ComputationalGraph,
    measures: Sequence[str] | None = None,
    null: str = "strength",
    n_nulls: int = 99,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure a graph against a null model.

    Parameters
    ----------
    graph
        Any graph. Weights are summed over channels.
    measures
        Names of `compgraph.catalogue.STATISTICS`; None for all.
    null
        `strength` (weights permuted beyond what keeps every strength) or `weights` (permuted over the edges,
        strengths and all); see `nulls`. Nodes differ in strength in almost any graph, so under `weights`
        most measures of most graphs differ from chance for that reason alone.
    n_nulls
        Null graphs; 0 measures without comparing.
    seed
        Null graph k is the same however many there are.

    Returns
    -------
    DataFrame
        One row a measure, in the order asked for: measure, value; null_mean, null_sd, low, high (the band
        that holds 95 % of the nulls); z; p (two-sided, min(1, 2 min((1 + #{null >= value}) / (R + 1), same
        for <=))); q (p adjusted over the measures, Benjamini & Hochberg 1995); n_nulls, null; reason (why
        numbers are missing, else ""). With R nulls no p is below 2 / (R + 1), so a lone finding among k
        measures needs R >= 2 k / q - 1.

    Raises
    ------
    ConfigError
        If a measure or the null is not known.
    """
    names = list(catalogue.STATISTICS) if measures is None else list(measures)
    _check(names, null, n_nulls)
    chosen = {name: cast(Measure, catalogue.load(catalogue.STATISTICS[name])) for name in names}
    seen = view(graph)
    values: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for name, measure in chosen.items():
        values[name], reasons[name] = _value(measure, seen, seed)
    defined = {name: chosen[name] for name in names if math.isfinite(values[name])}
    unfit = "no null graphs were asked for" if n_nulls == 0 else unfit_null(graph, null)
    nulls = {} if unfit else _null_values(seen, defined, null, n_nulls, seed)
    rows = [
        {"measure": name, "value": values[name], "null": null, "reason": reasons[name]}
        | against_nulls(values[name], nulls.get(name), reasons[name] or unfit)
        for name in names
    ]
    return table_of(rows)


def unfit_null(graph: ComputationalGraph, null: str) -> str:
    """Why a null model says nothing about this graph, or "".

    A cut at some strength leaves weights that strengths and permuted residuals do not reproduce: structureless
    graphs, cut to their strongest third, were rejected in a fifth to four fifths of 40 trials at level 0.05
    (uncut: 0 to 12 %).
    """
    cut = any({"top", "threshold"} & set(step) for step in graph.attributes.get("selection", []))
    if null == "strength" and cut:
        return "only the strongest edges were kept, which the strength null does not imitate; measure the whole graph"
    return ""


def _check(names: list[str], null: str, n_nulls: int) -> None:
    for name in names:
        if name not in catalogue.STATISTICS:
            raise ConfigError(f"measure {name!r} is not known; valid are {', '.join(catalogue.STATISTICS)}")
    if null not in NULLS:
        raise ConfigError(f"null model {null!r} is not known; valid are {', '.join(NULLS)}")
    if n_nulls < 0:
        raise ValueError(f"n_nulls must be at least 0, not {n_nulls}")


def _value(measure: Measure, seen: View, seed: int) -> tuple[float, str]:
    """A measure's value, or NaN and the reason."""
    if seen.kind in measure.refused:
        return math.nan, f"{seen.kind} graph: {measure.refused[seen.kind]}"
    if seen.total == 0:
        return math.nan, "the graph has no edge with weight"
    try:
        return measure(seen, seed), ""
    except UndefinedError as undefined:
        return math.nan, str(undefined)


def _null_values(
    seen: View, measures: dict[str, Measure], null: str, n_nulls: int, seed: int
) -> dict[str, npt.NDArray[np.float64]]:
    """Values of each measure on every null graph."""
    if not measures:
        return {}
    sample = NULLS[null](seen)
    found: dict[str, list[float]] = {name: [] for name in measures}
    for null_seed in track(run_seeds(seed + 1, n_nulls), "null graphs"):
        drawn = sample(np.random.default_rng(null_seed))
        for name, measure in measures.items():
            found[name].append(_value(measure, drawn, seed)[0])
    return {name: np.array(values) for name, values in found.items()}


def against_nulls(value: float, nulls: npt.NDArray[np.float64] | None, reason: str) -> dict[str, Any]:
    """Where a value lies among its nulls."""
    if nulls is None or not np.isfinite(nulls).all():
        why = reason or "the measure is undefined for some of the null graphs"
        return {"reason": why, "n_nulls": 0 if nulls is None else int(np.isfinite(nulls).sum())}
    mean, spread = float(nulls.mean()), float(nulls.std(ddof=1)) if len(nulls) > 1 else math.nan
    low, high = (float(x) for x in np.quantile(nulls, [0.025, 0.975]))
    row = {"null_mean": mean, "null_sd": spread, "low": low, "high": high, "n_nulls": len(nulls)}
    if spread <= CONSTANT * max(abs(value), abs(mean)):
        return row | {"null_sd": 0.0, "reason": "the null model keeps this measure as it is"}
    above = (1 + int((nulls >= value).sum())) / (len(nulls) + 1)
    below = (1 + int((nulls <= value).sum())) / (len(nulls) + 1)
    return row | {"z": (value - mean) / spread, "p": min(1.0, 2 * min(above, below))}


def table_of(rows: list[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    table = pd.DataFrame(rows, columns=[name for name in COLUMNS if name != "q"])
    table.insert(COLUMNS.index("q"), "q", benjamini_hochberg(table["p"].to_numpy(np.float64)))
    numbers = ["value", "null_mean", "null_sd", "low", "high", "z", "p", "q"]
    return table.astype(dict.fromkeys(numbers, "float64") | {"n_nulls": "int64"})
