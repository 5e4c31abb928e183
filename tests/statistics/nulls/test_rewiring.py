from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from compgraph.graph import ComputationalGraph
from compgraph.statistics.nulls.rewiring import level_pair_swap, swap, swap_effects
from compgraph.statistics.nulls.sampling import edge_weights
from compgraph.statistics.view import UndefinedError, View, view
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


@pytest.mark.parametrize("make", GRAPHS.values(), ids=GRAPHS)
def test_swap_effects_keeps_degrees_and_signs_and_strong_nodes_strong(make) -> None:
    seen = make()
    draw = swap_effects(seen)
    drawn = [draw(np.random.default_rng(k)) for k in range(40)]
    assert all(degrees(one) == degrees(seen) for one in drawn)
    assert (drawn[0].signed < 0).sum() == (seen.signed < 0).sum()
    assert cells(drawn[0]) != cells(seen)
    mean = np.mean([one.out_strength for one in drawn], axis=0)
    assert np.corrcoef(mean, seen.out_strength)[0, 1] > 0.8


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


def test_a_complete_graph_has_no_other() -> None:
    with pytest.raises(UndefinedError, match="changes nothing"):
        swap(scores())
    with pytest.raises(UndefinedError, match="no levels to keep"):
        level_pair_swap(view(sparse()))


@pytest.mark.parametrize("n_edges", [1, 2])
def test_one_or_two_edges(n_edges: int) -> None:
    seen = view(ComputationalGraph(list("abcd"), [0, 2][:n_edges], [1, 3][:n_edges], None, [1.0, -2.0][:n_edges]))
    assert {len(cells(swap(seen)(np.random.default_rng(seed)))) for seed in range(5)} == {n_edges}
