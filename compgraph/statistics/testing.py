"""The table of measures: value, null, effect size and probability of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from compgraph import catalogue
from compgraph.errors import ConfigError
from compgraph.graph import ComputationalGraph
from compgraph.graph_import import as_graph
from compgraph.multiple_testing import benjamini_hochberg
from compgraph.statistics.drawing import null_values
from compgraph.statistics.measures.kinds import Measure, value_of
from compgraph.statistics.view import DENSE_NODES, UndefinedError, view

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "measure", "value", "null_mean", "null_sd", "low", "q25", "median", "q75", "high", "z", "p", "q",
    "n_nulls", "n_effective", "null", "seed", "reason",
)  # fmt: skip

QUANTILES = {"low": 0.025, "q25": 0.25, "median": 0.5, "q75": 0.75, "high": 0.975}

CONSTANT = 1e-9
"""A null spread below this share of the value is rounding: the null determines the measure."""

OF_WEIGHTS = {
    "effects": ("gini", "strength_gini", "strength_tail", "span", "effective_resistance"),
    "strength": ("gini", "effective_resistance", "loop_intensity"),
}
"""Measures that strengths and the distribution of weights determine, all but, by nulls that keep those nearly."""

NEARLY = "the {} null nearly keeps what determines this measure (strengths, distribution of weights)"

LABEL_FREE = "relabelling nodes changes no measure of one graph; it serves associations between two (compare_graphs)"


def network_statistics(
    graph: Any,
    measures: Sequence[str] | None = None,
    null: str = "auto",
    n_nulls: int = 99,
    seed: int = 0,
    workers: int = 1,
    null_graphs: Sequence[Any] | None = None,
) -> pd.DataFrame:
    """Measure a graph against a null model.

    Parameters
    ----------
    graph
        A `ComputationalGraph`, a networkx or igraph graph, or a square matrix. Weights are summed over channels,
        self-loops are dropped, parallel edges added up; edges of weight 0 count as none.
    measures
        Names of `compgraph.catalogue.STATISTICS`; None for all.
    null
        Name of `compgraph.catalogue.NULLS`; `auto` for `effects` on directed graphs, whose weights have long tails, and
        `strength` on undirected ones, whose correlations have not; with more than 2,000 nodes `swap-effects`. Nodes
        differ in strength in almost any graph, so under `weights` most measures of most graphs differ from chance for
        that reason alone.
    n_nulls
        Null graphs; 0 measures without comparing.
    seed
        Null graph k is the same however many there are, and whatever the number of workers.
    workers
        Processes among which null graphs are shared. Above 1, a script needs the usual
        `if __name__ == "__main__":` guard.
    null_graphs
        For `null="network"`: graphs of randomised networks, made, cut and pruned as `graph` was. All are used, and
        `n_nulls` is not read.

    Returns
    -------
    DataFrame
        One row a measure, in the order asked for: measure, value; null_mean, null_sd; low, q25, median, q75, high
        (quantiles of the nulls; low to high holds 95 %); z; p (two-sided, min(1, 2 min((1 + #{null >= value}) /
        (R + 1), same for <=))); q (p adjusted over the measures, Benjamini & Hochberg 1995); n_nulls; n_effective
        (R / (1 + 2 sum of autocorrelations)); null, seed; reason (why numbers are missing, else ""). With R nulls no
        p is below 2 / (R + 1), so a lone finding among k measures needs R >= 2 k / q - 1.

    Raises
    ------
    ConfigError
        If a measure or the null is not known, or null graphs are missing or not wanted.
    """
    names = list(catalogue.STATISTICS) if measures is None else list(measures)
    graph = as_graph(graph)
    if null == "auto":
        null = automatic_null(graph)
    _check(names, null, n_nulls, workers, null_graphs)
    chosen = {name: cast(Measure, catalogue.load(catalogue.STATISTICS[name])) for name in names}
    seen = view(graph)
    values: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for name, measure in chosen.items():
        values[name], reasons[name] = value_of(measure, seen, seed)
    defined = [name for name in names if math.isfinite(values[name])]
    given = None if null_graphs is None else [view(as_graph(one)) for one in null_graphs]
    unfit = "no null graphs were asked for" if n_nulls == 0 and not given else unfit_null(graph, null)
    nulls: dict[str, npt.NDArray[np.float64]] = {}
    if defined and not unfit:
        try:
            tested = [name for name in defined if not _unfit_measure(name, null)]
            nulls = null_values(seen, tested, null, n_nulls, seed, workers, given)
        except UndefinedError as undefined:
            unfit = str(undefined)
    rows = [
        {"measure": name, "value": values[name], "null": null, "seed": seed, "reason": reasons[name]}
        | against_nulls(values[name], nulls.get(name), reasons[name] or unfit or _unfit_measure(name, null))
        for name in names
    ]
    return table_of(rows)


def automatic_null(graph: ComputationalGraph) -> str:
    """Name of the null that `auto` means: the one that keeps its level on graphs of this size."""
    return "swap-effects" if graph.n_nodes > DENSE_NODES else "effects"


def unfit_null(graph: ComputationalGraph, null: str) -> str:
    """Why a null model says nothing about this graph, or "".

    A cut at some strength leaves weights that strengths and permuted residuals do not reproduce: structureless
    graphs, cut to their strongest third, were rejected in a fifth to four fifths of 40 trials at level 0.05
    (uncut: 0 to 12 %).
    """
    cut = any({"top", "threshold"} & set(step) for step in graph.attributes.get("selection", []))
    if null in ("effects", "strength") and cut:
        return f"only the strongest edges were kept, which the {null} null does not imitate; measure the whole graph"
    return LABEL_FREE if null == "node-permutation" else ""


def _unfit_measure(name: str, null: str) -> str:
    """Why a null cannot judge a measure, or ""."""
    return NEARLY.format(null) if name in OF_WEIGHTS.get(null, ()) else ""


def _check(
    names: list[str], null: str, n_nulls: int, workers: int, null_graphs: Sequence[Any] | None
) -> None:
    for name in names:
        if name not in catalogue.STATISTICS:
            raise ConfigError(f"measure {name!r} is not known; valid are {', '.join(catalogue.STATISTICS)}")
    if null not in catalogue.NULLS:
        raise ConfigError(f"null model {null!r} is not known; valid are {', '.join(catalogue.NULLS)}")
    if (null == "network") != bool(null_graphs) and (null_graphs or n_nulls):
        given = len(null_graphs or ())
        raise ConfigError(f"null model {null!r}, {given} null_graphs: network needs them, and no other takes any")
    if n_nulls < 0:
        raise ValueError(f"n_nulls must be at least 0, not {n_nulls}")
    if workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")


def against_nulls(value: float, nulls: npt.NDArray[np.float64] | None, reason: str) -> dict[str, Any]:
    """Where a value lies among its nulls."""
    if nulls is None or not np.isfinite(nulls).all():
        why = reason or "the measure is undefined for some of the null graphs"
        return {"reason": why, "n_nulls": 0 if nulls is None else int(np.isfinite(nulls).sum())}
    mean, spread = float(nulls.mean()), float(nulls.std(ddof=1)) if len(nulls) > 1 else math.nan
    row = {"null_mean": mean, "null_sd": spread, "n_nulls": len(nulls), "n_effective": effective_number(nulls)}
    row |= {name: float(np.quantile(nulls, share)) for name, share in QUANTILES.items()}
    if spread <= CONSTANT * max(abs(value), abs(mean)):
        return row | {"null_sd": 0.0, "reason": "the null model keeps this measure as it is"}
    above = (1 + int((nulls >= value).sum())) / (len(nulls) + 1)
    below = (1 + int((nulls <= value).sum())) / (len(nulls) + 1)
    return row | {"z": (value - mean) / spread, "p": min(1.0, 2 * min(above, below))}


def effective_number(nulls: npt.NDArray[np.float64]) -> float:
    """Independent nulls that would tell as much about their mean: R / (1 + 2 sum of autocorrelations).

    Sums of two neighbouring lags are added up while they are positive (Geyer 1992). At most R.
    """
    n = len(nulls)
    centred = nulls - nulls.mean()
    variance = float(centred @ centred)
    if n < 4 or variance == 0:
        return float(n)
    correlation = np.array([centred[lag:] @ centred[: n - lag] for lag in range(n)]) / variance
    pairs = correlation[: n // 2 * 2].reshape(-1, 2).sum(axis=1)
    until = int(np.argmax(pairs <= 0)) if (pairs <= 0).any() else len(pairs)
    return float(min(n, n / max(2 * pairs[:until].sum() - 1, 1.0)))


def table_of(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows as a table, with p adjusted over them."""
    import pandas as pd

    table = pd.DataFrame(rows, columns=[name for name in COLUMNS if name != "q"])
    table.insert(COLUMNS.index("q"), "q", benjamini_hochberg(table["p"].to_numpy(np.float64)))
    numbers = ["value", "null_mean", "null_sd", *QUANTILES, "z", "p", "q", "n_effective"]
    return table.astype(dict.fromkeys(numbers, "float64") | {"n_nulls": "int64", "seed": "int64"})
