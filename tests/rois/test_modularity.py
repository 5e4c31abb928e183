from __future__ import annotations

import random

import igraph
import numpy as np
import pytest

from compgraph.communities import adjusted_rand
from compgraph.communities.modularity import quality, signed_matrix
from compgraph.errors import DataError
from compgraph.rois.graphs import unit_graph
from compgraph.rois.modularity import by_leiden, by_louvain
from tests.communities.graphs import groups
from tests.rois.recordings import factor_signals, units

SIGNALS = factor_signals(80, groups(40, 5), seed=0, noise=1.2)


def test_without_signs_it_is_as_good_as_igraph() -> None:
    matrix = unit_graph(units(SIGNALS), "knn").matrix()
    graph = igraph.Graph.Adjacency((matrix > 0).tolist(), mode="undirected")
    for find, search in ((by_louvain, graph.community_multilevel), (by_leiden, _leiden(graph))):
        igraph.set_random_number_generator(random.Random(0))
        best = max(graph.modularity(search().membership) for _ in range(3))
        found = find(units(SIGNALS), None, 0, graph="knn")
        assert graph.modularity(found.tolist()) >= best - 0.01
        assert adjusted_rand(found, groups(40, 5)) > 0.9


def _leiden(graph: igraph.Graph):
    return lambda: graph.community_leiden(objective_function="modularity", n_iterations=-1)


def test_with_signs_no_single_move_is_better() -> None:
    matrix = signed_matrix(np.corrcoef(SIGNALS.T))
    for find in (by_louvain, by_leiden):
        labels = find(units(SIGNALS), None, 0)
        reached = quality(matrix, labels)
        for unit in range(40):
            for part in range(labels.max() + 2):
                moved = labels.copy()
                moved[unit] = part
                assert quality(matrix, moved) <= reached + 1e-9


def test_a_number_that_no_resolution_gives_is_refused() -> None:
    twins = np.repeat(np.random.default_rng(0).normal(size=(50, 2)), 4, axis=1)
    assert by_louvain(units(twins), 2, 0).max() == 1
    with pytest.raises(DataError, match="louvain finds no 3 ROIs in 'units' at any resolution; the nearest numbers"):
        by_louvain(units(twins), 3, 0)
