from __future__ import annotations

import numpy as np
import pytest

from compgraph.communities.chance import sampler
from compgraph.communities.pairs import allowed_pairs, node_pairs
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from tests.communities.graphs import layered, positive, transformer


@pytest.mark.parametrize("kept", [60, 120])
def test_rewired_layered_graphs_keep_degrees_and_allowed_pairs(kept: int) -> None:
    graph = layered(transformer(parallel=True), seed=0, split_qkv=False)[0].top(kept)
    before = node_pairs(graph).matrix() > 0
    drawn = sampler(graph, "strength")(np.random.default_rng(1))
    after = node_pairs(drawn).matrix() > 0
    for axis in (0, 1):
        assert (before.sum(axis=axis) == after.sum(axis=axis)).all()
    assert not (after & ~allowed_pairs(graph)).any()
    assert (before & ~after).any()


@pytest.mark.parametrize("kept", [40, 150])
def test_rewired_undirected_graphs_keep_degrees(kept: int) -> None:
    graph = positive(20, 1, 1.0, seed=0).top(kept)
    before, after = (g.matrix() > 0 for g in (graph, sampler(graph, "strength")(np.random.default_rng(0))))
    assert (before.sum(axis=0) == after.sum(axis=0)).all()
    assert (before & ~after).any()


def test_strong_nodes_stay_strong_and_residuals_are_permuted() -> None:
    rng = np.random.default_rng(0)
    effect = rng.normal(size=30)
    weights = np.exp(effect[:, None] + effect + 0.3 * rng.normal(size=(30, 30)))
    graph = ComputationalGraph.from_matrix(np.triu(weights, 1) + np.triu(weights, 1).T)
    drawn = sampler(graph, "strength")(np.random.default_rng(1)).matrix()
    strengths = graph.matrix().sum(axis=0), drawn.sum(axis=0)
    assert np.corrcoef(*np.log(strengths))[0, 1] > 0.99
    assert np.abs(graph.matrix() - drawn).max() > 0.1


def test_weights_that_differ_by_noise_alone_are_only_permuted() -> None:
    graph = ComputationalGraph.from_matrix(np.ones((8, 8))).top(14)
    assert set(sampler(graph, "strength")(np.random.default_rng(0)).weight) == {1.0}


def test_pairs_keeps_the_weights_alone() -> None:
    graph = layered(transformer(), seed=0, split_qkv=False)[0].top(50)
    drawn = sampler(graph, "pairs")(np.random.default_rng(0))
    np.testing.assert_allclose(np.sort(drawn.weight), np.sort(graph.weight))
    assert not (node_pairs(drawn).matrix()[~allowed_pairs(graph)]).any()


def test_an_unknown_null_is_refused() -> None:
    with pytest.raises(GraphError, match="'chance' is not known; valid are strength, pairs"):
        sampler(positive(5, 1, 1.0, seed=0), "chance")


def test_large_graphs_are_rewired_without_a_matrix() -> None:
    n = 20_000
    rng = np.random.default_rng(0)
    cells = np.unique(rng.integers(n * n, size=40_000))
    u, v = cells // n, cells % n
    graph = ComputationalGraph(
        [f"n{k}" for k in range(n)], u[u != v], v[u != v], None, rng.lognormal(size=(u != v).sum())
    )
    for null in ("strength", "pairs"):
        drawn = sampler(graph, null)(np.random.default_rng(1))
        assert drawn.n_edges == graph.n_edges
        degrees = (np.bincount(one.source, minlength=n) for one in (graph, drawn))
        assert np.array_equal(*degrees) == (null == "strength")
