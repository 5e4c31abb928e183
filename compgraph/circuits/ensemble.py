"""One score set from several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph

Joined = Literal["mean", "weighted", "rank", "min", "max"]
Scaling = Literal["none", "sum", "destination"]
JOINED = ("mean", "weighted", "rank", "min", "max")
SCALINGS = ("none", "sum", "destination")

Scores = npt.NDArray[np.float64]


def combine_scores(
    graphs: Sequence[ComputationalGraph],
    how: Joined = "mean",
    *,
    weights: Sequence[float] | None = None,
    scale: Scaling = "none",
) -> ComputationalGraph:
    """Join the scores of several methods, seeds or data sets edge by edge (Mondorf et al. 2025, arXiv 2510.06811).

    Parameters
    ----------
    graphs
        Of the same edges in the same order.
    how
        `mean`; `weighted` (mean with `weights`); `min` or `max` (of the signed scores); `rank`: the mean rank of
        |score| among all edges, divided by their number, equal scores sharing their mean rank. Ranks have no sign.
    weights
        One number a graph, not all 0, divided by their sum; for `weighted` alone.
    scale
        What each score set is divided by first, so that methods with other units can be joined: `none`; `sum`, the sum
        of |score| over all edges; `destination`, that sum over the edges into the same node and channel. (The authors
        divide by the *signed* sum of a destination, which can be arbitrarily near 0; this one cannot.)

    Returns
    -------
    ComputationalGraph
        The joint scores as weights; other columns are dropped.

    Raises
    ------
    GraphError
        No graphs, different edges, an unknown word, or weights that do not fit.
    """
    if how not in JOINED:
        raise GraphError(f"how {how!r} is not known; valid are {', '.join(JOINED)}")
    if scale not in SCALINGS:
        raise GraphError(f"scale {scale!r} is not known; valid are {', '.join(SCALINGS)}")
    first = check_same_edges(graphs)
    factors = _factors(len(graphs), how, weights)
    scores = np.stack([_scaled(graph, scale) for graph in graphs])
    members = [str(graph.attributes.get("method", "")) for graph in graphs]
    record: dict[str, Any] = {"how": how, "scale": scale, "methods": members}
    if how == "weighted":
        record["weights"] = factors.tolist()
    if how == "rank":
        scores = _ranks(np.abs(scores))
    joint = {"min": scores.min, "max": scores.max}[how](axis=0) if how in ("min", "max") else factors @ scores
    return with_scores(first, joint, {"method": f"ensemble-{how}", "ensemble": record})


def with_scores(
    graph: ComputationalGraph,
    scores: Scores,
    attributes: Mapping[str, Any],
    columns: Mapping[str, Scores] | None = None,
) -> ComputationalGraph:
    """The same edges with other weights, columns and attributes."""
    return ComputationalGraph(
        graph.node_columns,
        graph.source,
        graph.target,
        graph.channel,
        scores,
        channels=graph.channels,
        directed=graph.directed,
        kind=graph.kind,
        attributes=attributes,
        columns=columns,
        partition=graph.partition,
        architecture=graph.architecture,
    )


def check_same_edges(graphs: Sequence[ComputationalGraph]) -> ComputationalGraph:
    """The first of several graphs that have the same edges in the same order (else GraphError, naming one)."""
    if not graphs:
        raise GraphError("there are no graphs to join")
    first = graphs[0]
    for number, graph in enumerate(graphs[1:], 1):
        what = f"graph {number}"
        if graph.directed != first.directed or graph.n_edges != first.n_edges:
            raise GraphError(f"{what} has {graph.n_edges} edges, graph 0 has {first.n_edges}; they must be the same")
        if graph.node_names != first.node_names or graph.channels != first.channels:
            raise GraphError(f"{what} and graph 0 have different nodes or channels; they must be the same")
        differs = (graph.source != first.source) | (graph.target != first.target) | (graph.channel != first.channel)
        if differs.any():
            at = int(differs.argmax())
            ends = [f"{g.node_names[g.source[at]]} -> {g.node_names[g.target[at]]}" for g in (graph, first)]
            raise GraphError(f"edge {at} of {what} is {ends[0]}, of graph 0 it is {ends[1]}; they must be the same")
    return first


def _factors(n: int, how: str, weights: Sequence[float] | None) -> Scores:
    if (weights is not None) != (how == "weighted"):
        raise GraphError("weights belong to how='weighted', and to no other")
    if weights is None:
        return np.full(n, 1 / n)
    factors = np.asarray(weights, dtype=np.float64)
    if factors.shape != (n,) or not np.isfinite(factors).all() or not factors.sum() > 0 or (factors < 0).any():
        raise GraphError(f"weights {list(weights)} must be {n} numbers of at least 0, one a graph, not all 0")
    shares: Scores = factors / factors.sum()
    return shares


def _scaled(graph: ComputationalGraph, scale: str) -> Scores:
    scores = np.asarray(graph.weight, dtype=np.float64)
    if scale == "none":
        return scores
    if scale == "sum":
        total = np.abs(scores).sum(keepdims=True)
    else:
        place = graph.target.astype(np.int64) * len(graph.channels) + graph.channel
        total = np.bincount(place, np.abs(scores))[place]
    scaled: Scores = np.divide(scores, total, out=np.zeros_like(scores), where=total > 0)
    return scaled


def _ranks(sizes: Scores) -> Scores:
    """Ranks 1/E … 1 of each row, equal values sharing their mean."""
    from scipy.stats import rankdata

    ranks: Scores = np.stack([rankdata(row) for row in sizes]) / max(sizes.shape[1], 1)
    return ranks
