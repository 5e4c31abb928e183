"""Graphs in the forms of other libraries: the same nodes, edges and attributes."""

from __future__ import annotations

import sys

import networkx as nx
import numpy as np
import pytest

from compgraph.architecture import transformer_architecture
from compgraph.errors import MissingDependency
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition

TINY = transformer_architecture("gpt2", n_layers=2, n_heads=2, d_head=2, d_model=4, d_mlp=3, vocabulary=5)


@pytest.fixture
def split() -> ComputationalGraph:
    part = Partition.heads(TINY)
    weight = np.random.default_rng(0).normal(size=46)
    return ComputationalGraph.from_architecture(TINY, part, weight, columns={"z": 2 * weight})


@pytest.fixture
def joined() -> ComputationalGraph:
    part = Partition.heads(TINY)
    return ComputationalGraph.from_architecture(TINY, part, np.arange(1.0, 27), split_qkv=False)


@pytest.fixture
def undirected() -> ComputationalGraph:
    matrix = np.arange(16.0).reshape(4, 4)
    return ComputationalGraph.from_matrix(matrix + matrix.T, names=list("abcd"))


def test_networkx_types(split, joined, undirected) -> None:
    assert type(split.to_networkx()) is nx.MultiDiGraph
    assert type(joined.to_networkx()) is nx.DiGraph
    assert type(undirected.to_networkx()) is nx.Graph


def test_networkx_content(split) -> None:
    made = split.to_networkx()
    assert list(made) == list(split.node_names)
    assert made.nodes["mlp.1"] == {"site": "mlp.1", "label": 0, "size": 3, "level": 4}
    for row in split.edges.itertuples():
        edge = made.edges[row.source, row.target, row.channel]
        assert edge == {"weight": row.weight, "z": row.z, "channel": row.channel}
    assert made.number_of_edges() == split.n_edges


def test_networkx_matrix(joined, undirected) -> None:
    for graph in (joined, undirected):
        matrix = nx.to_numpy_array(graph.to_networkx(), nodelist=graph.node_names)
        assert np.array_equal(matrix, graph.matrix())


def test_igraph(split, undirected) -> None:
    made = split.to_igraph()
    assert made.is_directed() and made.vs["name"] == list(split.node_names)
    assert made.es["channel"] == split.edges["channel"].tolist()
    assert np.array_equal(made.es["weight"], split.weight) and np.array_equal(
        made.es["z"], split.columns["z"]
    )
    assert [edge.tuple for edge in made.es] == list(zip(split.source, split.target, strict=True))
    plain = undirected.to_igraph()
    assert not plain.is_directed()
    assert np.array_equal(plain.get_adjacency(), (undirected.matrix() != 0) * 1)
    assert split.top(0).to_igraph().ecount() == 0


def test_graph_tool(split, undirected) -> None:
    pytest.importorskip("graph_tool", reason="graph-tool is not installed")
    made = split.to_graph_tool()
    assert made.is_directed()
    assert list(made.vp["name"]) == list(split.node_names)
    assert made.vp["size"].a.tolist() == split.nodes["size"].tolist()
    edges = made.get_edges([made.ep["weight"], made.ep["z"], made.ep["channel"]])
    wanted = np.stack([split.source, split.target, split.weight, split.columns["z"], split.channel], axis=1)
    assert np.array_equal(edges[np.lexsort(edges.T)], wanted[np.lexsort(wanted.T)])
    assert list(made.gp["channels"]) == ["", "q", "k", "v"]
    assert not undirected.to_graph_tool().is_directed()


def test_graph_tool_missing(split, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "graph_tool", None)
    with pytest.raises(MissingDependency, match="python3-graph-tool"):
        split.to_graph_tool()
