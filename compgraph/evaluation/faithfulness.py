"""Faithfulness of circuits of growing size, in one call: plan, run, measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from compgraph.ablation.baselines import Baseline, make_baseline
from compgraph.evaluation.curve import FaithfulnessCurve, curve_of
from compgraph.evaluation.planning import FRACTIONS, plan_circuits
from compgraph.evaluation.scores import circuit_scores
from compgraph.graph import ComputationalGraph
from compgraph.models.network import Network


def faithfulness(
    net: Network,
    graph: ComputationalGraph,
    pairs: Any,
    sizes: Sequence[float | int] = FRACTIONS,
    *,
    ablation: str = "edge",
    baseline: str | Baseline = "counterfactual",
    reference: Any = None,
    metrics: Sequence[str] = ("logit_difference",),
    selection: str = "top",
    options: Mapping[str, Any] | None = None,
    prune: bool = False,
    complement: bool = False,
    n_random: int = 0,
    random: str = "size",
    by_task: bool = False,
    n_bootstrap: int = 1000,
    seed: int = 0,
    batch_size: int | None = None,
    norm_scale: str = "exact",
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
    reference
        Other data from which the baseline takes means, covariances or samples; None: from `pairs`.
    metrics
        Names; see `compgraph.metrics`.
    selection, options
        How circuits are chosen; see `compgraph.select_circuit`. `top` keeps the largest |weight|, with the option
        `by` `signed` or `negative` the largest or smallest weights.
    prune
        Drop what is on no path from input to logits before running; `n_edges` counts what is left.
    complement
        Also run each circuit's complement, for completeness.
    n_random, random
        Random circuits per size and their kind (`compgraph.evaluation.random_circuits`), for the null band and p.
    norm_scale
        As for `compgraph.run_graph`; said in the curve's attributes.
    by_task
        Rows for every task of the data beside `all`.
    n_bootstrap, seed
        Resamples of the examples behind `low` and `high`; the seed is that of random circuits and baselines too.

    Raises
    ------
    GraphError, DataError
        Sizes out of range, a graph that is no circuit of this network, a metric or baseline the data cannot
        serve.
    """
    chosen: dict[str, Any] = {"selection": selection, "options": options, "prune": prune, "ablation": ablation}
    chosen |= {"complement": complement, "n_random": n_random, "random": random, "seed": seed}
    plan = plan_circuits(net, graph, sizes, **chosen)
    nodes = plan.frame.partition
    made = make_baseline(baseline, net, pairs, reference=reference, seed=seed, partition=nodes)
    settings: dict[str, Any] = {"ablation": ablation, "baseline": made, "batch_size": batch_size, "seed": seed}
    settings["norm_scale"] = norm_scale
    values = circuit_scores(net, plan.frame, plan.masks, pairs, metrics, **settings)
    about = {"ablation": ablation, "norm_scale": norm_scale, **made.about(), **plan.about}
    task = np.asarray(pairs.task)
    return curve_of(plan.table, values, metrics, task, about, by_task=by_task, n_bootstrap=n_bootstrap, seed=seed)
