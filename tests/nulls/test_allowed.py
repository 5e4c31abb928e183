from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy import stats

from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from compgraph.nulls.allowed import Allowed
from tests.communities.graphs import layered, positive, transformer

GRAPHS = {
    "layered": layered(transformer(n_layers=1, n_heads=3), 0)[0],
    "parallel": layered(transformer(n_layers=2, n_heads=2, parallel=True), 0)[0],
    "directed": ComputationalGraph(list("abcd"), [0], [1], None, [1.0]),
    "undirected": positive(5, 1, 1.0, seed=0),
}


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_counts_are_those_of_the_matrix(graph: ComputationalGraph) -> None:
    allowed = Allowed.of(graph)
    assert allowed.count == allowed.matrix.sum()
    assert np.array_equal(allowed.partners[0], allowed.matrix.sum(axis=1))
    assert np.array_equal(allowed.partners[1], allowed.matrix.sum(axis=0))
    if graph.directed and graph.architecture is not None:
        edges = set(zip(graph.source.tolist(), graph.target.tolist(), strict=True))
        assert edges == set(map(tuple, np.argwhere(allowed.matrix).tolist()))


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_pairs_are_drawn_uniformly_and_once(graph: ComputationalGraph) -> None:
    allowed = Allowed.of(graph)
    possible = np.argwhere(allowed.matrix if graph.directed else np.triu(allowed.matrix)).tolist()
    rng = np.random.default_rng(0)
    everything = allowed.drawn(len(possible), graph.directed, rng)
    assert sorted(zip(*map(np.ndarray.tolist, everything), strict=True)) == sorted(map(tuple, possible))
    assert len({tuple(allowed.drawn(len(possible), graph.directed, rng)[0].tolist()) for _ in range(9)}) > 1
    counts: Counter[tuple[int, int]] = Counter()
    for _ in range(40 * len(possible)):
        counts.update(zip(*map(np.ndarray.tolist, allowed.drawn(2, graph.directed, rng)), strict=True))
    assert stats.chisquare([counts[tuple(pair)] for pair in possible]).pvalue > 1e-3


def test_a_forbidden_edge_is_named() -> None:
    graph = GRAPHS["layered"]
    assert graph.architecture is not None
    wrong = ComputationalGraph(graph.partition, [4], [1], None, [1.0], architecture=graph.architecture)
    with pytest.raises(GraphError, match="the gpt2 architecture allows"):
        Allowed.of(wrong)
