from __future__ import annotations

import numpy as np
import pytest

from compgraph.communities import adjusted_rand
from compgraph.communities.louvain import DEPTH, find, undirected_weights
from compgraph.communities.modularity import modularity, signed_modularity
from compgraph.graph import ComputationalGraph
from tests.communities.graphs import groups, layered, positive, transformer, undirected


def test_planted_communities_are_recovered() -> None:
    graph = positive(40, 4, 7.0, seed=0)
    found = find(graph, seed=1)
    assert adjusted_rand(found.labels, groups(40, 4)) == 1
    assert found.n == 4
    assert found.labels.dtype == np.int32
    assert found.quality == pytest.approx(modularity(graph.matrix(), found.labels), abs=1e-12)
    assert found.parameters["modularity"] == "ordinary"
    assert len(found.runs) == 10
    assert found.notes == ()


def test_signs_of_correlations_count() -> None:
    graph = undirected(45, 3, 1.5, seed=1)
    found = find(graph)
    assert adjusted_rand(found.labels, groups(45, 3)) == 1
    assert found.parameters["modularity"] == "signed"
    assert found.quality == pytest.approx(signed_modularity(graph.matrix(), found.labels), abs=1e-12)
    sizes = find(graph, negative="magnitude")
    assert sizes.parameters["modularity"] == "ordinary"
    expected = modularity(graph.matrix(signed=False), sizes.labels)
    assert sizes.quality == pytest.approx(expected, abs=1e-12)


def test_directions_and_channels_are_added_up() -> None:
    graph = ComputationalGraph(["a", "b"], [0, 1, 0], [1, 0, 1], [0, 0, 1], [1.0, -2.0, 4.0], channels=("", "q"))
    assert undirected_weights(graph, signed=False).tolist() == [[0, 7], [7, 0]]
    assert undirected_weights(graph, signed=True).tolist() == [[0, 3], [3, 0]]


def test_effects_keep_only_their_size_and_depth_is_warned_of() -> None:
    graph, _ = layered(transformer(), seed=0)
    found = find(graph)
    assert found.notes == (DEPTH,)
    assert found.parameters["modularity"] == "ordinary"


def test_resolution_changes_the_number_of_communities() -> None:
    graph = positive(40, 4, 4.0, seed=0)
    assert find(graph, resolution=0.3).n < 4 < find(graph, resolution=2.5).n


def test_the_same_seed_gives_the_same_labels() -> None:
    graph = positive(30, 2, 1.2, seed=3)
    first, again, other = find(graph, seed=4), find(graph, seed=4), find(graph, seed=5)
    assert np.array_equal(first.labels, again.labels)
    assert first.runs == again.runs
    assert first.runs != other.runs
    assert 0 <= first.agreement < 1


@pytest.mark.parametrize("options", [{"negative": "ignore"}, {"n_runs": 0}, {"resolution": -1.0}])
def test_settings_that_mean_nothing_are_refused(options: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        find(positive(5, 1, 1.0, seed=0), **options)


def test_isolated_nodes_and_graphs_without_edges() -> None:
    graph = ComputationalGraph(["a", "b", "c"], [0], [1], None, [1.0], directed=False)
    assert find(graph).labels.tolist() == [0, 0, -1]
    empty = find(ComputationalGraph(["a", "b"], [], [], None, [], directed=False))
    assert empty.labels.tolist() == [-1, -1]
    assert (empty.n, empty.quality) == (0, 0)
