"""Graphs that only chance has arranged, for the question whether communities are more than that.

A sampler makes one null graph from a random generator; it has the nodes, direction and architecture of the
given graph, and one edge a pair of nodes. Nothing of nodes by nodes is made of a graph that is not dense.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compgraph.communities.pairs import Floats, Integers, node_pairs
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from compgraph.nulls.allowed import Allowed
from compgraph.nulls.effects import NodeEffects
from compgraph.nulls.swaps import wiring

Sampler = Callable[[np.random.Generator], ComputationalGraph]


def sampler(graph: ComputationalGraph, null: str, seed: int = 0) -> Sampler:
    """Sampler of a null model by name: `strength` or `pairs`; the seed is that of what all samples share."""
    if null not in NULLS:
        raise GraphError(f"communities: null {null!r} is not known; valid are {', '.join(NULLS)}")
    return NULLS[null](graph, seed)


def strength(graph: ComputationalGraph, seed: int = 0) -> Sampler:
    """Keep degrees exactly, strengths as far as they are more than chance, and which pairs could have an edge.

    Edges are rewired (`compgraph.nulls.swaps`). On the new ones log |w| = mean + effect of u + effect of v + residual,
    with effects drawn as unsure as the graph leaves them (`compgraph.nulls.effects`) and its residuals permuted, signs
    with them. Best guesses of the effects, or scaling to the strengths found, noise included, would make null graphs
    that are more even than chance, also where every pair has an edge.
    """
    pairs = node_pairs(graph)
    keep = pairs.magnitude > 0
    source, target, size = pairs.source[keep], pairs.target[keep], pairs.magnitude[keep]
    sign = np.where(pairs.weight[keep] < 0, -1.0, 1.0)
    offset = graph.n_nodes if graph.directed else 0
    effects = NodeEffects.fit(source, target, np.log(size), graph.n_nodes, graph.directed)
    allowed = Allowed.of(graph)
    draw = wiring(allowed, source, target, graph.directed, seed)

    def sample(rng: np.random.Generator) -> ComputationalGraph:
        u, v = draw(rng)
        order = rng.permutation(len(u))
        size = np.exp(effects.values(u, v + offset, order, rng))
        return _graph(graph, u, v, sign[order] * size)

    return sample


def pairs(graph: ComputationalGraph, seed: int = 0) -> Sampler:
    """Keep the weights and how many edges there are, and put them on allowed pairs at random.

    Strengths are not kept: for core and periphery, which are differences in strength first of all.
    """
    found = node_pairs(graph)
    keep = found.magnitude > 0
    value = np.where(found.weight[keep] < 0, -1.0, 1.0) * found.magnitude[keep]
    allowed = Allowed.of(graph)

    def sample(rng: np.random.Generator) -> ComputationalGraph:
        u, v = allowed.drawn(len(value), graph.directed, rng)
        return _graph(graph, u, v, value)

    return sample


NULLS: dict[str, Callable[[ComputationalGraph, int], Sampler]] = {"strength": strength, "pairs": pairs}
"""Null models by name."""


def _graph(like: ComputationalGraph, source: Integers, target: Integers, weight: Floats) -> ComputationalGraph:
    """A null graph on the nodes of the given one."""
    nodes = {name: like.node_columns[name] for name in ("name", "site", "label", "size", "level")}
    return ComputationalGraph(
        nodes, source, target, None, weight, directed=like.directed, kind=like.kind, architecture=like.architecture
    )
