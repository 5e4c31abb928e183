"""Graphs that tests of measures and nulls share."""

from __future__ import annotations

import numpy as np

from compgraph.architecture import Architecture
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition
from compgraph.statistics.view import View, view
from tests.communities.graphs import layered, transformer, undirected


def sparse() -> ComputationalGraph:
    """Undirected weighted graph with a third of the pairs."""
    rng = np.random.default_rng(0)
    weights = np.triu(rng.exponential(size=(18, 18)) * (rng.random((18, 18)) < 0.35), 1)
    return ComputationalGraph.from_matrix(weights + weights.T, drop_zeros=True)


def scores() -> View:
    """A complete layered graph of unequal scores with both signs."""
    return view(layered(transformer(), seed=1, unequal=1.0)[0])


def whole(architecture: Architecture, weight: np.ndarray | None = None) -> View:
    """All allowed edges between units."""
    return view(ComputationalGraph.from_architecture(architecture, Partition.units(architecture), weight))


def thinned(share: float, seed: int = 0, parallel: bool = False) -> View:
    """A layered graph with a share of the allowed pairs, drawn at random."""
    graph, _ = layered(transformer(parallel=parallel), seed=seed, unequal=0.5, split_qkv=False)
    return view(graph.subgraph(np.random.default_rng(seed).random(graph.n_edges) < share))


def cyclic(seed: int = 1) -> ComputationalGraph:
    """Directed, with cycles, signed, without an architecture."""
    rng = np.random.default_rng(seed)
    edges = rng.normal(size=(15, 15)) * (rng.random((15, 15)) < 0.3)
    return ComputationalGraph.from_matrix(edges, directed=True, drop_zeros=True)


def correlations() -> View:
    """A complete undirected graph with both signs."""
    return view(undirected(20, 2, 0.5, seed=1))
