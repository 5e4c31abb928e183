from __future__ import annotations

import numpy as np
import pytest

from compgraph.communities import adjusted_rand, leiden
from compgraph.communities.modularity import potts_matrix, quality
from compgraph.communities.pairs import allowed_pairs, node_pairs
from compgraph.communities.potts import Potts
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from tests.communities.graphs import layered, positive, transformer, undirected
from tests.statistics.graphs import cyclic

GRAPHS = {
    "positive": positive(30, 3, 5.0, seed=0),
    "signed": undirected(30, 3, 1.5, seed=0),
    "directed": cyclic(),
    "layered": layered(transformer(n_layers=4), seed=0, ratio=6.0, split_qkv=False)[0],
}


@pytest.mark.parametrize("kind", GRAPHS)
@pytest.mark.parametrize("signed", [False, True])
def test_quality_equals_that_of_the_matrix(kind: str, signed: bool) -> None:
    graph = GRAPHS[kind]
    matrix = potts_matrix(node_pairs(graph).matrix(signed), allowed_pairs(graph), 0.8)
    sparse = Potts.of(graph, 0.8, signed)
    rng = np.random.default_rng(0)
    for _ in range(4):
        labels = rng.integers(-1, 4, graph.n_nodes)
        assert sparse.quality(labels) == pytest.approx(quality(matrix, labels), abs=1e-12)


@pytest.mark.parametrize("kind", GRAPHS)
def test_the_search_without_a_matrix_is_as_good(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = GRAPHS[kind]
    dense = leiden.find(graph, objective="constant-potts")
    monkeypatch.setattr(leiden, "DENSE", 5)
    sparse = leiden.find(graph, objective="constant-potts")
    assert sparse.quality >= 0.97 * dense.quality
    # No node does better in another of the parts.
    model = Potts.of(graph, 1.0, not graph.directed)
    for node in range(graph.n_nodes):
        for part in range(sparse.n):
            other = sparse.labels.copy()
            other[node] = part
            assert model.quality(other) <= sparse.quality + 1e-9


def test_planted_groups_of_a_sparse_layered_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leiden, "DENSE", 5)
    graph, labels = layered(transformer(n_layers=4), seed=0, ratio=6.0, split_qkv=False)
    assert adjusted_rand(leiden.find(graph, objective="constant-potts").labels, labels) > 0.9


def test_leidenalg_refuses_a_large_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leiden, "DENSE", 5)
    with pytest.raises(GraphError, match="leidenalg is for at most 5 nodes, not 30; use igraph"):
        leiden.find(GRAPHS["positive"], library="leidenalg")


def test_a_graph_without_weight_has_no_parts() -> None:
    graph = ComputationalGraph(["a", "b"], [], [], None, [])
    assert Potts.of(graph).quality([0, 0]) == 0
