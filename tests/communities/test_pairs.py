from __future__ import annotations

import numpy as np
import pytest

from compgraph.communities.pairs import allowed_pairs, is_layered, node_pairs
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition
from tests.communities.graphs import chain, layered, transformer


def test_channels_are_summed_with_and_without_signs() -> None:
    graph = ComputationalGraph(["a", "b", "c"], [0, 0, 1], [2, 2, 2], [0, 1, 0], [3.0, -1.0, -2.0], channels=("q", "k"))
    pairs = node_pairs(graph)
    assert pairs.source.tolist() == [0, 1]
    assert pairs.target.tolist() == [2, 2]
    assert pairs.weight.tolist() == [2.0, -2.0]
    assert pairs.magnitude.tolist() == [4.0, 2.0]
    assert pairs.edges.tolist() == [2, 1]
    assert np.array_equal(pairs.matrix(signed=True), graph.matrix())
    assert np.array_equal(pairs.matrix(), graph.matrix(signed=False))


def test_undirected_pairs_make_a_symmetric_matrix() -> None:
    graph = ComputationalGraph(["a", "b"], [1], [0], None, [-2.0], directed=False)
    assert node_pairs(graph).matrix(signed=True).tolist() == [[0, -2], [-2, 0]]


@pytest.mark.parametrize("parallel", [False, True])
def test_allowed_pairs_are_the_architectural_edges(parallel: bool) -> None:
    graph, _ = layered(transformer(parallel=parallel), seed=0)
    expected = np.zeros((graph.n_nodes, graph.n_nodes), bool)
    expected[graph.source, graph.target] = True
    assert np.array_equal(allowed_pairs(graph), expected)
    # Some pairs are allowed although the graph has lost their edges, and after pruning numbers have changed.
    pruned = graph.top(40).prune()
    index = [graph.node_names.index(name) for name in pruned.node_names]
    assert np.array_equal(allowed_pairs(pruned), expected[np.ix_(index, index)])


def test_without_an_architecture_every_pair_is_allowed() -> None:
    graph = ComputationalGraph(["a", "b"], [0], [1], None, [1.0])
    assert allowed_pairs(graph).tolist() == [[False, True], [True, False]]
    assert not is_layered(graph)


def test_a_forbidden_edge_is_named() -> None:
    architecture = chain()
    graph = ComputationalGraph(Partition.modules(architecture), [0], [2], None, [1.0], architecture=architecture)
    with pytest.raises(GraphError, match=r"input -> linear\.1 is not one that the sequential"):
        allowed_pairs(graph)
