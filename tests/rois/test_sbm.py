from __future__ import annotations

import numpy as np
import pytest

from compgraph.communities import adjusted_rand
from compgraph.errors import DataError
from compgraph.rois.sbm import find, nearest_neighbours
from tests.communities.graphs import groups
from tests.rois.recordings import factor_signals

graph_tool = pytest.importorskip("graph_tool", reason="graph-tool is not installed")


def correlations(n: int, k: int, seed: int) -> np.ndarray:
    return np.corrcoef(factor_signals(300, groups(n, k), seed).T)


@pytest.mark.parametrize(("graph", "n_rois"), [("knn", None), ("knn", 4), ("correlation", 4)])
def test_factors_are_recovered(graph: str, n_rois: int | None) -> None:
    found = find(correlations(48, 4, seed=0), n_rois, 0, graph=graph, n_runs=1)
    assert adjusted_rand(found, groups(48, 4)) > 0.95


def test_dense_correlations_also_tell_sizes_apart() -> None:
    labels = find(correlations(48, 2, seed=1), None, 0, graph="correlation", n_runs=1)
    assert labels.max() + 1 > 2


@pytest.mark.parametrize("graph", ["knn", "correlation"])
def test_independent_units_are_one_roi(graph: str) -> None:
    noise = np.corrcoef(np.random.default_rng(2).normal(size=(300, 40)).T)
    assert find(noise, None, 0, graph=graph, n_runs=1).max() == 0


def test_neighbours_are_those_with_the_largest_correlation() -> None:
    matrix = correlations(30, 3, seed=3)
    graph = nearest_neighbours(matrix, 2)
    assert not graph.directed
    assert set(graph.weight) == {1.0}
    adjacency = graph.matrix() > 0
    for unit in range(30):
        others = np.delete(np.arange(30), unit)
        nearest = others[np.argsort(-matrix[unit, others])[:2]]
        assert adjacency[unit, nearest].all()
    assert 30 <= graph.n_edges <= 60


@pytest.mark.parametrize(("n", "neighbours"), [(5, 3), (36, 6), (400, 10), (3, 2)])
def test_the_number_of_neighbours_follows_the_number_of_units(n: int, neighbours: int) -> None:
    matrix = np.random.default_rng(4).normal(size=(n, n))
    degrees = (nearest_neighbours(matrix + matrix.T).matrix() > 0).sum(axis=0)
    assert degrees.min() == neighbours


def test_one_unit_is_one_roi() -> None:
    assert find(np.ones((1, 1)), None, 0).tolist() == [0]


def test_an_unknown_graph_is_refused() -> None:
    with pytest.raises(DataError, match="'dense' is not known; valid are knn, correlation"):
        find(np.eye(3), None, 0, graph="dense")
