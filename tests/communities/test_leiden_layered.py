from __future__ import annotations

import numpy as np
import pytest

from compgraph.communities import adjusted_rand, leiden_layered, louvain
from compgraph.communities.modularity import allowed_modularity
from compgraph.communities.pairs import allowed_pairs, node_pairs
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition
from tests.communities.graphs import layered, positive, transformer


def span_decay(seed: int, ratio: float) -> tuple[ComputationalGraph, np.ndarray]:
    """Weights that fall with the number of levels between, and groups inside which they are larger."""
    architecture = transformer(n_layers=5, n_heads=6)
    graph = ComputationalGraph.from_architecture(architecture, Partition.heads(architecture), split_qkv=False)
    rng = np.random.default_rng(seed)
    level = graph.node_columns["level"]
    labels = rng.integers(3, size=graph.n_nodes)
    weight = rng.exponential(size=graph.n_edges) * np.exp(-0.5 * (level[graph.target] - level[graph.source]))
    weight *= np.where(labels[graph.source] == labels[graph.target], ratio, 1.0)
    made = ComputationalGraph.from_architecture(architecture, Partition.heads(architecture), weight, split_qkv=False)
    return made, labels


def test_planted_communities_are_recovered_in_spite_of_depth() -> None:
    graph, labels = span_decay(0, ratio=6.0)
    found = leiden_layered.find(graph)
    assert adjusted_rand(found.labels, labels) > 0.9
    weights = node_pairs(graph).matrix()
    expected = allowed_modularity(weights, allowed_pairs(graph), found.labels)
    assert found.quality == pytest.approx(expected, abs=1e-12)


def test_depth_is_no_community() -> None:
    graph, _ = span_decay(1, ratio=1.0)
    level = graph.node_columns["level"]
    ordinary, allowed = louvain.find(graph), leiden_layered.find(graph)
    slabs = np.searchsorted(np.quantile(level, [1 / 3, 2 / 3]), level)
    assert adjusted_rand(ordinary.labels, slabs) > 0.3
    assert adjusted_rand(allowed.labels, slabs) < 0.15


def test_a_complete_graph_is_one_community() -> None:
    graph, _ = layered(transformer(), seed=0)
    complete = ComputationalGraph.from_architecture(graph.architecture, graph.partition, split_qkv=False)
    found = leiden_layered.find(complete)
    assert found.n == 1
    assert found.quality == pytest.approx(0, abs=1e-9)


def test_the_same_seed_gives_the_same_labels() -> None:
    graph, _ = layered(transformer(), seed=2)
    first, again = leiden_layered.find(graph, seed=7), leiden_layered.find(graph, seed=7)
    assert np.array_equal(first.labels, again.labels)
    assert first.summary() == again.summary()


def test_undirected_graphs_are_refused() -> None:
    with pytest.raises(GraphError, match="undirected; use louvain"):
        leiden_layered.find(positive(5, 1, 1.0, seed=0))


def test_a_directed_graph_without_architecture_is_served() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 10)
    weights = rng.exponential(size=(20, 20)) * np.where(labels[:, None] == labels, 5.0, 1.0)
    found = leiden_layered.find(ComputationalGraph.from_matrix(weights, directed=True))
    assert adjusted_rand(found.labels, labels) == 1
