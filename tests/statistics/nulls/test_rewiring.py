from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from compgraph.architecture import Architecture
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition
from compgraph.statistics.measures.loops import feedforward_loops
from compgraph.statistics.nulls.rewiring import Chain, level_pair_swap, swap
from compgraph.statistics.nulls.sampling import edge_weights
from compgraph.statistics.view import UndefinedError, View, view
from tests.communities.graphs import layered, transformer
from tests.statistics.graphs import cyclic, scores, sparse, thinned

GRAPHS = {
    "sparse": lambda: thinned(0.2),
    "half": lambda: thinned(0.5),
    "dense": lambda: thinned(0.8),
    "parallel": lambda: thinned(0.4, parallel=True),
    "cyclic": lambda: view(cyclic()),
    "undirected": lambda: view(sparse()),
}


def degrees(seen: View) -> tuple[list[int], list[int]]:
    source, target, _ = seen.ordered
    n = seen.n_nodes
    return np.bincount(source, minlength=n).tolist(), np.bincount(target, minlength=n).tolist()


def cells(seen: View) -> set[tuple[int, int]]:
    return set(zip(seen.source.tolist(), seen.target.tolist(), strict=True))


@pytest.mark.parametrize("make", GRAPHS.values(), ids=GRAPHS)
def test_swap_keeps_degrees_weights_and_what_is_allowed(make) -> None:
    seen = make()
    drawn = swap(seen)(np.random.default_rng(0))
    assert degrees(drawn) == degrees(seen)
    assert drawn.allowed.has(drawn.source, drawn.target).all()
    assert np.array_equal(np.sort(drawn.signed), np.sort(edge_weights(seen)))
    assert cells(drawn) != cells(seen)
    if seen.kind != "undirected":
        assert drawn.out_strength == pytest.approx(seen.out_strength, rel=1e-12)


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_level_pair_swap_keeps_the_edges_between_sites_too(share: float) -> None:
    seen = thinned(share)
    drawn = level_pair_swap(seen)(np.random.default_rng(0))
    assert degrees(drawn) == degrees(seen)
    assert cells(drawn) != cells(seen)

    def table(one: View) -> Counter[tuple[int, int]]:
        group = one.allowed.group
        return Counter(zip(group[one.source].tolist(), group[one.target].tolist(), strict=True))

    assert table(drawn) == table(seen)
    assert table(swap(seen)(np.random.default_rng(0))) != table(seen)


def with_same_degrees(seen: View) -> list[frozenset[tuple[int, int]]]:
    """Every graph on the allowed pairs with the degrees of this one, by trying all."""
    allowed = np.argwhere(np.triu(seen.allowed.matrix) if seen.kind == "undirected" else seen.allowed.matrix).tolist()
    found = []
    for chosen in itertools.combinations(allowed, seen.n_edges):
        edges = np.array(chosen)
        if degrees(seen.with_edges(edges[:, 0], edges[:, 1], np.ones(len(edges)))) == degrees(seen):
            found.append(frozenset(map(tuple, chosen)))
    return found


def small_layered(edges: list[tuple[int, int]]) -> View:
    architecture: Architecture = transformer(n_layers=1, n_heads=3)
    source, target = np.array(edges).T
    nodes, ones = Partition.heads(architecture), np.ones(len(edges))
    return view(ComputationalGraph(nodes, source, target, None, ones, architecture=architecture))


@pytest.mark.parametrize(
    "seen",
    [
        small_layered([(0, 1), (0, 4), (1, 5), (2, 4), (2, 5), (3, 4), (0, 2), (0, 3)]),
        small_layered([(0, 1), (1, 4), (2, 5), (0, 5)]),
        view(ComputationalGraph(list("abcde"), [0, 1, 2, 3], [1, 2, 3, 4], None, np.ones(4), directed=False)),
        view(ComputationalGraph(list("abcd"), [0, 1, 2, 3, 0], [1, 2, 3, 0, 2], None, np.ones(5))),
    ],
    ids=["dense", "layered", "undirected", "directed"],
)
def test_every_graph_with_the_degrees_is_equally_likely(seen: View) -> None:
    possible = with_same_degrees(seen)
    assert 2 <= len(possible) <= 60
    draw = swap(seen)
    rng = np.random.default_rng(3)
    counts = Counter(frozenset(cells(draw(rng))) for _ in range(25 * len(possible)))
    assert set(counts) <= set(possible)
    observed = [counts[one] for one in possible]
    assert stats.chisquare(observed).pvalue > 1e-3


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("by_level", [False, True])
def test_the_chain_forgets_its_start_within_a_run(share: float, by_level: bool) -> None:
    graph, _ = layered(transformer(), seed=0, split_qkv=False)
    seen = view(graph.subgraph(np.random.default_rng(1).random(graph.n_edges) < share))
    chain = Chain.of(seen, by_level)
    rng = np.random.default_rng(2)
    counts = []
    for _ in range(100):
        chain = chain.run(rng, chain.steps)
        source, target = chain.edges()
        counts.append(feedforward_loops(seen.with_edges(source, target, np.ones(len(source))), 0))
    centred = np.array(counts) - np.mean(counts)
    assert abs((centred[1:] * centred[:-1]).mean() / centred.var()) < 3.3 / np.sqrt(100)


def test_a_complete_graph_has_no_other() -> None:
    with pytest.raises(UndefinedError, match="changes nothing"):
        swap(scores())
    with pytest.raises(UndefinedError, match="no levels to keep"):
        level_pair_swap(view(sparse()))


@pytest.mark.parametrize("n_edges", [1, 2])
def test_one_or_two_edges(n_edges: int) -> None:
    seen = view(ComputationalGraph(list("abcd"), [0, 2][:n_edges], [1, 3][:n_edges], None, [1.0, -2.0][:n_edges]))
    assert {len(cells(swap(seen)(np.random.default_rng(seed)))) for seed in range(5)} == {n_edges}
