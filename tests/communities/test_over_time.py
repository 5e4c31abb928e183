from __future__ import annotations

import igraph
import numpy as np
import pytest

from compgraph.communities import adjusted_rand, communities_over_time, leiden, over_time
from compgraph.communities.judge import judge
from compgraph.communities.modularity import modularity_matrix
from compgraph.communities.slices import Slices
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from tests.communities.graphs import groups, layered, positive, transformer, undirected


def sequence(steps: int = 4, ratio: float = 3.0, n: int = 24) -> list[ComputationalGraph]:
    return [positive(n, 3, ratio, seed=step) for step in range(steps)]


def test_nodes_keep_their_communities_where_they_stay_the_same() -> None:
    found = communities_over_time(sequence(), n_nulls=19, n_runs=3)
    assert adjusted_rand(found.labels.ravel(), np.tile(groups(24, 3), 4)) > 0.95
    assert np.nanmean(found.flexibility) < 0.05
    assert found.chance is not None and found.chance.p == 0.05
    assert found.to_table().columns.tolist() == ["step", "node", "community"]


def test_quality_equals_leidenalg() -> None:
    leidenalg = pytest.importorskip("leidenalg")
    graphs = sequence(3)
    found = communities_over_time(graphs, coupling=0.7, n_nulls=0, n_runs=2)
    slices = []
    for graph in graphs:
        matrix = 24 * 2 * modularity_matrix(graph.matrix())
        u, v = np.triu_indices(24, 1)
        made = igraph.Graph(n=24, edges=list(zip(u, v, strict=True)))
        made.es["weight"] = matrix[u, v]
        made.vs["id"] = range(24)
        slices.append(made)
    layers, between, _ = leidenalg.time_slices_to_layers(slices, interslice_weight=2 * 0.7)
    labels = found.labels.ravel().tolist()
    total = 0.5 * sum(
        leidenalg.CPMVertexPartition(
            layer, initial_membership=labels, weights="weight", resolution_parameter=0
        ).quality()
        for layer in (*layers, between)
    )
    # What no partition changes: the diagonal of B.
    total += sum(24 * np.trace(modularity_matrix(graph.matrix())) for graph in graphs)
    assert found.quality == pytest.approx(total / (3 * 24 + 2 * 0.7 * 2 * 24), abs=1e-9)


def test_without_coupling_each_graph_is_searched_for_itself() -> None:
    graphs = sequence(2)
    found = communities_over_time(graphs, coupling=0.0, n_nulls=0)
    for value, graph in zip(found.within, graphs, strict=True):
        assert value == pytest.approx(leiden.find(graph).quality, abs=1e-9)


def test_one_structureless_graph_that_stays_is_no_structure() -> None:
    graphs = [positive(24, 1, 1.0, seed=5)] * 3
    assert communities_over_time(graphs, n_nulls=19, n_runs=1).chance.p > 0.05


def test_other_nodes_are_refused() -> None:
    with pytest.raises(GraphError, match="graph 1 has other nodes than graph 0"):
        communities_over_time([positive(5, 1, 1.0, 0), positive(6, 1, 1.0, 0)])
    with pytest.raises(GraphError, match="at least one graph"):
        communities_over_time([])


def test_graphs_without_weight_have_no_communities() -> None:
    empty = ComputationalGraph(["a", "b"], [], [], None, [], directed=False)
    found = communities_over_time([empty, empty])
    assert (found.labels == -1).all() and found.quality == 0
    assert np.isnan(found.chance.p) and np.isnan(found.flexibility).all()


@pytest.fixture
def no_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sequence counts as too large for matrices."""
    monkeypatch.setattr(over_time, "MOST_PAIRS", 0)


def signed(step: int) -> ComputationalGraph:
    return undirected(48, 3, 1.0, seed=step)


def by_architecture(step: int) -> ComputationalGraph:
    return layered(transformer(n_layers=4), seed=step, ratio=6.0, split_qkv=False)[0]


@pytest.mark.parametrize("make", [lambda step: positive(48, 3, 3.0, step), signed, by_architecture])
@pytest.mark.parametrize("coupling", [0.0, 0.7])
def test_the_search_without_matrices_is_as_good(make, coupling: float, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = [make(step) for step in range(3)]
    dense = communities_over_time(graphs, coupling=coupling, n_nulls=0, n_runs=3)
    monkeypatch.setattr(over_time, "MOST_PAIRS", 0)
    sparse = communities_over_time(graphs, coupling=coupling, n_nulls=0, n_runs=3)
    assert sparse.quality >= 0.97 * dense.quality
    # The same sum, written without matrices.
    problem = over_time._Problem([judge(graph, 1.0, signed=True) for graph in graphs], coupling)
    assert problem.quality(sparse.labels) == pytest.approx(sparse.quality, abs=1e-9)
    assert problem.quality(dense.labels) == pytest.approx(dense.quality, abs=1e-12)


def test_the_excess_of_slices_is_the_change_of_their_quality() -> None:
    graphs = [by_architecture(step) for step in range(3)]
    layers = tuple(judge(graph, most=0).large for graph in graphs)
    slices = Slices(layers, np.ones((3, graphs[0].n_nodes), bool), 1.4)
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=slices.n_nodes)
    member = np.eye(3)[labels]
    total = float((member * slices.excess(member)).sum()) / 2
    moved = labels.copy()
    moved[5] = (labels[5] + 1) % 3
    change = slices.excess(member)[5]
    expected = change[moved[5]] - change[labels[5]] - slices.self_expected[5]
    assert slices.quality(moved) - slices.quality(labels) == pytest.approx(expected, abs=1e-12)
    assert total == pytest.approx(slices.quality(labels), abs=1e-9)


def test_a_null_of_large_sequences(no_matrices: None) -> None:
    found = communities_over_time(sequence(), n_nulls=19, n_runs=1)
    assert found.chance is not None and found.chance.p == 0.05
    assert adjusted_rand(found.labels.ravel(), np.tile(groups(24, 3), 4)) > 0.95
