from __future__ import annotations

import igraph
import networkx as nx
import numpy as np
import pytest

from compgraph.communities.modularity import (
    allowed_modularity,
    expected_weights,
    modularity,
    possible_pairs,
    signed_modularity,
    sinkhorn,
)
from compgraph.communities.pairs import allowed_pairs, node_pairs
from compgraph.errors import GraphError
from tests.communities.graphs import chain, groups, layered, positive, transformer, undirected


def karrer_newman(weights: np.ndarray, level: np.ndarray) -> np.ndarray:
    """The closed form for levels: s_out s_in / mu times the share that passes each level between."""
    out, into = weights.sum(1), weights.sum(0)
    steps = np.arange(level.max() + 1)
    level_out, level_in = (np.array([s[level == b].sum() for b in steps]) for s in (out, into))
    is_open = np.concatenate([[0], np.cumsum(level_out - level_in)[:-1]])
    passing = 1 - np.divide(level_in, is_open, out=np.zeros_like(is_open), where=is_open > 0)
    expected = np.zeros_like(weights)
    for u, v in zip(*np.nonzero(level[:, None] < level[None, :]), strict=True):
        between = passing[level[u] + 1 : level[v]]
        expected[u, v] = out[u] * into[v] / is_open[level[v]] * np.prod(between)
    return expected


def test_ordinary_modularity_equals_igraph_and_networkx() -> None:
    graph = positive(20, 2, 3.0, seed=0)
    labels = groups(20, 4)
    value = modularity(graph.matrix(), labels)
    assert value == pytest.approx(graph.to_igraph().modularity(labels.tolist(), weights="weight"), abs=1e-12)
    names = np.array(graph.node_names)
    parts = [set(names[labels == k]) for k in range(4)]
    assert value == pytest.approx(nx.community.modularity(graph.to_networkx(), parts), abs=1e-12)


def test_resolution_equals_igraph() -> None:
    graph = positive(15, 3, 2.0, seed=1)
    expected = graph.to_igraph().modularity(groups(15, 3).tolist(), weights="weight", resolution=1.7)
    assert modularity(graph.matrix(), groups(15, 3), 1.7) == pytest.approx(expected, abs=1e-12)


def test_signed_modularity_is_the_difference_of_both_signs() -> None:
    weights = undirected(18, 3, 1.0, seed=2).matrix()
    labels = groups(18, 3)
    plus, minus = np.maximum(weights, 0), np.maximum(-weights, 0)
    expected = plus.sum() * modularity(plus, labels) - minus.sum() * modularity(minus, labels)
    assert signed_modularity(weights, labels) == pytest.approx(expected / np.abs(weights).sum(), abs=1e-12)
    assert signed_modularity(plus, labels) == pytest.approx(modularity(plus, labels), abs=1e-12)


def test_signed_modularity_equals_leidenalg_multiplex() -> None:
    leidenalg = pytest.importorskip("leidenalg")
    weights = undirected(18, 3, 1.0, seed=3).matrix()
    labels = groups(18, 3).tolist()
    total = 0.0
    for sign in (1, -1):
        part = np.maximum(sign * weights, 0)
        layer = igraph.Graph.Weighted_Adjacency(part.tolist(), mode="undirected", attr="weight")
        found = leidenalg.RBConfigurationVertexPartition(layer, initial_membership=labels, weights="weight")
        total += sign * found.quality()
    assert signed_modularity(weights, labels) == pytest.approx(total / np.abs(weights).sum(), abs=1e-12)


def test_expected_weights_are_those_of_the_layered_null() -> None:
    graph, _ = layered(transformer(), seed=4, unequal=1.0)
    weights, allowed = node_pairs(graph).matrix(), allowed_pairs(graph)
    level = graph.node_columns["level"]
    assert np.array_equal(allowed, level[:, None] < level[None, :])
    expected = expected_weights(weights, allowed)
    assert np.allclose(expected, karrer_newman(weights, level), atol=1e-9 * weights.sum(), rtol=0)


def test_expected_weights_keep_the_strengths_on_other_masks() -> None:
    graph, _ = layered(transformer(parallel=True), seed=5, unequal=1.0)
    weights, allowed = node_pairs(graph).matrix(), allowed_pairs(graph)
    expected = expected_weights(weights, allowed)
    assert np.allclose(expected.sum(0), weights.sum(0), atol=1e-9 * weights.sum())
    assert np.allclose(expected.sum(1), weights.sum(1), atol=1e-9 * weights.sum())
    assert (expected[~allowed] == 0).all()


def test_pairs_that_no_weight_can_reach_are_zero() -> None:
    # All open weight ends at node 2, so that 0 -> 3 and 1 -> 3 cannot have any.
    weights = np.zeros((4, 4))
    weights[0, 2], weights[1, 2], weights[2, 3] = 1.0, 2.0, 5.0
    allowed = np.triu(np.ones((4, 4), bool), 1)
    allowed[0, 1] = False
    usable = possible_pairs(weights, allowed)
    assert not usable[0, 3]
    assert not usable[1, 3]
    assert expected_weights(weights, allowed) == pytest.approx(weights, abs=1e-9)


def test_a_complete_graph_has_no_allowed_modularity() -> None:
    graph, _ = layered(transformer(), seed=0)
    weights = allowed_pairs(graph).astype(float)
    halves = (graph.node_columns["level"] > 3).astype(int)
    assert allowed_modularity(weights, weights > 0, halves) == pytest.approx(0, abs=1e-9)


def test_a_chain_of_levels_has_the_product_of_strengths_between_neighbours() -> None:
    graph, _ = layered(chain(), seed=1)
    weights, allowed = node_pairs(graph).matrix(), allowed_pairs(graph)
    assert expected_weights(weights, allowed) == pytest.approx(weights, abs=1e-9)  # modules: one pair a level


def test_weight_on_a_forbidden_pair_is_refused() -> None:
    with pytest.raises(GraphError, match="may not have an edge"):
        expected_weights(np.ones((2, 2)), np.triu(np.ones((2, 2), bool), 1))


def test_sums_out_of_reach_are_refused() -> None:
    with pytest.raises(GraphError, match="strengths were matched"):
        sinkhorn(np.eye(2), np.array([1.0, 2.0]), np.array([2.0, 1.0]))


def test_a_graph_without_weight_has_modularity_zero() -> None:
    assert modularity(np.zeros((3, 3)), [0, 0, 1]) == 0
    assert allowed_modularity(np.zeros((3, 3)), np.ones((3, 3), bool), [0, 1, 1]) == 0
