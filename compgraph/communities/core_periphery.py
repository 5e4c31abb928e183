"""A core of nodes tied to each other and to all others, and a periphery that is tied to the core alone."""

from __future__ import annotations

import math

import numpy as np

from compgraph.communities.agreement import Labels
from compgraph.communities.judge import DENSE, size_notes
from compgraph.communities.pairs import Floats, Mask, allowed_pairs, node_pairs
from compgraph.communities.result import Communities
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph

NULL = "pairs"
"""A core is a difference in strength first of all, so a null that keeps strengths keeps most of it."""


STRENGTHS = "against the null pairs a core counts that unequal strengths alone make; the null strength asks for more"


def find(graph: ComputationalGraph, *, seed: int = 0, rule: str = "borgatti-everett") -> Communities:
    """Core and periphery.

    Parameters
    ----------
    graph
        At most 3,000 nodes; |w|, summed over channels.
    seed
        Nothing is drawn; taken for the common signature of methods.
    rule
        `borgatti-everett` (2000): the core that maximises the correlation, over allowed pairs, between |w| and a
        pattern that is 1 where an end is in the core and 0 between peripheral nodes; from the best core of
        strongest nodes, nodes change sides while that raises it. `rich-core` (Ma & Mondragon 2015): nodes ranked
        by strength, the core ends where strength to higher ranks is largest.

    Returns
    -------
    Communities
        Community 0 is the core, 1 the periphery. `quality` is Borgatti and Everett's correlation under both rules;
        NaN, with a note, where all allowed pairs weigh the same or no pair has weight.
    """
    if rule not in ("borgatti-everett", "rich-core"):
        raise ValueError(f"rule must be borgatti-everett or rich-core, not {rule!r}")
    if graph.n_nodes > DENSE:
        raise GraphError(f"core-periphery is for at most {DENSE} nodes, not {graph.n_nodes}")
    weights, allowed = node_pairs(graph).matrix(), allowed_pairs(graph)
    idle = ~(weights.any(axis=0) | weights.any(axis=1))
    core, quality = np.ones(graph.n_nodes, bool), math.nan
    if not idle.all() and np.ptp(weights[allowed]) > 1e-12 * weights.max():
        core = _rich_core(weights) if rule == "rich-core" else _best_core(weights, allowed)
        quality = correlation(weights, allowed, core)
    if not math.isnan(quality):
        notes: tuple[str, ...] = ("community 0 is the core", STRENGTHS)
    else:
        core = np.ones(graph.n_nodes, bool)
        notes = ("no core stands out: all pairs that could have weight have the same, or every pattern is constant",)
    labels: Labels = np.where(idle, -1, np.where(core, 0, 1)).astype(np.int32)
    return Communities(
        labels=labels,
        quality=quality,
        method="core-periphery",
        parameters={"rule": rule},
        agreement=math.nan,
        runs=((len(np.unique(labels[labels >= 0])), quality),),
        names=graph.node_names,
        sites=tuple(graph.node_columns["site"]),
        notes=notes + size_notes(graph),
        partitions=(labels,),
    )


def correlation(weights: Floats, allowed: Mask, core: Mask) -> float:
    """Pearson correlation, over allowed pairs, of weights with the pattern of a core; NaN if one is constant."""
    inside = core[:, None] | core[None, :]
    return float(_correlation(weights, allowed, (weights * inside).sum(), (allowed & inside).sum()))


def _correlation(weights: Floats, allowed: Mask, hit: Floats, size: Floats) -> Floats:
    """Correlations for patterns of `size` pairs that hold the weight `hit`."""
    n = int(allowed.sum())
    mean, square = float(weights.sum()) / n, float((weights**2).sum()) / n
    share = np.asarray(size, np.float64) / n
    spread = np.sqrt(np.maximum(square - mean**2, 0) * share * (1 - share))
    covariance = np.asarray(hit, np.float64) / n - mean * share
    result: Floats = np.divide(covariance, spread, out=np.full_like(covariance, np.nan), where=spread > 0)
    return result


def _best_core(weights: Floats, allowed: Mask) -> Mask:
    """Core of largest correlation: the best of the strongest nodes, then single nodes change sides."""
    both, room = weights + weights.T, allowed.astype(np.float64) + allowed.T
    core = _best_by_strength(weights, allowed, both, room)
    best = correlation(weights, allowed, core)
    while True:
        outside = (~core).astype(np.float64)
        hit = weights.sum() - float(outside @ weights @ outside)
        size = float(allowed.sum()) - float(outside @ allowed @ outside)
        side = np.where(core, -1.0, 1.0)
        found = _correlation(weights, allowed, hit + side * (both @ outside), size + side * (room @ outside))
        at = int(np.argmax(np.where(np.isnan(found), -np.inf, found)))
        if not found[at] > best + 1e-12:
            return core
        best = float(found[at])
        core[at] = not core[at]


def _best_by_strength(weights: Floats, allowed: Mask, both: Floats, room: Floats) -> Mask:
    """The best core among the k strongest nodes, any k."""
    order = np.argsort(-both.sum(axis=1), kind="stable")
    ranked, space = both[np.ix_(order, order)], room[np.ix_(order, order)]
    # What a node brings into the pattern: its pairs with nodes that are not in the core yet.
    hit, size = (np.cumsum(np.triu(matrix, 1).sum(axis=1)) for matrix in (ranked, space))
    found = _correlation(weights, allowed, hit, size)
    core = np.zeros(len(weights), dtype=bool)
    core[order[: int(np.argmax(np.where(np.isnan(found), -np.inf, found))) + 1]] = True
    return core


def _rich_core(weights: Floats) -> Mask:
    """Nodes up to the rank whose strength to higher ranks is largest."""
    both = weights + weights.T
    order = np.argsort(-both.sum(axis=1), kind="stable")
    upwards = np.tril(both[np.ix_(order, order)], -1).sum(axis=1)
    core = np.zeros(len(weights), dtype=bool)
    core[order[: int(np.argmax(upwards)) + 1]] = True
    return core
