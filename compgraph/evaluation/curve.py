"""Faithfulness, completeness and the null band of circuits, from metrics of single examples.

For a metric m, the circuit's mean m(C), the model's m(M) and that of the empty graph m(0):

    faithfulness = (m(C) - m(0)) / (m(M) - m(0))

a ratio of means over examples (Mueller et al. 2025, MIB, arXiv 2504.13151), with percentile bootstrap intervals over
examples. Under KL and total variation m(M) is 0, so that the same formula reads 1 - m(C) / m(0). Completeness is the
same for the circuit's complement: near 0 where nothing outside of the circuit does the work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from compgraph import catalogue
from compgraph.evaluation.intervals import band, resamples
from compgraph.evaluation.scores import rank_p
from compgraph.metrics import lower_is_better
from compgraph.multiple_testing import benjamini_hochberg
from compgraph.tables import notebook_table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

BAND = 0.9
"""Share of the random circuits between `null_low` and `null_high`."""
SAME = "the empty graph does as well as the model: nothing to be faithful to"
NOTHING = "the model's metric is 0: there is nothing to recover a share of"
UNSURE = "model and empty graph differ by no more than chance: the ratio would mean nothing"
SIZES = ("n_edges", "n_nodes", "mean_degree", "units", "parameters")
AXES = ("fraction", *SIZES)
"""Measures of size that an area can be taken over."""
SHOWN = ("metric", "fraction", "n_edges", "n_nodes", "faithfulness", "low", "high", "null_mean", "p", "reason")
"""Columns that a notebook shows."""

Values = npt.NDArray[np.float64]


@dataclass
class FaithfulnessCurve:
    """Faithfulness against size.

    Attributes
    ----------
    table
        One row per task, metric and size: `task`, `metric`, `size`, `fraction`, `n_edges`, `n_nodes`, `mean_degree`,
        `units`, `parameters` (see `PlannedCircuits.table`), `value` (mean of the circuit), `model`, `empty` (means of
        model and empty graph), `recovered` (AutoCircuit's measure: 100 · `value` / `model`, percent; the empty graph's
        is not subtracted, UFO-101/auto-circuit), `unrecovered` (why that is NaN, else ""), `faithfulness`, `low`,
        `high` (95 % bootstrap interval), `per_example` (median over examples of their own ratios), `reason` (why
        faithfulness is NaN, else ""), `note` (what is out of the ordinary about the circuit).
        With complements: `complement` (mean), `completeness`, `completeness_low`, `completeness_high`.
        With random circuits: `null_mean`, `null_low`, `null_high` (of their faithfulness), `n_random`, `p` (share of
        random circuits at least as good, the circuit counted among them), `q` (Benjamini and Hochberg over sizes).
    areas
        Areas under the curve over the kept share: one row per task, metric and `area` (`cpr`, `cmd`) with `value`,
        `low`, `high` (95 % bootstrap interval, from the resamples of examples behind the table's) and `reason` (why
        they are NaN, else "").
    attributes
        ablation, baseline, selection, whether circuits were pruned, number of examples and of all edges.
    """

    table: pd.DataFrame
    areas: pd.DataFrame
    attributes: dict[str, Any]

    def cpr(self, metric: str, axis: str = "fraction") -> float:
        """Circuit performance ratio: area under faithfulness over the kept share (linear axis), trapezoids.

        `axis`: another measure of size (`AXES`) in place of the share of edges, scaled by its largest value.
        """
        x, y = self._points(metric, axis)
        return float(_area(x, y))

    def cmd(self, metric: str, axis: str = "fraction") -> float:
        """Circuit-model distance: the same area under |1 - faithfulness|."""
        x, y = self._points(metric, axis)
        return float(_area(x, np.abs(1 - y)))

    def recovered(self, metric: str) -> Values:
        """AutoCircuit's measure per size, percent (`table`)."""
        return self._rows(metric)["recovered"].to_numpy(np.float64)

    def plot(self, **options: Any) -> Figure:
        """The figure `faithfulness`, one panel a metric.

        Parameters
        ----------
        options
            Those of the figure: `axis` (`fraction`, `n_edges`, `n_nodes`, `mean_degree`), `width` (`single`, `double`).
        """
        figure: Figure = catalogue.load(catalogue.FIGURES["faithfulness"])(self.table, **options)
        return figure

    def _repr_html_(self) -> str:
        """A line of numbers and the curve over all tasks, for notebooks."""
        metrics = list(dict.fromkeys(self.table["metric"]))
        areas = ", ".join(f"{metric} {self.cpr(metric):.3g}" for metric in metrics)
        rows = self.table.loc[self.table["task"] == "all", [name for name in SHOWN if name in self.table]]
        return notebook_table(f"FaithfulnessCurve, area under faithfulness: {areas}", rows)

    def _rows(self, metric: str) -> pd.DataFrame:
        rows = self.table[(self.table["metric"] == metric) & (self.table["task"] == "all")]
        if rows.empty:
            raise ValueError(f"no metric {metric!r} in this curve; it has {sorted(set(self.table['metric']))}")
        return rows.sort_values("fraction", kind="stable")

    def _points(self, metric: str, axis: str) -> tuple[Values, Values]:
        if axis not in AXES:
            raise ValueError(f"axis {axis!r} is not known; valid are {', '.join(AXES)}")
        rows = self._rows(metric).sort_values(axis, kind="stable")
        x = rows[axis].to_numpy(dtype=float)
        return x if axis == "fraction" else x / max(x.max(), 1e-300), rows["faithfulness"].to_numpy()


def _area(x: Values, y: Values) -> Any:
    """Trapezoids over the first axis of y, [sizes, ...]."""
    return np.diff(x) @ ((y[1:] + y[:-1]) / 2)


AREAS: dict[str, Callable[[Values], Values]] = {"cpr": lambda y: y, "cmd": lambda y: np.abs(1 - y)}
"""Area -> the height under which it lies, from faithfulness."""


def curve_of(
    circuits: pd.DataFrame,
    values: Values,
    metrics: Sequence[str],
    tasks: npt.NDArray[Any],
    attributes: dict[str, Any],
    *,
    by_task: bool = False,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> FaithfulnessCurve:
    """The curve of planned circuits.

    Parameters
    ----------
    circuits
        `PlannedCircuits.table`.
    values
        [1 + runs, metrics, examples]: row 0 is the model, row 1 the empty graph, and so on as planned.
    metrics, tasks
        Names of the metrics; the task of every example.
    by_task
        Rows for every task beside `all`.
    n_bootstrap, seed
        Resamples of the examples behind the intervals.
    """
    import pandas as pd

    groups = [("all", np.ones(len(tasks), bool))]
    if by_task:
        groups += [(str(task), tasks == task) for task in np.unique(tasks)]
    tables, areas = [], []
    for task, members in groups:
        weights = resamples(int(members.sum()), n_bootstrap, seed)
        for m, metric in enumerate(metrics):
            rows = _Rows(values[:, m][:, members], weights, metric)
            about = {"task": task, "metric": metric}
            chance = bool(attributes.get("n_random"))
            tables.append(pd.DataFrame([about | row for row in rows.of(circuits, chance)]))
            areas += [about | area for area in rows.areas(circuits)]
    table = pd.concat(tables, ignore_index=True)
    if "p" in table:
        for _, group in table.groupby(["task", "metric"]):
            known = group.index[group["p"].notna()]
            table.loc[known, "q"] = benjamini_hochberg(table.loc[known, "p"].to_numpy())
    return FaithfulnessCurve(table, pd.DataFrame(areas), attributes | {"n_examples": len(tasks)})


class _Rows:
    """The rows of one task and metric."""

    def __init__(self, values: Values, weights: Values, metric: str) -> None:
        self.values, self.weights = values, weights
        self.lower = lower_is_better(metric)
        self.model, self.empty = values[0], values[1]
        self.span = self.model.mean() - self.empty.mean()
        self.reason = self._reason()

    def _reason(self) -> str:
        m, e = self.model.mean(), self.empty.mean()
        if abs(m - e) <= 1e-6 * max(abs(m), abs(e), 1e-6):
            return SAME
        if len(self.weights) and len(self.model) > 1:
            low, high = band(self.weights @ (self.model - self.empty))
            if low <= 0 <= high:
                return UNSURE
        return ""

    def of(self, circuits: pd.DataFrame, chance: bool) -> list[dict[str, Any]]:
        """One row per circuit, with its complement and (`chance`) its random circuits."""
        found = []
        for (_, fraction), group in circuits.groupby(["size", "fraction"], sort=False):
            roles = {role: rows for role, rows in group.groupby("role")}
            own = roles["circuit"].iloc[0]
            row = {name: own[name] for name in ("size", *SIZES)}
            row |= {"fraction": fraction, "note": own["note"], **self._faithful(int(own["run"]))}
            if "complement" in roles:
                rest = self._faithful(int(roles["complement"].iloc[0]["run"]))
                row |= {"complement": rest["value"], "completeness": rest["faithfulness"]}
                row |= {"completeness_low": rest["low"], "completeness_high": rest["high"]}
            if chance:
                row |= self._chance(row, [int(run) for run in roles["random"]["run"]] if "random" in roles else [])
            found.append(row)
        return found

    def _faithful(self, run: int) -> dict[str, Any]:
        values = self.values[1 + run]
        row: dict[str, Any] = {"value": values.mean(), "model": self.model.mean(), "empty": self.empty.mean()}
        row |= self._recovered(values.mean())
        row |= {"faithfulness": np.nan, "low": np.nan, "high": np.nan, "per_example": np.nan, "reason": self.reason}
        if self.reason:
            return row
        row["faithfulness"] = (values.mean() - self.empty.mean()) / self.span
        gap = self.model - self.empty
        with np.errstate(divide="ignore", invalid="ignore"):
            own = (values - self.empty) / gap
        defined = np.abs(gap) > 1e-6 * np.abs(gap).max()
        row["per_example"] = float(np.median(own[defined]))
        row["low"], row["high"] = _interval(self._resampled([run])[0])
        return row

    def _recovered(self, value: float) -> dict[str, Any]:
        model = self.model.mean()
        scale = max(np.abs(self.model).mean(), np.abs(self.empty).mean(), 1e-6)
        if abs(model) <= 1e-6 * scale:
            return {"recovered": np.nan, "unrecovered": NOTHING}
        return {"recovered": 100 * value / model, "unrecovered": ""}

    def _resampled(self, runs: Sequence[int]) -> Values:
        """Faithfulness of runs over resampled examples, [runs, resamples]; not finite where the two ends coincide."""
        gain = (self.values[[1 + run for run in runs]] - self.empty) @ self.weights.T
        with np.errstate(divide="ignore", invalid="ignore"):
            share: Values = gain / (self.weights @ (self.model - self.empty))
        return share

    def areas(self, circuits: pd.DataFrame) -> list[dict[str, Any]]:
        """One row per area under faithfulness over the kept share (`FaithfulnessCurve.areas`)."""
        own = circuits[circuits["role"] == "circuit"].sort_values("fraction", kind="stable")
        if self.reason:
            nothing = dict.fromkeys(("value", "low", "high"), np.nan) | {"reason": self.reason}
            return [{"area": name, **nothing} for name in AREAS]
        x, runs = own["fraction"].to_numpy(np.float64), own["run"].to_numpy()
        y = (self.values[1 + runs].mean(1) - self.empty.mean()) / self.span
        resampled = self._resampled(runs)
        found = []
        for name, height in AREAS.items():
            low, high = _interval(_area(x, height(resampled)))
            found.append({"area": name, "value": float(_area(x, height(y))), "low": low, "high": high, "reason": ""})
        return found

    def _chance(self, row: dict[str, Any], runs: list[int]) -> dict[str, Any]:
        out = dict.fromkeys(("null_mean", "null_low", "null_high", "p", "q"), np.nan) | {"n_random": len(runs)}
        if not runs:
            return out
        means = self.values[[1 + run for run in runs]].mean(1)
        out["p"] = rank_p(float(row["value"]), means, lower=self.lower)
        if not self.reason:
            shares = (means - self.empty.mean()) / self.span
            tail = (1 - BAND) / 2
            out["null_mean"] = shares.mean()
            out["null_low"], out["null_high"] = np.quantile(shares, [tail, 1 - tail])
        return out


def _interval(resampled: Values) -> tuple[float, float]:
    """95 % interval over the resamples in which the number is defined."""
    low, high = band(resampled[np.isfinite(resampled)])
    return float(low), float(high)
