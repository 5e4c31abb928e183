"""Faithfulness of circuits of growing size.

For a metric m, the circuit's mean m(C), the model's m(M) and that of the empty graph m(0):

    faithfulness = (m(C) - m(0)) / (m(M) - m(0))

a ratio of means over examples (Mueller et al. 2025, MIB, arXiv 2504.13151), with percentile bootstrap intervals
over examples. Under KL and total variation m(M) is 0, so that the same formula reads 1 - m(C) / m(0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from compgraph.ablation.baselines import Baseline, make_baseline
from compgraph.ablation.circuits import CircuitMasks, masks_for
from compgraph.ablation.run import run_masks
from compgraph.data.batches import Batch
from compgraph.errors import DataError, GraphError
from compgraph.graph import ComputationalGraph
from compgraph.metrics import Metric, get_metric
from compgraph.models.network import Network

if TYPE_CHECKING:
    import pandas as pd

FRACTIONS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""MIB's grid of kept shares of edges."""
LEVEL = 0.95


@dataclass
class FaithfulnessCurve:
    """Faithfulness against size.

    Attributes
    ----------
    table
        One row per (task,) size and metric: `task`, `fraction`, `n_edges`, `n_nodes`, `metric`, `value` (mean of
        the circuit), `model`, `empty` (means of model and empty graph), `faithfulness`, `low`, `high` (95 %
        bootstrap interval), `reason` (why faithfulness is NaN, else "").
    attributes
        ablation, baseline, selection, whether circuits were pruned, number of examples and of all edges.
    """

    table: pd.DataFrame
    attributes: dict[str, Any]

    def cpr(self, metric: str) -> float:
        """Circuit performance ratio: area under faithfulness over the kept share (linear axis), trapezoids."""
        x, y = self._points(metric)
        return float(np.trapezoid(y, x)) if hasattr(np, "trapezoid") else float(np.trapz(y, x))

    def cmd(self, metric: str) -> float:
        """Circuit-model distance: the same area under |1 - faithfulness|."""
        x, y = self._points(metric)
        y = np.abs(1 - y)
        return float(np.trapezoid(y, x)) if hasattr(np, "trapezoid") else float(np.trapz(y, x))

    def _points(self, metric: str) -> tuple[np.ndarray, np.ndarray]:
        rows = self.table[(self.table["metric"] == metric) & (self.table["task"] == "all")]
        if rows.empty:
            raise ValueError(
                f"no metric {metric!r} in this curve; it has {sorted(set(self.table['metric']))}"
            )
        rows = rows.sort_values("fraction")
        return rows["fraction"].to_numpy(), rows["faithfulness"].to_numpy()


def faithfulness(
    net: Network,
    graph: ComputationalGraph,
    pairs: Any,
    sizes: Sequence[float | int] = FRACTIONS,
    *,
    ablation: str = "edge",
    baseline: str | Baseline = "counterfactual",
    metrics: Sequence[str] = ("logit_difference",),
    select: str = "abs",
    prune: bool = False,
    by_task: bool = False,
    n_bootstrap: int = 1000,
    seed: int = 0,
    batch_size: int | None = None,
) -> FaithfulnessCurve:
    """Faithfulness of the circuits made of a graph's strongest edges.

    Parameters
    ----------
    net, graph, pairs
        The graph scores the edges between the nodes of its partition.
    sizes
        Kept shares of all edges (floats in (0, 1], n = int(share · edges)), or numbers of edges (ints).
    ablation
        `edge`: the network runs as the circuit. `node`: nodes without a kept edge hold their baseline value in
        an ordinary forward pass.
    baseline
        See `compgraph.ablation.baselines`.
    metrics
        Names; see `compgraph.metrics`.
    select
        `abs` (largest |weight| first), `signed` (largest weight) or `negative`.
    prune
        Drop what is on no path from input to logits before running; `n_edges` counts what is left.
    by_task
        Rows for every task of the data beside `all`.
    n_bootstrap, seed
        Resamples of the examples behind `low` and `high`.

    Raises
    ------
    GraphError, DataError
        Sizes out of range, a graph that is no circuit of this network, a metric or baseline the data cannot
        serve.
    """
    frame = masks_for(net, graph)
    scored = int(frame.mask(graph).sum())
    counts = [_count(size, scored) for size in sizes]
    masks = np.stack([_circuit(frame, graph, n, select, prune) for n in counts])
    measures = [get_metric(name) for name in metrics]
    everything = np.stack([np.zeros(frame.n_edges, bool), *masks])
    made = make_baseline(baseline, net, pairs, seed=seed)
    values = _values(net, frame, everything, pairs, measures, ablation, made, batch_size)
    groups = [("all", np.ones(pairs.n, bool))]
    if by_task:
        groups += [(str(task), pairs.task == task) for task in np.unique(pairs.task)]
    rows = []
    for task, members in groups:
        for m, name in enumerate(metrics):
            picked = values[:, m][:, members]
            weights = _bootstrap(picked.shape[1], n_bootstrap, seed)
            for k, n in enumerate(counts):
                size = {
                    "task": task,
                    "fraction": n / scored,
                    "n_edges": int(masks[k].sum()),
                    "n_nodes": int(frame.nodes(masks[k]).sum()),
                    "metric": name,
                }
                rows.append(size | _row(picked[0], picked[1], picked[2 + k], weights))
    import pandas as pd

    attributes = {
        "ablation": ablation,
        **made.about(),
        "select": select,
        "pruned": prune,
        "n_examples": int(pairs.n),
        "n_edges": scored,
    }
    return FaithfulnessCurve(pd.DataFrame(rows), attributes)


def _count(size: float | int, n_edges: int) -> int:
    if isinstance(size, int | np.integer) and not isinstance(size, bool):
        if not 0 <= size <= n_edges:
            raise GraphError(f"size {size} is out of range; this graph has {n_edges} edges")
        return int(size)
    if not 0 < size <= 1:
        raise GraphError(f"size {size} is out of range; a share of edges lies in (0, 1]")
    return int(size * n_edges)


def _circuit(frame: CircuitMasks, graph: ComputationalGraph, n: int, select: str, prune: bool) -> np.ndarray:
    circuit = graph.top(n, by=select)  # type: ignore[arg-type]
    return frame.mask(circuit.prune() if prune else circuit)


def _values(
    net: Network,
    frame: CircuitMasks,
    masks: np.ndarray,
    pairs: Any,
    measures: Sequence[Metric],
    ablation: str,
    baseline: Baseline,
    batch_size: int | None,
) -> np.ndarray:
    """[1 + circuits, metrics, examples] in float64; row 0 is the model, then the circuits in order of masks."""
    columns = []
    with torch.no_grad():
        for batch, logits in run_masks(
            net, frame, masks, pairs, ablation=ablation, baseline=baseline, batch_size=batch_size
        ):
            model = net.run(batch.clean, batch.mask, positions=batch.positions).logits
            columns.append(_measure(batch, model, [model, *logits], measures))
    values = np.concatenate(columns, 2)
    if not np.isfinite(values).all():
        run, _, row = np.argwhere(~np.isfinite(values))[0]
        what = "the model" if run == 0 else f"circuit {run}"
        raise DataError(f"example {pairs.ids[row]!r}: {what} gives a metric that is not finite")
    return values


def _measure(batch: Batch, model: Tensor, runs: Sequence[Tensor], measures: Sequence[Metric]) -> np.ndarray:
    targets = replace(batch.targets, reference=model)
    return np.stack(
        [[measure(logits, targets).double().cpu().numpy() for measure in measures] for logits in runs]
    )


def _bootstrap(n: int, resamples: int, seed: int) -> np.ndarray:
    """Weights [resamples, n] whose products with values are resampled means."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples) / n


def _row(model: np.ndarray, empty: np.ndarray, circuit: np.ndarray, weights: np.ndarray) -> dict[str, Any]:
    m, e, c = model.mean(), empty.mean(), circuit.mean()
    row = {
        "value": c,
        "model": m,
        "empty": e,
        "faithfulness": np.nan,
        "low": np.nan,
        "high": np.nan,
        "reason": "",
    }
    if abs(m - e) <= 1e-6 * max(abs(m), abs(e), 1e-6):
        return row | {"reason": "the empty graph does as well as the model: nothing to be faithful to"}
    below = weights @ empty
    with np.errstate(divide="ignore", invalid="ignore"):
        resampled = (weights @ circuit - below) / (weights @ model - below)
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(resampled, [tail, 1 - tail])
    return row | {"faithfulness": (c - e) / (m - e), "low": low, "high": high}
