from __future__ import annotations

import itertools

import networkx as nx
import numpy as np
import pytest

from compgraph import catalogue
from compgraph.architecture import Architecture
from compgraph.communities.modularity import allowed_modularity, modularity, signed_modularity
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition
from compgraph.statistics import measures
from compgraph.statistics.view import UndefinedError, View, view
from tests.communities.graphs import chain, groups, layered, positive, transformer, undirected


@pytest.fixture
def sparse() -> ComputationalGraph:
    """Undirected weighted graph with a third of the pairs."""
    rng = np.random.default_rng(0)
    weights = np.triu(rng.exponential(size=(18, 18)) * (rng.random((18, 18)) < 0.35), 1)
    return ComputationalGraph.from_matrix(weights + weights.T, drop_zeros=True)


@pytest.fixture
def scores() -> View:
    return view(layered(transformer(), seed=1, unequal=1.0)[0])


def whole(architecture: Architecture, weight: np.ndarray | None = None) -> View:
    partition = Partition.units(architecture)
    return view(ComputationalGraph.from_architecture(architecture, partition, weight))


def test_every_measure_of_the_catalogue_is_one() -> None:
    for entry in catalogue.STATISTICS.values():
        function = catalogue.load(entry)
        assert set(function.refused) <= {"layered", "directed", "undirected"}


def test_clustering_equals_networkx(sparse: ComputationalGraph) -> None:
    expected = nx.average_clustering(sparse.to_networkx(), weight="weight")
    assert measures.clustering(view(sparse), 0) == pytest.approx(expected, abs=1e-9)


def test_assortativity_of_equal_weights_equals_networkx_and_igraph(sparse: ComputationalGraph) -> None:
    binary = ComputationalGraph.from_matrix((sparse.matrix() > 0).astype(float), drop_zeros=True)
    value = measures.assortativity(view(binary), 0)
    assert value == pytest.approx(nx.degree_assortativity_coefficient(binary.to_networkx()), abs=1e-9)
    assert value == pytest.approx(binary.to_igraph().assortativity_degree(directed=False), abs=1e-9)


def test_directed_assortativity_of_equal_weights_equals_networkx() -> None:
    rng = np.random.default_rng(1)
    edges = (rng.random((15, 15)) < 0.3).astype(float)
    graph = ComputationalGraph.from_matrix(edges, directed=True, drop_zeros=True)
    expected = nx.degree_assortativity_coefficient(graph.to_networkx(), x="out", y="in")
    assert measures.assortativity(view(graph), 0) == pytest.approx(expected, abs=1e-9)


def test_level_assortativity_equals_networkx() -> None:
    seen = whole(chain((2, 3, 3, 2)))
    graph = nx.from_numpy_array((seen.magnitude > 0).astype(int), create_using=nx.DiGraph)
    nx.set_node_attributes(graph, dict(enumerate(seen.level.tolist())), "level")
    expected = nx.numeric_assortativity_coefficient(graph, "level")
    assert measures.level_assortativity(seen, 0) == pytest.approx(expected, abs=1e-9)


def test_gini_is_half_the_relative_mean_difference(sparse: ComputationalGraph, scores: View) -> None:
    values = sparse.matrix()[np.triu_indices(18, 1)]  # zeros included
    expected = np.abs(values[:, None] - values).mean() / (2 * values.mean())
    assert measures.gini(view(sparse), 0) == pytest.approx(expected, abs=1e-12)
    values = scores.magnitude[scores.allowed]
    expected = np.abs(values[:, None] - values).mean() / (2 * values.mean())
    assert measures.gini(scores, 0) == pytest.approx(expected, abs=1e-12)
    strength = sparse.matrix().sum(axis=0)
    expected = np.abs(strength[:, None] - strength).mean() / (2 * strength.mean())
    assert measures.strength_gini(view(sparse), 0) == pytest.approx(expected, abs=1e-12)


def test_density_counts_allowed_pairs(sparse: ComputationalGraph, scores: View) -> None:
    assert measures.density(view(sparse), 0) == pytest.approx(nx.density(sparse.to_networkx()), abs=1e-12)
    assert measures.density(scores, 0) == 1.0


def test_modularity_is_that_of_planted_groups() -> None:
    graph = positive(40, 4, 7.0, seed=0)
    assert measures.modularity(view(graph), 0) == pytest.approx(modularity(graph.matrix(), groups(40, 4)))
    graph = undirected(45, 3, 1.5, seed=1)
    expected = signed_modularity(graph.matrix(), groups(45, 3))
    assert measures.modularity(view(graph), 0) == pytest.approx(expected)


def test_modularity_of_a_layered_graph_is_over_allowed_pairs() -> None:
    graph, labels = layered(transformer(), seed=2, ratio=8.0)
    seen = view(graph)
    planted = allowed_modularity(seen.magnitude, seen.allowed, labels)
    assert measures.modularity(seen, 0) >= planted - 1e-9
    assert planted > 0.2
    complete = seen.with_weights(np.ones(len(seen.ends[0])))
    assert measures.modularity(complete, 0) == pytest.approx(0, abs=1e-9)


def test_trophic_incoherence_of_a_cascade_is_zero_and_of_a_cycle_one() -> None:
    assert measures.trophic_incoherence(whole(chain()), 0) == pytest.approx(0, abs=1e-9)
    cycle = ComputationalGraph(["a", "b", "c"], [0, 1, 2], [1, 2, 0], None, [1.0, 1.0, 1.0])
    assert measures.trophic_incoherence(view(cycle), 0) == pytest.approx(1, abs=1e-9)


def test_trophic_incoherence_solves_its_equations(scores: View) -> None:
    weights = scores.magnitude
    out, into = weights.sum(1), weights.sum(0)
    laplacian = np.diag(out + into) - weights - weights.T
    height = np.linalg.lstsq(laplacian, into - out, rcond=None)[0]
    gaps = height[None, :] - height[:, None] - 1
    expected = (weights * gaps**2).sum() / weights.sum()
    assert measures.trophic_incoherence(scores, 0) == pytest.approx(expected, abs=1e-9)


def test_span_is_a_weighted_mean_of_levels(scores: View) -> None:
    source, target = scores.ends
    steps = scores.level[target] - scores.level[source]
    expected = np.average(steps, weights=scores.magnitude[source, target])
    assert measures.span(scores, 0) == pytest.approx(expected, abs=1e-12)
    assert measures.span(whole(chain()), 0) == pytest.approx(1, abs=1e-12)


def test_effective_paths_of_equal_weights_are_the_paths_of_a_chain() -> None:
    assert measures.effective_paths(whole(chain((3, 4, 5, 2))), 0) == pytest.approx(3 * 4 * 5 * 2)


def test_effective_paths_are_the_entropy_over_all_paths(scores: View) -> None:
    small = view(layered(transformer(n_layers=1, n_heads=2), seed=3)[0])
    weights = small.magnitude
    into = weights.sum(0)
    start, end = small.inputs[0], small.outputs[0]
    between = [node for node in range(small.n_nodes) if node not in (start, end)]
    chances = []
    for size in range(len(between) + 1):
        for middle in itertools.combinations(between, size):
            path = [start, *middle, end]
            steps = [weights[u, v] / into[v] for u, v in itertools.pairwise(path)]
            chances.append(np.prod(steps))
    chances = np.array(chances)
    assert chances.sum() == pytest.approx(1, abs=1e-12)
    positive_chances = chances[chances > 0]
    expected = np.exp(-(positive_chances * np.log(positive_chances)).sum())
    assert measures.effective_paths(small, 0) == pytest.approx(expected, abs=1e-9)


def test_paths_from_nowhere_do_not_count() -> None:
    # conv-like chain of 1-1-1 with a second middle node that the input does not reach.
    architecture = chain((1, 2, 1))
    graph = ComputationalGraph(
        Partition.units(architecture), [0, 1, 2], [1, 3, 3], None, [1.0, 1.0, 9.0], architecture=architecture
    )
    assert measures.effective_paths(view(graph), 0) == pytest.approx(1)
    cut = graph.subgraph(np.array([True, False, True]))
    with pytest.raises(UndefinedError, match="no path"):
        measures.effective_paths(view(cut), 0)


def test_a_correlation_of_equal_ends_is_undefined() -> None:
    ring = ComputationalGraph.from_matrix(np.ones((5, 5)))
    with pytest.raises(UndefinedError, match="alike"):
        measures.assortativity(view(ring), 0)
