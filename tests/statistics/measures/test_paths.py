from __future__ import annotations

import itertools
import math

import networkx as nx
import numpy as np
import pytest

from compgraph.architecture import transformer_architecture
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition
from compgraph.statistics.measures import paths
from compgraph.statistics.view import UndefinedError, view
from tests.communities.graphs import chain, layered, transformer
from tests.statistics.graphs import correlations, scores, sparse, thinned, whole


def all_paths(seen: object) -> list[list[int]]:
    graph = nx.from_numpy_array(seen.dense(), create_using=nx.DiGraph)
    return [path for u in seen.inputs for v in seen.outputs for path in nx.all_simple_paths(graph, u, v)]


def test_the_number_of_paths_is_exact() -> None:
    seen = thinned(0.4)
    assert paths.count_paths(seen) == len(all_paths(seen)) > 40
    assert paths.log_paths(seen, 0) == pytest.approx(math.log10(len(all_paths(seen))))
    wide = transformer_architecture(
        "gpt2", n_layers=12, n_heads=12, d_head=2, d_model=24, d_mlp=4, vocabulary=5, parallel=False
    )
    complete = view(ComputationalGraph.from_architecture(wide, Partition.heads(wide)))
    assert paths.count_paths(complete) == 2**12 * 13**12


def test_effective_paths_of_equal_weights_are_the_paths_of_a_chain() -> None:
    assert paths.effective_paths(whole(chain((3, 4, 5, 2))), 0) == pytest.approx(3 * 4 * 5 * 2)


def test_effective_paths_are_the_entropy_over_all_paths() -> None:
    small = view(layered(transformer(n_layers=1, n_heads=2), seed=3)[0])
    weights = small.dense()
    into = weights.sum(0)
    chances = np.array(
        [np.prod([weights[u, v] / into[v] for u, v in itertools.pairwise(path)]) for path in all_paths(small)]
    )
    assert chances.sum() == pytest.approx(1, abs=1e-12)
    expected = np.exp(-(chances * np.log(chances)).sum())
    assert paths.effective_paths(small, 0) == pytest.approx(expected, abs=1e-9)


def test_paths_from_nowhere_do_not_count() -> None:
    architecture = chain((1, 2, 1))
    graph = ComputationalGraph(
        Partition.units(architecture), [0, 1, 2], [1, 3, 3], None, [1.0, 1.0, 9.0], architecture=architecture
    )
    assert paths.effective_paths(view(graph), 0) == pytest.approx(1)
    cut = view(graph.subgraph(np.array([True, False, True])))
    for measure in (paths.effective_paths, paths.log_paths):
        with pytest.raises(UndefinedError, match="no path"):
            measure(cut, 0)


@pytest.mark.parametrize("make", [scores, lambda: view(sparse()), correlations, lambda: thinned(0.3)])
def test_efficiency_is_the_mean_inverse_distance_of_networkx(make) -> None:
    seen = make()
    source, target, weight = seen.ordered
    graph = nx.DiGraph()
    graph.add_nodes_from(range(seen.n_nodes))
    lengths = seen.magnitude.mean() / weight
    graph.add_weighted_edges_from(zip(source.tolist(), target.tolist(), lengths.tolist(), strict=True))
    found = dict(nx.all_pairs_dijkstra_path_length(graph))
    pairs = np.argwhere(seen.allowed.matrix).tolist()
    expected = np.mean([1 / found[u][v] if v in found[u] else 0.0 for u, v in pairs])
    assert paths.efficiency(seen, 0) == pytest.approx(expected, abs=1e-9)


def test_efficiency_of_equal_weights_is_that_of_networkx() -> None:
    seen = view(sparse())
    expected = nx.global_efficiency(sparse().to_networkx())
    assert paths.efficiency(seen.with_weights(np.ones(seen.n_edges)), 0) == pytest.approx(expected, abs=1e-9)


def test_efficiency_of_a_large_graph_is_estimated_from_some_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = correlations()
    exact = paths.efficiency(seen, 0)
    monkeypatch.setattr(paths, "DENSE_NODES", 1)
    monkeypatch.setattr(paths, "SOURCES", 12)
    assert paths.efficiency(seen, 0) == pytest.approx(exact, rel=0.15)
    monkeypatch.setattr(paths, "SOURCES", 20)
    assert paths.efficiency(seen, 0) == pytest.approx(exact, abs=1e-9)
