"""Each rule against its definition written out, and the record of what was dropped."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from compgraph.circuits import sparsify
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph


def undirected(n: int = 9, seed: int = 0, **columns) -> ComputationalGraph:
    weights = np.random.default_rng(seed).normal(size=(n, n))
    return ComputationalGraph.from_matrix(weights + weights.T, **columns)


def directed() -> ComputationalGraph:
    rng = np.random.default_rng(1)
    source, target = np.triu_indices(8, 1)
    twice = np.concatenate([source, source]), np.concatenate([target, target])
    channel = np.repeat([0, 1], len(source))
    names = [f"n{k}" for k in range(8)]
    return ComputationalGraph(names, *twice, channel, rng.normal(size=len(channel)), channels=("q", "k"))


def record(graph: ComputationalGraph) -> dict:
    return graph.attributes["selection"][-1]


def test_significance_reads_adjusted_p() -> None:
    p = np.random.default_rng(0).uniform(size=36)
    graph = undirected(columns={"p_adjusted": p})
    assert sparsify(graph, "significance", level=0.2).weight.tolist() == graph.weight[p <= 0.2].tolist()
    with pytest.raises(GraphError, match="reads the column p_adjusted or q, and the graph's columns are: none"):
        sparsify(undirected(), "significance")


def test_what_was_dropped_is_on_record() -> None:
    graph = undirected()
    sparse = sparsify(graph, "top-share", share=0.25)
    size = np.sort(np.abs(graph.weight))
    found = record(sparse)
    assert sparse.n_nodes == 9 and sparse.n_edges == found["kept"] == 9 and found["dropped"] == 27
    assert found["dropped_weight"] == pytest.approx(size[:27].sum() / size.sum())
    assert found["largest_dropped"] == size[26]
    assert found["method"] == "top-share" and found["share"] == 0.25
    touched = set(sparse.source) | set(sparse.target)
    assert found["isolated"] == 9 - len(touched)


@pytest.mark.parametrize("graph", [undirected(), directed()])
@pytest.mark.parametrize("mutual", [False, True])
def test_nearest(graph: ComputationalGraph, mutual: bool) -> None:
    sparse = sparsify(graph, "nearest", k=2, mutual=mutual)
    size = np.abs(graph.weight)
    best = set()
    for node in range(graph.n_nodes):
        own = np.flatnonzero((graph.source == node) | (graph.target == node))
        best |= {(node, e) for e in own[np.argsort(-size[own])][:2]}
    votes = [sum((node, e) in best for node in (graph.source[e], graph.target[e])) for e in range(graph.n_edges)]
    assert sparse.weight.tolist() == graph.weight[np.array(votes) >= (2 if mutual else 1)].tolist()


@pytest.mark.parametrize("graph", [undirected(), directed()])
def test_disparity(graph: ComputationalGraph) -> None:
    size = np.abs(graph.weight)
    kept = []
    for e in range(graph.n_edges):
        p = []
        for node, side in ((graph.source[e], graph.source), (graph.target[e], graph.target)):
            own = size[side == node] if graph.directed else size[(graph.source == node) | (graph.target == node)]
            p.append((1 - size[e] / own.sum()) ** (len(own) - 1) if len(own) > 1 else 1.0)
        kept.append(min(p) < 0.15)
    assert 0 < sum(kept) < graph.n_edges
    assert sparsify(graph, "disparity", level=0.15).weight.tolist() == graph.weight[kept].tolist()


def test_disparity_keeps_the_nominal_share_of_a_uniform_split() -> None:
    # Between the level and that of two independent tests: an edge has the same weight at both its ends.
    weights = np.random.default_rng(0).exponential(size=(60, 60))
    source, target = np.nonzero(~np.eye(60, dtype=bool))
    graph = ComputationalGraph([f"n{k}" for k in range(60)], source, target, None, weights[source, target])
    assert 0.05 < sparsify(graph, "disparity", level=0.05).n_edges / graph.n_edges < 1 - 0.95**2


def test_spanning_trees() -> None:
    graph = undirected()
    nxg = nx.Graph()
    nxg.add_weighted_edges_from(zip(graph.source, graph.target, np.abs(graph.weight), strict=True))
    first = nx.maximum_spanning_tree(nxg)
    one = sparsify(graph, "spanning-trees")
    assert set(zip(one.source, one.target, strict=True)) == {tuple(sorted(e)) for e in first.edges}
    nxg.remove_edges_from(list(first.edges))
    second = nx.maximum_spanning_tree(nxg)
    two = sparsify(graph, "spanning-trees", trees=2, share=0.1)
    strong = np.argsort(-np.abs(graph.weight))[:3]
    wanted = {tuple(sorted(e)) for tree in (first, second) for e in tree.edges}
    wanted |= {(graph.source[e], graph.target[e]) for e in strong}
    assert set(zip(two.source, two.target, strict=True)) == wanted
    assert record(two)["in_trees"] == 16
    assert sparsify(directed(), "spanning-trees").n_edges == 7


def test_empty_graphs_and_bad_input() -> None:
    empty = ComputationalGraph(["a", "b"], [], [], None, [])
    for method in ("top-share", "nearest", "disparity", "spanning-trees"):
        assert sparsify(empty, method).n_edges == 0
    with pytest.raises(GraphError, match="'backbone' is not known; valid are significance"):
        sparsify(empty, "backbone")
    with pytest.raises(GraphError, match="'nearest' has no option 'n'; its options: k, mutual"):
        sparsify(empty, "nearest", n=3)
    for method, options in (("nearest", {"k": 0}), ("disparity", {"level": 1.0}), ("top-share", {"share": 2.0})):
        with pytest.raises(GraphError):
            sparsify(empty, method, **options)
