from __future__ import annotations

import igraph
import networkx as nx
import numpy as np
import pytest

from compgraph.communities import adjusted_rand, leiden
from compgraph.communities.modularity import directed_matrix, potts_matrix, quality
from compgraph.graph import ComputationalGraph
from compgraph.graph_import import as_graph
from tests.communities.graphs import groups, layered, positive, transformer, undirected

KARATE = nx.karate_club_graph()


def test_ordinary_modularity_equals_igraph_and_networkx() -> None:
    found = leiden.find(as_graph(KARATE))
    members = [{node for node in KARATE if found.labels[node] == part} for part in range(found.n)]
    assert found.quality == pytest.approx(nx.community.modularity(KARATE, members), abs=1e-9)
    other = igraph.Graph.from_networkx(KARATE)
    expected = other.modularity(found.labels.tolist(), weights="weight")
    assert found.quality == pytest.approx(expected, abs=1e-9)
    assert found.quality == pytest.approx(0.4449, abs=1e-4)


def test_directed_modularity_equals_networkx() -> None:
    rng = np.random.default_rng(0)
    weights = rng.exponential(size=(12, 12)) * (rng.random((12, 12)) < 0.4)
    np.fill_diagonal(weights, 0)
    labels = groups(12, 3)
    members = [set(np.flatnonzero(labels == part).tolist()) for part in range(3)]
    given = nx.from_numpy_array(weights, create_using=nx.DiGraph)
    for resolution in (1.0, 0.7):
        expected = nx.community.modularity(given, members, resolution=resolution)
        assert quality(directed_matrix(weights, resolution), labels) == pytest.approx(expected, abs=1e-9)
    found = leiden.find(as_graph(given))
    assert found.parameters["modularity"] == "directed"
    assert found.quality >= quality(directed_matrix(weights), labels)


def test_constant_potts_equals_leidenalg() -> None:
    leidenalg = pytest.importorskip("leidenalg")
    graph = positive(30, 3, 5.0, seed=0)
    weights, labels = graph.matrix(), groups(30, 3)
    mean = weights.sum() / (30 * 29)
    full = igraph.Graph.Weighted_Adjacency(weights.tolist(), mode="undirected")
    judged = leidenalg.CPMVertexPartition(
        full, initial_membership=labels.tolist(), weights="weight", resolution_parameter=1.5 * mean
    )
    matrix = potts_matrix(weights, ~np.eye(30, dtype=bool), 1.5)
    assert quality(matrix, labels) * weights.sum() == pytest.approx(judged.quality(), abs=1e-9)
    found = leiden.find(graph, objective="constant-potts", resolution=0.8)
    assert adjusted_rand(found.labels, labels) > 0.9


@pytest.mark.parametrize("options", [{}, {"objective": "constant-potts"}])
def test_both_libraries_find_the_same_communities(options: dict) -> None:
    pytest.importorskip("leidenalg")
    graph = undirected(40, 3, 1.5, seed=0)
    found = [leiden.find(graph, library=library, **options) for library in ("igraph", "leidenalg")]
    assert found[0].quality == pytest.approx(found[1].quality, abs=1e-9)
    assert adjusted_rand(found[0].labels, found[1].labels) == 1
    assert found[1].parameters["library"] == "leidenalg"


def test_constant_potts_sees_no_depth() -> None:
    graph, labels = layered(transformer(n_layers=4), seed=0, ratio=6.0, split_qkv=False)
    assert adjusted_rand(leiden.find(graph, objective="constant-potts").labels, labels) > 0.9


@pytest.mark.parametrize("option", ["objective", "negative", "library"])
def test_settings_that_mean_nothing_are_refused(option: str) -> None:
    with pytest.raises(ValueError, match=f"{option} must be one of"):
        leiden.find(ComputationalGraph(["a"], [], [], None, []), **{option: "best"})
