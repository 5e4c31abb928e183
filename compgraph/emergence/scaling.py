"""Structure against the size of models.

A larger model has more edges, so that its circuits differ for that reason alone. Circuits are therefore compared in two
ways: at the same share of the edges (matched sparsity), where faithfulness is read off, and at the same faithfulness,
where the share that is needed is read off. Structure of circuits is compared with its null, which takes out what their
number of edges and their strengths explain.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from compgraph.emergence.lags import lag_table
from compgraph.emergence.quantities import (
    CUT_NULL,
    NUMBERS,
    Row,
    Settings,
    against,
    of_blocks,
    of_communities,
    of_separability,
    of_skill,
    of_statistics,
    row,
    strongest,
)
from compgraph.emergence.snapshots import Snapshot
from compgraph.emergence.tracking import SEPARATOR, curves_of
from compgraph.errors import DataError
from compgraph.graph import ComputationalGraph
from compgraph.statistics.testing import network_statistics

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
NOTHING, SHARE, FAITHFULNESS = "nothing", "share", "faithfulness"
"""What circuits have in common."""
COLUMNS = ("model", "n_parameters", "depth", "matched", "level", "quantity", "series", *NUMBERS, "excess", "reason")
SLOPES = (
    "matched", "level", "quantity", "series", "response", "axis", "adjusted", "slope", "low", "high", "p", "n_models",
    "n_sizes", "reason",
)  # fmt: skip
AXES = ("log10_parameters", "depth")
LEAST = 3
"""Models that a slope with an interval needs."""


@dataclass(frozen=True)
class Member:
    """A model, and what is known of it at the end of training.

    Attributes
    ----------
    name
        Of the model.
    n_parameters, depth
        All parameters; blocks, or layers with weights.
    snapshot
        Results of the stages.
    tracking
        Its tracking table, if it has one.
    """

    name: str
    n_parameters: int
    depth: int
    snapshot: Snapshot
    tracking: pd.DataFrame | None = None


@dataclass(frozen=True)
class Scaling:
    """Structure against size.

    Attributes
    ----------
    table
        One row a model and number: model, n_parameters, depth, matched (`nothing`; `share`: circuits of the same share
        of the edges; `faithfulness`: circuits as faithful), level (that share or faithfulness), quantity, series,
        value, low, high, null_mean, null_low, null_high, excess (value less null mean), reason.
    slopes
        Least-squares slopes over models with 95 % intervals (Student's t, models as samples): matched, level,
        quantity, series, response (`value`, or `excess` where there is a null), axis (`log10_parameters`, `depth`),
        adjusted (whether the other axis is in the model too), slope, low, high, p, n_models, n_sizes, reason.
    lags
        `lag_table` over the models of one size as runs, with n_parameters and depth; and over all models (NaN).
    """

    table: pd.DataFrame
    slopes: pd.DataFrame
    lags: pd.DataFrame

    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables by name."""
        return dict(vars(self))


def scale(
    members: Sequence[Member],
    *,
    metric: str = "logit_difference",
    shares: Sequence[float] = (0.02, 0.05, 0.1, 0.2),
    faithfulness: Sequence[float] = (0.5, 0.8),
    measures: Sequence[str] = ("modularity",),
    skill: str = "accuracy",
    n_nulls: int = 99,
    seed: int = 0,
) -> Scaling:
    """Compare models of several sizes.

    Parameters
    ----------
    members
        At least two models.
    metric
        Of the curves of faithfulness.
    shares, faithfulness
        Levels at which circuits are matched.
    measures
        Network statistics of circuits, and of the tables that are given.
    skill
        What lags are measured against, where tracking tables are given.
    n_nulls, seed
        Null graphs of each circuit, and their seed.

    Raises
    ------
    DataError
        Fewer than two models, two of one name, or a series that some of them lack (all named).
    """
    import pandas as pd

    _check(members)
    settings = Settings(measures=measures, n_nulls=n_nulls, seed=seed)
    rows: list[Row] = []
    for member in members:
        about = {"model": member.name, "n_parameters": member.n_parameters, "depth": member.depth}
        found = _rows(member, metric, shares, faithfulness, settings)
        rows += [{**about, **one, "excess": one["value"] - one["null_mean"]} for one in found]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return Scaling(table, slopes_of(table), _lags(members, skill, seed))


def _check(members: Sequence[Member]) -> None:
    names = [member.name for member in members]
    if len(names) < 2 or len(set(names)) < len(names):
        raise DataError(f"at least two different models are compared; given are {', '.join(names) or 'none'}")
    missing = []
    for field in ("graphs", "curves", "blocks", "communities", "statistics", "separability"):
        for series in dict.fromkeys(key for member in members for key in getattr(member.snapshot, field)):
            lacking = [member.name for member in members if series not in getattr(member.snapshot, field)]
            if lacking:
                missing.append(f"{field} '{series}' of {', '.join(lacking)}")
    if missing:
        raise DataError(f"results are missing: {'; '.join(missing)}")


def _rows(
    member: Member, metric: str, shares: Sequence[float], faithfulness: Sequence[float], settings: Settings
) -> Iterator[Row]:
    now = member.snapshot
    for measure in (of_skill, of_blocks, of_communities, of_statistics, of_separability):
        for one in measure(now, settings):
            yield {"matched": NOTHING, "level": math.nan, **one}
    for name, graph in now.graphs.items():
        for level in shares:
            yield from _structure(graph, name, SHARE, level, level, settings)
    for series, curve in now.curves.items():
        rows = curve[(curve["metric"] == metric) & (curve["task"] == "all")].sort_values("fraction", kind="stable")
        if rows.empty:
            continue
        share, values = rows["fraction"].to_numpy(float), rows["faithfulness"].to_numpy(float)
        for level in shares:
            value, why = _at_share(share, values, level)
            yield {"matched": SHARE, "level": level, **row("faithfulness", series, value, why)}
        graph_name = series.rpartition("@")[2]
        for level in faithfulness:
            needed, why = _share_for(share, values, level)
            yield {"matched": FAITHFULNESS, "level": level, **row("log10_share", series, _log10(needed), why)}
            if graph_name in now.graphs:
                graph = now.graphs[graph_name]
                edges = needed * graph.n_edges
                yield {"matched": FAITHFULNESS, "level": level, **row("log10_edges", series, _log10(edges), why)}
                if not why:
                    yield from _structure(graph, series, FAITHFULNESS, level, needed, settings)


def _log10(value: float) -> float:
    return math.log10(value) if value > 0 else math.nan


def _structure(
    graph: ComputationalGraph, series: str, matched: str, level: float, share: float, settings: Settings
) -> Iterator[Row]:
    """Measures of the circuit of a share of the edges."""
    circuit = strongest(graph, share)
    table = network_statistics(circuit, list(settings.measures), CUT_NULL, settings.n_nulls, settings.seed)
    for one in table.to_dict("records"):
        name = f"circuit_{one['measure']}"
        yield {"matched": matched, "level": level, **row(name, series, one["value"], one["reason"], **against(one))}


def _at_share(share: Floats, values: Floats, level: float) -> tuple[float, str]:
    """Faithfulness at a share of the edges, linear in its logarithm between the circuits that were run."""
    known = np.isfinite(values) & (share > 0)
    x, y = np.log(share[known]), values[known]
    if not len(x) or not x[0] - 1e-9 <= math.log(level) <= x[-1] + 1e-9:
        return math.nan, f"circuits of {level:g} of the edges lie outside of those that were run"
    return float(np.interp(math.log(level), x, y)), ""


def _share_for(share: Floats, values: Floats, level: float) -> tuple[float, str]:
    """Smallest share of the edges that is as faithful, linear in its logarithm between the circuits that were run."""
    known = np.isfinite(values) & (share > 0)
    x, y = np.log(share[known]), values[known]
    reached = np.flatnonzero(y >= level)
    if not len(reached):
        return math.nan, f"no circuit that was run has a faithfulness of {level:g}"
    k = int(reached[0])
    if k == 0:
        return math.nan, f"the smallest circuit that was run has more than a faithfulness of {level:g}"
    return float(np.exp(x[k - 1] + (level - y[k - 1]) / (y[k] - y[k - 1]) * (x[k] - x[k - 1]))), ""


def slopes_of(table: pd.DataFrame) -> pd.DataFrame:
    """Slopes of every quantity of a scaling table over its models."""
    import pandas as pd

    rows = []
    keys = ["matched", "level", "quantity", "series"]
    for key, group in table.groupby(keys, sort=False, dropna=False):
        response = "excess" if np.isfinite(group["excess"].astype(float)).any() else "value"
        known = group[np.isfinite(group[response].astype(float))]
        about = dict(zip(keys, key, strict=True)) | {"response": response, "n_models": len(known)}
        about["n_sizes"] = len(known[["n_parameters", "depth"]].drop_duplicates())
        axes = np.stack([np.log10(known["n_parameters"].to_numpy(float)), known["depth"].to_numpy(float)], axis=1)
        y = known[response].to_numpy(float)
        for k, axis in enumerate(AXES):
            rows.append({**about, "axis": axis, "adjusted": False, **slope(axes[:, [k]], y)})
        if len(y) > LEAST and np.linalg.matrix_rank(np.column_stack([np.ones(len(y)), axes])) == 3:
            for k, axis in enumerate(AXES):
                both = axes[:, [k, 1 - k]]
                rows.append({**about, "axis": axis, "adjusted": True, **slope(both, y)})
    return pd.DataFrame(rows, columns=list(SLOPES))


def slope(axes: Floats, values: Floats) -> dict[str, Any]:
    """Least-squares slope along the first axis [models, axes], with a 95 % interval and p of Student's t.

    Models are independent samples: the interval holds for one run a model, and for several seeds a size.
    """
    from scipy.stats import t

    n, free = len(values), len(values) - axes.shape[1] - 1
    nothing = {"slope": math.nan, "low": math.nan, "high": math.nan, "p": math.nan}
    if n < 2 or np.ptp(axes[:, 0]) == 0:
        return {**nothing, "reason": "fewer than two sizes along this axis"}
    design = np.column_stack([np.ones(n), axes])
    fitted = np.linalg.lstsq(design, values, rcond=None)[0]
    if free < 1:
        return {**nothing, "slope": float(fitted[1]), "reason": f"{n} models leave nothing for an interval"}
    residual = values - design @ fitted
    error = math.sqrt(float(residual @ residual) / free * float(np.linalg.inv(design.T @ design)[1, 1]))
    half = float(t.ppf(0.975, free)) * error
    p = float(2 * t.sf(abs(fitted[1]) / error, free)) if error > 0 else math.nan
    return {"slope": float(fitted[1]), "low": float(fitted[1]) - half, "high": float(fitted[1]) + half, "p": p,
            "reason": ""}  # fmt: skip


def _lags(members: Sequence[Member], skill: str, seed: int) -> pd.DataFrame:
    """Lags over the runs of each size, and over all."""
    import pandas as pd

    followed = [member for member in members if member.tracking is not None]
    sizes = dict.fromkeys((member.n_parameters, member.depth) for member in followed)
    groups: list[tuple[tuple[float, float], list[Member]]] = [
        (size, [member for member in followed if (member.n_parameters, member.depth) == size]) for size in sizes
    ]
    if len(sizes) > 1:
        groups.append(((math.nan, math.nan), followed))
    tables = []
    for (n_parameters, depth), group in groups:
        curves = [curves_of(member.tracking) for member in group if member.tracking is not None]
        found = lag_table(curves, f"{skill}{SEPARATOR}all", seed=seed)
        tables.append(found.assign(n_parameters=n_parameters, depth=depth))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["structure", "skill", "lag"])
