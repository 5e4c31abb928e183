from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from compgraph.graph import ComputationalGraph
from compgraph.nulls.allowed import Allowed
from compgraph.nulls.swaps import Chain, wiring
from compgraph.partition import Partition
from tests.communities.graphs import layered, transformer

Edges = tuple[np.ndarray, np.ndarray]


def degrees(edges: Edges, directed: bool) -> tuple[list[int], ...]:
    out, into = (np.bincount(ends, minlength=30) for ends in edges)
    return (out.tolist(), into.tolist()) if directed else ((out + into).tolist(),)


def small_layered(edges: list[tuple[int, int]]) -> ComputationalGraph:
    architecture = transformer(n_layers=1, n_heads=3)
    source, target = np.array(edges).T
    return ComputationalGraph(
        Partition.heads(architecture), source, target, None, np.ones(len(edges)), architecture=architecture
    )


def with_same_degrees(graph: ComputationalGraph, allowed: Allowed) -> list[frozenset[tuple[int, int]]]:
    """Every graph on the allowed pairs with the degrees of this one, by trying all."""
    possible = np.argwhere(allowed.matrix if graph.directed else np.triu(allowed.matrix)).tolist()
    wanted = degrees((graph.source, graph.target), graph.directed)
    tried = itertools.combinations(possible, graph.n_edges)
    return [frozenset(map(tuple, one)) for one in tried if degrees(tuple(np.array(one).T), graph.directed) == wanted]


@pytest.mark.parametrize(
    "graph",
    [
        small_layered([(0, 1), (0, 4), (1, 5), (2, 4), (2, 5), (3, 4), (0, 2), (0, 3)]),
        small_layered([(0, 1), (1, 4), (2, 5), (0, 5)]),
        ComputationalGraph(list("abcde"), [0, 1, 2, 3], [1, 2, 3, 4], None, np.ones(4), directed=False),
        ComputationalGraph(list("abcd"), [0, 1, 2, 3, 0], [1, 2, 3, 0, 2], None, np.ones(5)),
    ],
    ids=["dense", "layered", "undirected", "directed"],
)
def test_every_graph_with_the_degrees_is_equally_likely(graph: ComputationalGraph) -> None:
    allowed = Allowed.of(graph)
    possible = with_same_degrees(graph, allowed)
    assert 2 <= len(possible) <= 60
    draw = wiring(allowed, graph.source, graph.target, graph.directed)
    rng = np.random.default_rng(3)
    drawn = (zip(*map(np.ndarray.tolist, draw(rng)), strict=True) for _ in range(25 * len(possible)))
    counts = Counter(map(frozenset, drawn))
    assert set(counts) <= set(possible)
    assert stats.chisquare([counts[one] for one in possible]).pvalue > 1e-3


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("by_group", [False, True])
def test_the_chain_forgets_its_start_within_a_run(share: float, by_group: bool) -> None:
    graph, _ = layered(transformer(), seed=0, split_qkv=False)
    keep = np.random.default_rng(1).random(graph.n_edges) < share
    chain = Chain.of(Allowed.of(graph), graph.source[keep], graph.target[keep], True, by_group)
    rng = np.random.default_rng(2)
    counts = []
    for _ in range(100):
        chain = chain.run(rng, chain.steps)
        matrix = np.zeros((graph.n_nodes, graph.n_nodes))
        matrix[chain.edges()] = 1
        counts.append(float(((matrix @ matrix) * matrix).sum()))  # feed-forward loops
    centred = np.array(counts) - np.mean(counts)
    assert abs((centred[1:] * centred[:-1]).mean() / centred.var()) < 3.3 / np.sqrt(100)


def test_a_graph_that_is_the_only_one_stays() -> None:
    graph, _ = layered(transformer(), seed=0, split_qkv=False)
    source, target = wiring(Allowed.of(graph), graph.source, graph.target, True)(np.random.default_rng(0))
    assert np.array_equal(np.sort(source * 99 + target), np.sort(graph.source * 99 + graph.target))
    none = np.zeros(0, np.int64)
    assert len(wiring(Allowed.of(graph), none, none, True)(np.random.default_rng(0))[0]) == 0
