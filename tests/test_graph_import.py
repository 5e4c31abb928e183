from __future__ import annotations

import igraph
import networkx as nx
import numpy as np
import pytest

from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from compgraph.graph_import import as_graph


def test_networkx_graphs_keep_nodes_weights_and_direction() -> None:
    given = nx.MultiDiGraph()
    given.add_nodes_from(["x", "a", 3])
    given.add_edges_from([("a", "x", {"weight": -2.0}), ("a", "x", {"weight": 0.5}), (3, 3), ("x", 3)])
    graph = as_graph(given)
    assert graph.node_names == ("x", "a", "3")
    assert graph.directed
    assert graph.matrix().tolist() == [[0, 0, 1], [-1.5, 0, 0], [0, 0, 0]]
    assert graph.attributes["converted"] == {"from": "networkx", "self_loops": 1, "parallel_edges": 1}


@pytest.mark.parametrize("directed", [False, True])
def test_igraph_networkx_and_matrices_agree(directed: bool) -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(6, 6)) * (rng.random((6, 6)) < 0.5)
    np.fill_diagonal(matrix, 0)
    matrix = matrix if directed else matrix + matrix.T
    kind = nx.DiGraph if directed else nx.Graph
    mode = "directed" if directed else "undirected"
    for given in (
        matrix,
        nx.from_numpy_array(matrix, create_using=kind),
        igraph.Graph.Weighted_Adjacency(matrix.tolist(), mode=mode),
    ):
        graph = as_graph(given)
        assert graph.directed is directed
        np.testing.assert_array_equal(graph.matrix(), matrix)


def test_a_computational_graph_is_handed_back() -> None:
    graph = ComputationalGraph(["a"], [], [], None, [])
    assert as_graph(graph) is graph


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("karate", "a str is no graph"),
        (np.zeros((2, 3)), "must be square"),
        (nx.Graph([("a", "b", {"weight": "much"})]), "not all numbers"),
        (nx.Graph([("a", "b", {"weight": float("nan")})]), "finite"),
        (nx.Graph([("1", 1)]), "1"),
    ],
)
def test_what_is_no_graph_is_refused(given: object, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        as_graph(given)
