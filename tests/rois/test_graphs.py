from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from compgraph.errors import DataError
from compgraph.multiple_testing import adjust
from compgraph.rois.graphs import GRAPHS, nearest_neighbours, shared_neighbours, unit_graph
from tests.communities.graphs import groups
from tests.rois.recordings import factor_signals, units

SIGNALS = factor_signals(120, groups(14, 2), seed=0)
SIGNALS[:, 3] = 0
LIVE = np.delete(SIGNALS, 3, axis=1)
PAIRS = np.triu_indices(13, 1)


def test_correlation_and_covariance_equal_numpy() -> None:
    for graph, expected in (("correlation", np.corrcoef(LIVE.T)), ("covariance", np.cov(LIVE.T, bias=True))):
        matrix = unit_graph(units(SIGNALS), graph).matrix()
        assert matrix[PAIRS] == pytest.approx(expected[PAIRS], rel=1e-6)


def test_partial_correlation_is_that_of_the_shrunk_matrix() -> None:
    from sklearn.covariance import ledoit_wolf

    standard = (LIVE - LIVE.mean(0)) / LIVE.std(0)
    precision = np.linalg.inv(ledoit_wolf(standard, assume_centered=True)[0])
    scale = np.sqrt(np.diag(precision))
    expected = -precision / scale / scale[:, None]
    assert unit_graph(units(SIGNALS), "partial").matrix()[PAIRS] == pytest.approx(expected[PAIRS], abs=1e-6)


def test_significant_correlations_are_those_of_fishers_test() -> None:
    r = np.corrcoef(LIVE.T)[PAIRS]
    p = 2 * stats.norm.sf(np.abs(np.arctanh(r)) * np.sqrt(120 - 3))
    expected = adjust(p, "bh") <= 0.01
    matrix = unit_graph(units(SIGNALS), "significant", level=0.01).matrix()[PAIRS]
    assert 0 < expected.sum() < len(r)
    assert (matrix != 0).tolist() == expected.tolist()
    assert matrix[expected] == pytest.approx(r[expected], rel=1e-6)


def test_coactivation_is_the_correlation_of_being_active() -> None:
    rng = np.random.default_rng(0)
    features = np.maximum(rng.normal(size=(200, 6)) + rng.normal(size=(200, 1)) - 0.5, 0)
    expected = np.corrcoef((features > 0.2).T)
    graph = unit_graph(units(features), "coactivation", active_above=0.2)
    assert graph.matrix()[np.triu_indices(6, 1)] == pytest.approx(expected[np.triu_indices(6, 1)], rel=1e-6)


@pytest.mark.parametrize("graph", GRAPHS)
def test_nodes_are_the_live_units_in_order(graph: str) -> None:
    assert unit_graph(units(SIGNALS - 50), graph).n_nodes == 13


def test_neighbours_are_those_with_the_largest_correlation() -> None:
    matrix = np.corrcoef(factor_signals(300, groups(30, 3), seed=3).T)
    np.fill_diagonal(matrix, -np.inf)
    nearest = np.zeros((30, 30), bool)
    nearest[np.arange(30)[:, None], np.argsort(-matrix, axis=1)[:, :2]] = True
    np.fill_diagonal(matrix, 1)
    either, both = nearest | nearest.T, nearest & nearest.T
    assert (nearest_neighbours(matrix, 2).matrix() == either).all()
    assert (nearest_neighbours(matrix, 2, mutual=True).matrix() == both).all()
    weighted = nearest_neighbours(matrix, 2, weighted=True).matrix()
    assert weighted == pytest.approx(np.where(either, np.maximum(matrix, 0), 0), rel=1e-6)


@pytest.mark.parametrize(("n", "neighbours"), [(5, 3), (36, 6), (400, 10), (3, 2)])
def test_the_number_of_neighbours_follows_the_number_of_units(n: int, neighbours: int) -> None:
    signals = np.random.default_rng(4).normal(size=(50, n))
    degrees = (nearest_neighbours(np.corrcoef(signals.T)).matrix() > 0).sum(axis=0)
    assert degrees.min() == neighbours


def test_what_has_no_graph_is_refused() -> None:
    with pytest.raises(DataError, match="'dense' is not known; valid are correlation, covariance, partial, knn"):
        unit_graph(units(SIGNALS), "dense")
    with pytest.raises(DataError, match="has one live unit"):
        unit_graph(units(SIGNALS[:, 3:5]), "knn")


def test_shared_neighbours_are_counted() -> None:
    r = np.corrcoef(LIVE.T)
    near = [{i, *sorted((j for j in range(13) if j != i), key=lambda j: -r[i, j])[:4]} for i in range(13)]
    expected = np.array([[len(near[i] & near[j]) for j in range(13)] for i in range(13)], float)
    graph = shared_neighbours(r, 4)
    assert graph.matrix()[PAIRS].tolist() == expected[PAIRS].tolist()
    assert graph.n_edges == (expected[PAIRS] > 0).sum() < len(r) * 6
    assert unit_graph(units(SIGNALS), "shared-neighbours", neighbours=4).matrix().tolist() == graph.matrix().tolist()
