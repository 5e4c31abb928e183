"""The random layered graph with given degrees of Karrer and Newman (2009)."""

from __future__ import annotations

import numpy as np

from compgraph.communities.pairs import Integers
from compgraph.statistics.nulls.sampling import Sampler, edge_weights, weights_by_source
from compgraph.statistics.view import LAYERED, UndefinedError, View


def stubs(view: View, seed: int = 0) -> Sampler:
    """Cut every edge in two and join the halves anew: site by site, ends draw from the open starts they may read.

    Keeps every node's number of edges in and out and, as each start brings its weight, out-strengths and the set of
    weights. Two edges may fall on one pair (the denser the graph, the more); their weights are added up.

    Raises
    ------
    UndefinedError
        If the graph has no architecture, or one in which sites read partly the same others, so that an early site
        could take what a later one needs.
    """
    if view.kind != LAYERED:
        raise UndefinedError(f"a {view.kind} graph has no levels to draw by; use swap")
    order = _order(view)
    starts = np.sort(view.source)
    groups = view.allowed.group
    ends = [np.sort(view.target[groups[view.target] == group]) for group in order]
    signed = edge_weights(view)

    def sample(rng: np.random.Generator) -> View:
        still_open = np.ones(len(starts), dtype=bool)
        target = np.empty(len(starts), dtype=np.int64)
        for group, wanted in zip(order, ends, strict=True):
            readable = np.flatnonzero(still_open & view.allowed.reads[groups[starts], group])
            drawn = rng.choice(readable, size=len(wanted), replace=False)
            target[drawn] = wanted
            still_open[drawn] = False
        return view.with_edges(starts, target, weights_by_source(view.source, signed, rng))

    return sample


def _order(view: View) -> Integers:
    """Groups that have incoming edges, those that read few others first."""
    reads = view.allowed.reads
    groups = np.unique(view.allowed.group[view.target])
    groups = groups[np.argsort(reads[:, groups].sum(axis=0), kind="stable")]
    for later in range(1, len(groups)):
        for early in range(later):
            first, second = reads[:, groups[early]], reads[:, groups[later]]
            if (first & second).any() and (first & ~second).any():
                raise UndefinedError("sites read partly the same others, so stubs cannot be drawn by level; use swap")
    return groups
