"""Faithfulness curves against random circuits of the same size, layer profile or degrees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compgraph.ablation.baselines import Baseline, make_baseline
from compgraph.ablation.circuits import CircuitMasks, masks_for
from compgraph.circuits.choice import edge_budget
from compgraph.errors import GraphError
from compgraph.evaluation.planning import FRACTIONS
from compgraph.evaluation.random_circuits import Kind, Masks, RandomCircuits, pruned, sample_circuits
from compgraph.evaluation.scores import Scores, circuit_scores, normalised, rank_p
from compgraph.graph import ComputationalGraph
from compgraph.graph_select import Order
from compgraph.metrics import lower_is_better
from compgraph.models.network import Network
from compgraph.statistics.testing import benjamini_hochberg

if TYPE_CHECKING:
    import pandas as pd

NOTHING = "the empty graph does as well as the model: nothing to be faithful to"


@dataclass
class NullBand:
    """A faithfulness curve and its chance.

    Attributes
    ----------
    table
        One row per metric and size: `metric`, `kind`, `fraction` (asked for, of the graph's edges), `n_edges` (of the
        circuit and of every random one), `n_nodes`, `value` (mean of the metric), `model`, `empty`, `faithfulness`;
        `null_value`, `null_mean` (means over the random circuits of value and faithfulness), `null_low`, `null_high`
        (the band of faithfulness), `p`, `q`, `n_random`, `overlap`, `between` (`RandomCircuits`), `reason` (why numbers
        are missing, else "").
    attributes
        Settings.
    """

    table: pd.DataFrame
    attributes: dict[str, Any]


def null_band(
    net: Network,
    graph: ComputationalGraph,
    pairs: Any,
    sizes: Sequence[float | int] = FRACTIONS,
    kind: Kind = "size",
    n_random: int = 99,
    *,
    ablation: str = "edge",
    baseline: str | Baseline = "counterfactual",
    metrics: Sequence[str] = ("logit_difference",),
    select: Order = "abs",
    connected: bool = True,
    level: float = 0.9,
    seed: int = 0,
    batch_size: int | None = None,
) -> NullBand:
    """Whether a graph's strongest edges keep more of the behaviour than random circuits do.

    The circuits of all sizes and their random ones share the runs of model and baseline.

    Parameters
    ----------
    net, graph, pairs
        As for `compgraph.faithfulness`. Random circuits are drawn from the edges of the graph.
    sizes
        Kept shares of the edges (floats in (0, 1]) or numbers of edges (ints).
    kind, n_random
        See `compgraph.evaluation.random_circuits`. With R draws no p is below 1 / (R + 1).
    select
        `abs`, `signed` or `negative`.
    connected
        Prune the circuits, and compare them with connected random ones. Else neither.
    level
        Share of the random circuits in the band.

    Returns
    -------
    NullBand
        p = (1 + number of random circuits that do at least as well) / (R + 1), by the metric's mean and direction; q:
        adjusted over the sizes (Benjamini and Hochberg 1995), metric by metric.

    Raises
    ------
    GraphError, DataError
        Sizes out of range, a graph that is no circuit of this network, an unknown kind, a metric or baseline the data
        cannot serve.
    """
    if not 0 < level < 1:
        raise GraphError(f"level is {level}; the share of random circuits in the band lies between 0 and 1")
    counts = [edge_budget(graph, size) for size in sizes]
    if not counts:
        raise GraphError("sizes is empty; at least one size is needed")
    frame = masks_for(net, graph)
    universe = frame.mask(graph)
    allowed = frame.full.subgraph(universe)
    circuits = [allowed.mask_of(graph.subgraph(graph.top_mask(n, select))) for n in counts]
    if connected:
        circuits = [pruned(allowed, circuit) for circuit in circuits]
    draws = [sample_circuits(allowed, one, n_random, kind, seed, connected) for one in circuits]
    made = make_baseline(baseline, net, pairs, seed=seed)
    own = [lift(universe, [one, *drawn.masks]) for one, drawn in zip(circuits, draws, strict=True)]
    everything = np.concatenate([np.zeros((1, len(universe)), bool), *own])
    values = circuit_scores(
        net, frame, everything, pairs, metrics, ablation=ablation, baseline=made, batch_size=batch_size
    ).mean(2)
    rows = []
    for m, metric in enumerate(metrics):
        for k, (n, circuit, drawn) in enumerate(zip(counts, circuits, draws, strict=True)):
            first = 2 + k * (1 + n_random)
            found = values[first : first + 1 + n_random, m]
            size = {
                "metric": metric, "kind": kind, "fraction": n / graph.n_edges, "n_edges": int(circuit.sum()),
                "n_nodes": _n_nodes(frame, universe, circuit),
            }  # fmt: skip
            rows.append(size | _row(found, values[0, m], values[1, m], lower_is_better(metric), level, drawn))
    about: dict[str, Any] = {
        "kind": kind,
        "n_random": n_random,
        "connected": connected,
        "select": select,
        "level": level,
    }
    about |= {"ablation": ablation, **made.about(), "seed": seed, "n_examples": int(pairs.n)}
    return NullBand(_table(rows), about)


def lift(universe: Masks, masks: Sequence[Masks]) -> Masks:
    """Masks over some edges of a frame as masks over all of them, bool [circuits, edges]."""
    out = np.zeros((len(masks), len(universe)), bool)
    out[:, universe] = masks
    return out


def _n_nodes(frame: CircuitMasks, universe: Masks, circuit: Masks) -> int:
    return int(frame.nodes(lift(universe, [circuit])[0]).sum())


def _row(
    values: Scores, model: float, empty: float, lower: bool, level: float, drawn: RandomCircuits
) -> dict[str, Any]:
    """One circuit (first of the values) against its random ones (the rest)."""
    row: dict[str, Any] = {
        "value": values[0], "model": model, "empty": empty, "null_value": values[1:].mean(),
        "n_random": len(values) - 1, "overlap": drawn.overlap, "between": drawn.between, "reason": "",
    }  # fmt: skip
    shares = normalised(values, model, empty)
    if shares is None:
        return row | {"reason": NOTHING}
    row |= {"faithfulness": shares[0], "null_mean": shares[1:].mean()}
    row["null_low"], row["null_high"] = np.quantile(shares[1:], [(1 - level) / 2, (1 + level) / 2])
    if not drawn.masks.any():
        return row | {"reason": "the circuit is empty"}
    if (drawn.masks == drawn.masks[0]).all() and drawn.overlap == 1:
        row["reason"] = "there is no other circuit of this kind to be had"
    return row | {"p": rank_p(values[0], values[1:], lower=lower)}


COLUMNS = (
    "metric", "kind", "fraction", "n_edges", "n_nodes", "value", "model", "empty", "faithfulness", "null_value",
    "null_mean", "null_low", "null_high", "p", "q", "n_random", "overlap", "between", "reason",
)  # fmt: skip


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    table = pd.DataFrame(rows, columns=list(COLUMNS))
    for metric in table["metric"].unique():
        own = table["metric"] == metric
        table.loc[own, "q"] = benjamini_hochberg(table.loc[own, "p"].to_numpy(np.float64))
    numbers = [name for name in COLUMNS if name not in ("metric", "kind", "reason", "n_edges", "n_nodes", "n_random")]
    return table.astype(dict.fromkeys(numbers, "float64"))
