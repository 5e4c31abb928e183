from __future__ import annotations

import numpy as np
import pytest

from compgraph.communities.factored import factored, signed_factored
from compgraph.communities.modularity import allowed_matrix, directed_matrix, modularity_matrix, quality, signed_matrix
from compgraph.communities.pairs import allowed_pairs, node_pairs
from compgraph.graph import ComputationalGraph
from tests.communities.graphs import layered, positive, transformer, undirected


def matrix_of(graph: ComputationalGraph, layers: bool) -> np.ndarray:
    weights = node_pairs(graph).matrix()
    if not graph.directed:
        return modularity_matrix(weights, 1.3)
    return allowed_matrix(weights, allowed_pairs(graph), 1.3) if layers else directed_matrix(weights, 1.3)


@pytest.mark.parametrize(
    ("graph", "layers"),
    [
        (layered(transformer(), seed=0, unequal=0.5)[0], True),
        (layered(transformer(parallel=True), seed=1)[0], True),
        (layered(transformer(), seed=2)[0].top(40), True),
        (layered(transformer(), seed=3)[0], False),
        (positive(20, 2, 3.0, seed=0), True),
    ],
)
def test_it_is_the_matrix_that_is_never_made(graph: ComputationalGraph, layers: bool) -> None:
    made, matrix = factored(graph, 1.3, layers), matrix_of(graph, layers)
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 3, size=graph.n_nodes)
    assert made.quality(labels) == pytest.approx(quality(matrix, labels), abs=1e-10)
    np.testing.assert_allclose(made.excess(np.eye(graph.n_nodes)), matrix + matrix.T, atol=1e-10)


def test_signed_modularity_without_a_matrix() -> None:
    graph = undirected(24, 3, 0.5, seed=0)
    pairs = node_pairs(graph)
    made = signed_factored(pairs.source, pairs.target, pairs.weight, 24, 1.3)
    matrix = signed_matrix(pairs.matrix(signed=True), 1.3)
    labels = np.random.default_rng(0).integers(-1, 3, size=24)
    assert made.quality(labels) == pytest.approx(quality(matrix, labels), abs=1e-12)
    np.testing.assert_allclose(made.excess(np.eye(24)), 2 * matrix, atol=1e-12)
