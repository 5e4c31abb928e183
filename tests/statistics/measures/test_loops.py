from __future__ import annotations

import itertools

import networkx as nx
import numpy as np
import pytest

from compgraph.graph import ComputationalGraph
from compgraph.statistics.measures import loops, paths
from compgraph.statistics.view import UndefinedError, View, view
from tests.communities.graphs import chain
from tests.statistics.graphs import correlations, cyclic, scores, sparse, thinned, whole


def two_paths(seen: View) -> list[tuple[int, int, int]]:
    """u -> v -> w with u -> w allowed, one by one."""
    edge, allowed = seen.dense() > 0, seen.allowed.matrix
    triples = itertools.permutations(range(seen.n_nodes), 3)
    return [(u, v, w) for u, v, w in triples if edge[u, v] and edge[v, w] and allowed[u, w]]


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("make", [lambda: thinned(0.4), lambda: thinned(0.4, parallel=True), lambda: view(cyclic())])
def test_loops_are_those_counted_one_by_one(make, dense: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "DENSE_NODES", 10**6 if dense else 0)
    seen = make()
    signed, size, every = seen.dense(seen.signed), seen.dense(), two_paths(seen)
    closed = [(u, v, w) for u, v, w in every if size[u, w] > 0]
    assert loops.feedforward_loops(seen, 0) == pytest.approx(len(closed) / len(every), abs=1e-12)
    means = [np.cbrt(size[u, v] * size[v, w] * size[u, w]) for u, v, w in closed]
    expected = sum(means) / len(every) / np.cbrt(seen.magnitude).mean() ** 3
    assert loops.loop_intensity(seen, 0) == pytest.approx(expected, abs=1e-9)
    same = [signed[u, v] * signed[v, w] * signed[u, w] > 0 for u, v, w in closed]
    assert loops.coherent_loops(seen, 0) == pytest.approx(np.mean(same), abs=1e-12)


def test_loops_of_a_layered_graph_are_igraphs_transitive_triads() -> None:
    seen = thinned(0.4)
    census = seen.igraph().triad_census()
    assert loops.closed(seen, np.ones(seen.n_edges)) == getattr(census, "t030T", census[8])


def test_a_chain_has_no_room_for_loops() -> None:
    with pytest.raises(UndefinedError, match="closed by a third"):
        loops.feedforward_loops(whole(chain()), 0)


def test_every_loop_of_a_complete_graph_is_closed() -> None:
    assert loops.feedforward_loops(scores(), 0) == 1


def test_clustering_and_transitivity_equal_networkx_and_igraph() -> None:
    graph, seen = sparse().to_networkx(), view(sparse())
    assert loops.clustering(seen, 0) == pytest.approx(nx.average_clustering(graph, weight="weight"), abs=1e-9)
    assert loops.transitivity(seen, 0) == pytest.approx(nx.transitivity(graph), abs=1e-9)
    expected = sparse().to_igraph().transitivity_undirected()
    assert loops.transitivity(seen, 0) == pytest.approx(expected, abs=1e-9)


def test_balance_is_counted_over_triangles() -> None:
    seen = correlations()
    signs = np.sign(seen.dense(seen.signed))
    triples = itertools.combinations(range(seen.n_nodes), 3)
    expected = np.mean([signs[u, v] * signs[v, w] * signs[u, w] > 0 for u, v, w in triples])
    assert loops.balance(seen, 0) == pytest.approx(expected, abs=1e-12)
    with pytest.raises(UndefinedError, match="no negative weight"):
        loops.balance(view(sparse()), 0)


def test_small_worldness_multiplies() -> None:
    seen = view(sparse())
    assert loops.small_worldness(seen, 0) == pytest.approx(loops.clustering(seen, 0) * paths.efficiency(seen, 0))


def test_signs_without_loops_are_undefined() -> None:
    path = ComputationalGraph(["a", "b", "c"], [0, 1], [1, 2], None, [1.0, -1.0])
    with pytest.raises(UndefinedError, match="no feed-forward loop"):
        loops.coherent_loops(view(path), 0)
