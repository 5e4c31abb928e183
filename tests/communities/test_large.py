from __future__ import annotations

import numpy as np
import pytest

from compgraph.communities import adjusted_rand
from compgraph.communities.factored import factored
from compgraph.communities.large import leading, moved, search_large
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition
from tests.communities.graphs import transformer


def planted(ratio: float, keep: float = 0.2) -> tuple[ComputationalGraph, np.ndarray]:
    architecture = transformer(n_layers=20, n_heads=40)
    part = Partition.heads(architecture)
    graph = ComputationalGraph.from_architecture(architecture, part, split_qkv=False)
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=graph.n_nodes)
    inside = labels[graph.source] == labels[graph.target]
    return graph.subgraph(rng.random(graph.n_edges) < keep * np.where(inside, 1, 1 / ratio)), labels


@pytest.fixture(scope="module")
def found() -> tuple[ComputationalGraph, np.ndarray]:
    return planted(5.0)


def test_planted_groups_are_found_and_the_search_beats_them(found: tuple[ComputationalGraph, np.ndarray]) -> None:
    graph, labels = found
    modularity = factored(graph)
    result = search_large(modularity, seed=0)
    assert adjusted_rand(result, labels) > 0.95
    assert modularity.quality(result) >= modularity.quality(labels)
    assert np.array_equal(result, search_large(modularity, seed=0))


def test_moves_mend_a_partition_and_never_spoil_one(found: tuple[ComputationalGraph, np.ndarray]) -> None:
    graph, labels = found
    modularity = factored(graph)
    spoiled = np.where(np.random.default_rng(1).random(len(labels)) < 0.3, 0, labels).astype(np.int32)
    assert adjusted_rand(moved(modularity, spoiled, 0), labels) > 0.95 > adjusted_rand(spoiled, labels)


def test_no_eigenvalue_of_a_random_graph_is_above_noise() -> None:
    values, _, noise = leading(factored(planted(1.0)[0]), 8, 0)
    assert values[0] < 1.01 * noise
    assert search_large(factored(planted(1.0)[0]), 0).max() >= 0
