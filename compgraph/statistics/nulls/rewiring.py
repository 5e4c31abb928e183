"""Nulls that exchange the ends of edges (`compgraph.nulls.swaps`)."""

from __future__ import annotations

import numpy as np

from compgraph.nulls.effects import NodeEffects
from compgraph.nulls.swaps import Wiring, wiring
from compgraph.statistics.nulls.sampling import Sampler, edge_weights, weights_by_source
from compgraph.statistics.view import LAYERED, UNDIRECTED, UndefinedError, View


def swap(view: View, seed: int = 0) -> Sampler:
    """Exchange the ends of edges, on pairs that the architecture allows.

    Keeps every node's number of edges in and out (undirected: its degree) and the set of weights; in a directed
    graph each node's weights are permuted over its outgoing edges, so out-strengths stay; in an undirected one all
    weights are permuted.

    Raises
    ------
    UndefinedError
        If every allowed pair has an edge: there is one graph with these degrees.
    """
    return _sampler(view, _wiring(view, seed))


def level_pair_swap(view: View, seed: int = 0) -> Sampler:
    """As `swap`, for edges whose sources or whose targets are of one site only.

    Keeps, besides, the number of edges between each two sites, and so what depth does. For layered graphs.
    """
    if view.kind != LAYERED:
        raise UndefinedError(f"a {view.kind} graph has no levels to keep; use swap")
    return _sampler(view, _wiring(view, seed, by_group=True))


def swap_effects(view: View, seed: int = 0) -> Sampler:
    """Exchange the ends of edges as `swap` does, and draw weights from effects of the new ends.

    log |w| = mean + effect of the source + effect of the target + residual (`compgraph.nulls.effects`), effects
    drawn as unsure as they are, residuals permuted, signs with them. Keeps degrees, and strengths as far as they are
    more than chance. The null of the communities stage.
    """
    draw = _wiring(view, seed)
    undirected = view.kind == UNDIRECTED
    offset = 0 if undirected else view.n_nodes
    effects = NodeEffects.fit(view.source, view.target, np.log(view.magnitude), view.n_nodes, not undirected)
    signs = view.signs

    def sample(rng: np.random.Generator) -> View:
        source, target = draw(rng)
        order = rng.permutation(view.n_edges)
        sizes = np.exp(effects.values(source, target + offset, order, rng))
        return view.with_edges(source, target, signs[order] * sizes)

    return sample


def _wiring(view: View, seed: int, by_group: bool = False) -> Wiring:
    if view.n_edges == view.n_allowed:
        raise UndefinedError("every pair that could have an edge has one, so exchanging ends changes nothing")
    return wiring(view.allowed, view.source, view.target, view.kind != UNDIRECTED, seed, by_group)


def _sampler(view: View, draw: Wiring) -> Sampler:
    signed = edge_weights(view)

    def sample(rng: np.random.Generator) -> View:
        source, target = draw(rng)
        if view.kind == UNDIRECTED:
            return view.with_edges(source, target, rng.permutation(signed))
        order = np.argsort(source, kind="stable")
        return view.with_edges(source[order], target[order], weights_by_source(view.source, signed, rng))

    return sample
