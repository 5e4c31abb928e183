from __future__ import annotations

import numpy as np
import pytest

from compgraph.communities import adjusted_rand
from compgraph.communities.modularity import allowed_modularity, modularity, signed_modularity
from compgraph.graph import ComputationalGraph
from compgraph.statistics.measures import groups as measured
from compgraph.statistics.view import view
from tests.communities.graphs import groups, layered, positive, transformer, undirected


def test_modularity_is_that_of_planted_groups() -> None:
    graph = positive(40, 4, 7.0, seed=0)
    assert measured.modularity(view(graph), 0) == pytest.approx(modularity(graph.matrix(), groups(40, 4)), abs=1e-9)
    graph = undirected(45, 3, 1.5, seed=1)
    expected = signed_modularity(graph.matrix(), groups(45, 3))
    assert measured.modularity(view(graph), 0) == pytest.approx(expected, abs=1e-9)


def test_modularity_of_a_layered_graph_is_over_allowed_pairs() -> None:
    graph, labels = layered(transformer(), seed=2, ratio=8.0)
    seen = view(graph)
    planted = allowed_modularity(seen.dense(), seen.allowed.matrix, labels)
    assert measured.modularity(seen, 0) >= planted - 1e-9
    assert planted > 0.2
    complete = seen.with_weights(np.ones(seen.n_edges))
    assert measured.modularity(complete, 0) == pytest.approx(0, abs=1e-9)


def test_participation_is_the_formula_for_the_planted_groups() -> None:
    graph = positive(40, 4, 7.0, seed=0)
    weights, labels = graph.matrix(), groups(40, 4)
    strength = weights.sum(axis=1)
    squares = sum((weights[:, labels == part].sum(axis=1) / strength) ** 2 for part in range(4))
    assert measured.participation(view(graph), 0) == pytest.approx((1 - squares).mean(), abs=1e-9)


def test_participation_of_a_directed_graph_counts_both_directions() -> None:
    seen = view(layered(transformer(), seed=2, ratio=8.0)[0])
    labels = measured._best(seen, 0)[1]
    both = seen.dense() + seen.dense().T
    squares = sum((both[:, labels == part].sum(axis=1) / both.sum(axis=1)) ** 2 for part in np.unique(labels))
    assert measured.participation(seen, 0) == pytest.approx((1 - squares).mean(), abs=1e-9)


@pytest.mark.parametrize("kind", ["layered", "undirected", "signed", "directed"])
def test_large_graphs_are_searched_without_a_matrix(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    labels = groups(40, 4)
    if kind == "layered":
        graph, labels = layered(transformer(n_heads=12), seed=2, ratio=12.0, split_qkv=False)
    elif kind == "signed":
        graph = undirected(40, 4, 3.0, seed=0)
    else:
        graph = positive(40, 4, 9.0, seed=0)
    if kind == "directed":
        weights = graph.matrix()
        graph = ComputationalGraph.from_matrix(weights * np.random.default_rng(0).random(weights.shape), directed=True)
    seen = view(graph)
    small = measured.modularity(seen, 0)
    monkeypatch.setattr(measured, "DENSE_NODES", 10)
    fresh = view(graph)
    assert adjusted_rand(measured._best(fresh, 0)[1], labels) > 0.9
    # Leicht & Newman expect weight on the diagonal as well, which a large graph has hardly any of.
    assert measured.modularity(fresh, 0) == pytest.approx(small, abs=0.03 if kind == "directed" else 1e-6)
    assert measured.participation(fresh, 0) == pytest.approx(measured.participation(seen, 0), abs=0.02)
