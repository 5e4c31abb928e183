"""A core of nodes tied to each other and to all others, and a periphery that is tied to the core alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from compgraph.communities.agreement import Labels
from compgraph.communities.judge import size_notes
from compgraph.communities.pairs import Floats, Integers, Mask, node_pairs
from compgraph.communities.result import Communities
from compgraph.graph import ComputationalGraph
from compgraph.nulls.allowed import Allowed

NULL = "pairs"
"""A core is a difference in strength first of all, so a null that keeps strengths keeps most of it."""


STRENGTHS = "against the null pairs a core counts that unequal strengths alone make; the null strength asks for more"


def find(graph: ComputationalGraph, *, seed: int = 0, rule: str = "borgatti-everett") -> Communities:
    """Core and periphery.

    Parameters
    ----------
    graph
        Any graph; |w|, summed over channels.
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
    pairs = _Pairs.of(graph)
    idle = pairs.strength == 0
    core, quality = np.ones(graph.n_nodes, bool), math.nan
    if not idle.all() and pairs.differ:
        core = _rich_core(pairs) if rule == "rich-core" else _best_core(pairs)
        quality = pairs.correlation(core)
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


@dataclass(frozen=True)
class _Pairs:
    """Weights of a graph's pairs and which pairs could have one, without a matrix over all pairs.

    Attributes
    ----------
    both
        W + W^T, scipy.sparse.csr_array [n, n]; W of an undirected graph has each pair in both directions.
    allowed
        Pairs that could have weight.
    total, square
        Sums of the weights and of their squares over ordered pairs.
    differ
        Whether the allowed pairs have different weights.
    """

    both: Any
    allowed: Allowed
    total: float
    square: float
    differ: bool

    @classmethod
    def of(cls, graph: ComputationalGraph) -> _Pairs:
        from scipy.sparse import csr_array

        pairs, allowed = node_pairs(graph), Allowed.of(graph)
        directions = 1 if graph.directed else 2
        one_way = csr_array((pairs.magnitude, (pairs.source, pairs.target)), shape=(graph.n_nodes,) * 2)
        size = pairs.magnitude
        every = directions * len(size) == allowed.count
        least, most = (float(size.min(initial=np.inf)) if every else 0.0), float(size.max(initial=0.0))
        return cls(
            both=(directions * (one_way + one_way.T)).tocsr(),
            allowed=allowed,
            total=directions * float(size.sum()),
            square=directions * float((size**2).sum()),
            differ=most - least > 1e-12 * most,
        )

    @property
    def strength(self) -> Floats:
        """Weight of each node, both directions together, float64 [n]."""
        return np.asarray(self.both.sum(axis=1), dtype=np.float64).ravel()

    def room(self, members: Mask) -> Floats:
        """Ordered allowed pairs of each node with the members, float64 [n]."""
        group, reads = self.allowed.group, self.allowed.reads
        counts = np.bincount(group[members], minlength=len(reads)).astype(np.float64)
        own = 2.0 * np.diag(reads)[group] * members
        found: Floats = ((reads.astype(np.float64) + reads.T) @ counts)[group] - own
        return found

    def correlation(self, core: Mask) -> float:
        """Pearson correlation, over allowed pairs, of weights with the pattern of a core; NaN if one is constant."""
        outside = (~core).astype(np.float64)
        hit = self.total - float(outside @ (self.both @ outside)) / 2
        return float(self.correlations(np.array(hit), np.array(self.allowed.count - self.allowed.among(~core))))

    def correlations(self, hit: Floats, size: Floats) -> Floats:
        """Correlations for patterns of `size` ordered pairs that hold the weight `hit`."""
        n = self.allowed.count
        mean, square = self.total / n, self.square / n
        share = np.asarray(size, np.float64) / n
        spread = np.sqrt(np.maximum(square - mean**2, 0) * share * (1 - share))
        covariance = np.asarray(hit, np.float64) / n - mean * share
        result: Floats = np.divide(covariance, spread, out=np.full_like(covariance, np.nan), where=spread > 0)
        return result


def _best_core(pairs: _Pairs) -> Mask:
    """Core of largest correlation: the best of the strongest nodes, then single nodes change sides."""
    core = _best_by_strength(pairs)
    best = pairs.correlation(core)
    pull = pairs.both @ (~core).astype(np.float64)
    hit = pairs.total - float(pull[~core].sum()) / 2
    while True:
        size = float(pairs.allowed.count - pairs.allowed.among(~core))
        side = np.where(core, -1.0, 1.0)
        found = pairs.correlations(hit + side * pull, size + side * pairs.room(~core))
        at = int(np.argmax(np.where(np.isnan(found), -np.inf, found)))
        if not found[at] > best + 1e-12:
            return core
        best = float(found[at])
        hit += side[at] * pull[at]
        row = slice(pairs.both.indptr[at], pairs.both.indptr[at + 1])
        pull[pairs.both.indices[row]] -= side[at] * pairs.both.data[row]
        core[at] = not core[at]


def _best_by_strength(pairs: _Pairs) -> Mask:
    """The best core among the k strongest nodes, any k."""
    order = np.argsort(-pairs.strength, kind="stable")
    # What a node brings into the pattern: its pairs with nodes that are not in the core yet.
    hit, size = np.cumsum(_later(pairs, order)), np.cumsum(_later_room(pairs.allowed, order))
    found = pairs.correlations(hit, size)
    core = np.zeros(len(order), dtype=bool)
    core[order[: int(np.argmax(np.where(np.isnan(found), -np.inf, found))) + 1]] = True
    return core


def _later(pairs: _Pairs, order: Integers, lower: bool = False) -> Floats:
    """Weight of the pairs of each node, in order, with later ones (`lower`: with earlier ones), float64 [n]."""
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    edges = pairs.both.tocoo()
    u, v = rank[edges.row], rank[edges.col]
    keep = u > v if lower else u < v
    return np.bincount(u[keep], edges.data[keep], minlength=len(order)).astype(np.float64)


def _later_room(allowed: Allowed, order: Integers) -> Floats:
    """Ordered allowed pairs of each node, in order, with later ones, float64 [n]."""
    group = allowed.group[order]
    reach = allowed.reads.astype(np.float64) + allowed.reads.T
    room = np.zeros(len(order))
    for other in range(len(reach)):
        here = group == other
        later = here.sum() - np.cumsum(here)
        room += reach[group, other] * later
    return room


def _rich_core(pairs: _Pairs) -> Mask:
    """Nodes up to the rank whose strength to higher ranks is largest."""
    order = np.argsort(-pairs.strength, kind="stable")
    core = np.zeros(len(order), dtype=bool)
    core[order[: int(np.argmax(_later(pairs, order, lower=True))) + 1]] = True
    return core
