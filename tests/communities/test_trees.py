"""Methods that make a tree of communities, and label propagation."""

from __future__ import annotations

import igraph
import networkx as nx
import pytest

from compgraph.communities import adjusted_rand, girvan_newman, label_propagation, walktrap
from compgraph.communities.modularity import modularity
from compgraph.errors import GraphError
from compgraph.graph_import import as_graph
from tests.communities.graphs import groups, layered, positive, transformer

KARATE = nx.karate_club_graph()


def test_walktrap_equals_igraph() -> None:
    other = igraph.Graph.from_networkx(KARATE).community_walktrap(weights="weight").as_clustering()
    found = walktrap.find(as_graph(KARATE))
    assert adjusted_rand(found.labels, other.membership) == 1
    assert found.quality == pytest.approx(other.graph.modularity(other.membership, weights="weight"), abs=1e-9)


def test_girvan_newman_takes_the_best_cut_of_networkx() -> None:
    plain = nx.Graph(KARATE.edges())
    plain.remove_nodes_from([0, 33])
    graph = as_graph(plain)
    found = girvan_newman.find(graph)
    position = {name: k for k, name in enumerate(plain)}
    best = 0.0
    for parts in nx.community.girvan_newman(plain):
        labels = [0] * len(plain)
        for number, part in enumerate(parts):
            for node in part:
                labels[position[node]] = number
        best = max(best, modularity(graph.matrix(), labels))
    assert found.quality == pytest.approx(best, abs=1e-9)


def test_girvan_newman_refuses_large_graphs_with_the_reason() -> None:
    with pytest.raises(GraphError, match="at most 100 nodes and 1000 pairs with weight, not 50 and 1225; use leiden"):
        girvan_newman.find(positive(50, 1, 1.0, seed=0))


@pytest.mark.parametrize("method", [walktrap, girvan_newman, label_propagation])
def test_planted_groups_are_found(method) -> None:
    graph = positive(30, 3, 9.0, seed=0).top(200)
    assert adjusted_rand(method.find(graph).labels, groups(30, 3)) > 0.9
    graph, labels = layered(transformer(), seed=0, ratio=8.0, split_qkv=False)
    found = method.find(graph)
    assert found.parameters["modularity"] == "allowed pairs"
    assert adjusted_rand(found.labels, labels) > 0.7
