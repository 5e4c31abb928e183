from __future__ import annotations

import json
import math

import igraph
import networkx as nx
import numpy as np
import pytest

from compgraph import catalogue
from compgraph.communities import adjusted_rand, find_communities, louvain
from compgraph.communities.chance import sampler
from compgraph.errors import ConfigError, GraphError
from compgraph.graph import ComputationalGraph
from tests.communities.graphs import groups, layered, positive, transformer, undirected

METHODS = tuple(catalogue.COMMUNITIES)


def test_methods_are_found_by_name() -> None:
    graph = positive(20, 2, 4.0, seed=0)
    by_name = find_communities(graph, "louvain", seed=3, n_runs=2)
    assert np.array_equal(by_name.labels, louvain.find(graph, seed=3, n_runs=2).labels)
    assert by_name.method == "louvain"
    assert find_communities(layered(transformer(), 0)[0], "leiden-layered", n_runs=1).method == "leiden-layered"


def test_an_unknown_method_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'luvain' is not known; valid are .*louvain.*leiden-layered"):
        find_communities(positive(5, 1, 1.0, seed=0), "luvain")


def degenerate() -> dict[str, object]:
    loops = nx.MultiGraph([(0, 0), (0, 1), (0, 1), (1, 2), (2, 2)])
    return {
        "empty": nx.Graph(),
        "no edge": nx.empty_graph(4),
        "single": nx.empty_graph(1),
        "pair": nx.path_graph(2),
        "complete": nx.complete_graph(6),
        "disconnected": nx.disjoint_union(nx.complete_graph(4), nx.complete_graph(3)),
        "isolated": nx.disjoint_union(nx.complete_graph(4), nx.empty_graph(2)),
        "star": nx.star_graph(5),
        "self-loops and multi-edges": loops,
        "zero weights": np.zeros((3, 3)),
        "negative": -np.ones((4, 4)),
        "cancelling": ComputationalGraph(["a", "b"], [0, 0], [1, 1], [0, 1], [1.0, -1.0], channels=("", "q")),
        "directed cycle": nx.cycle_graph(4, create_using=nx.DiGraph),
        "directed, no edge": nx.empty_graph(3, create_using=nx.DiGraph),
    }


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", degenerate())
def test_degenerate_graphs_have_a_defined_result(method: str, name: str) -> None:
    graph = degenerate()[name]
    try:
        found = find_communities(graph, method, n_nulls=5)
    except GraphError as error:
        assert "undirected; use louvain" in str(error)  # a refusal, not a failure
        return
    json.dumps(found.summary(), allow_nan=False)
    assert len(found.to_table()) == len(found.labels)
    if name in ("empty", "no edge", "single", "zero weights", "directed, no edge"):
        assert (found.labels == -1).all()
        assert found.n_beyond_chance is None
        assert found.chance is not None and "no edge with weight" in found.chance.reason
    if name == "complete":
        assert not found.n_beyond_chance
    if name == "disconnected" and method not in ("core-periphery", "spectral"):
        assert adjusted_rand(found.labels, [0] * 4 + [1] * 3) == 1
    if name == "isolated":
        assert (found.labels[4:] == -1).all()
    if name == "self-loops and multi-edges":
        assert "2 self-loops were dropped" in found.notes
        assert "1 parallel edges were added up" in found.notes


def test_graphs_of_other_libraries_give_the_same_communities() -> None:
    karate = nx.karate_club_graph()
    found = [
        find_communities(graph, "leiden", n_nulls=19).labels
        for graph in (karate, igraph.Graph.from_networkx(karate), nx.to_numpy_array(karate))
    ]
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])


def test_planted_communities_are_more_than_chance() -> None:
    graph = positive(40, 4, 4.0, seed=0)
    for method in ("louvain", "leiden", "spectral", "walktrap"):
        found = find_communities(graph if method != "spectral" else positive(40, 4, 7.0, seed=0), method, n_nulls=39)
        assert adjusted_rand(found.labels, groups(40, 4)) > 0.9
        assert (found.p, found.n_beyond_chance) == (1 / 40, found.n)
        assert found.z > 3
    layers, labels = layered(transformer(), seed=0, ratio=4.0, unequal=0.5)
    found = find_communities(layers, "leiden-layered", n_nulls=39)
    assert found.p == 1 / 40 and adjusted_rand(found.labels, labels) > 0.9


def structureless(kind: str, seed: int) -> ComputationalGraph:
    rng = np.random.default_rng(seed)
    if kind == "normal":
        return undirected(30, 1, 0.0, seed, scale=1e-3)
    if kind == "layered":
        return layered(transformer(), seed, unequal=0.5)[0]
    if kind == "layered, sparse":
        graph = layered(transformer(2), seed, split_qkv=False)[0]
        return graph.subgraph(rng.random(graph.n_edges) < 0.3)
    weights = np.exp(rng.normal(size=(30, 30)) + np.add.outer(*[rng.normal(size=30)] * 2))
    if kind == "unequal, sparse":
        weights *= rng.random((30, 30)) < 0.2
    return ComputationalGraph.from_matrix(np.triu(weights, 1) + np.triu(weights, 1).T, drop_zeros=True)


@pytest.mark.parametrize("kind", ["normal", "unequal", "unequal, sparse", "layered", "layered, sparse"])
def test_structureless_graphs_are_said_to_be_so_at_the_nominal_rate(kind: str) -> None:
    method = "leiden-layered" if kind.startswith("layered") else "louvain"
    p = [find_communities(structureless(kind, seed), method, seed, n_nulls=19, n_runs=1).p for seed in range(25)]
    # Of 25 at level 0.05 more than 4 have probability 0.007.
    assert sum(value <= 0.05 for value in p) <= 4
    assert np.mean(p) > 0.35


def test_the_null_is_the_same_however_many_there_are() -> None:
    graph = positive(20, 2, 2.0, seed=0)
    few, many = (find_communities(graph, n_nulls=k).chance for k in (4, 8))
    assert few is not None and many is not None
    assert np.array_equal(few.nulls, many.nulls[:4])


def test_the_number_of_workers_changes_nothing() -> None:
    graph = positive(20, 2, 2.0, seed=0)
    one, two = (find_communities(graph, n_nulls=6, workers=workers).chance for workers in (1, 2))
    assert one is not None and two is not None
    assert np.array_equal(one.nulls, two.nulls)
    with pytest.raises(ValueError, match="workers must be at least 1"):
        find_communities(graph, workers=0)


def test_a_rewired_graph_is_structureless() -> None:
    planted = positive(40, 4, 6.0, seed=0).top(200)
    draw = sampler(planted, "strength", 1)
    p = [find_communities(draw(np.random.default_rng(k)), seed=k, n_nulls=19, n_runs=1).p for k in range(20)]
    assert sum(value <= 0.05 for value in p) <= 4
    assert find_communities(planted, n_nulls=39).p == 1 / 40


def test_given_null_graphs_are_what_is_compared_with() -> None:
    graph, *others = (positive(20, 2, 3.0 if seed == 0 else 1.0, seed=seed) for seed in range(6))
    found = find_communities(graph, "leiden", null="network", null_graphs=others)
    assert found.chance is not None and found.chance.null == "network"
    alone = [find_communities(one, "leiden", n_runs=1, n_nulls=0).quality for one in others]
    assert found.chance.nulls == pytest.approx(alone)
    assert found.p == 1 / 6
    for options in ({"null": "network"}, {"null_graphs": others}):
        with pytest.raises(ConfigError, match="network needs them"):
            find_communities(graph, **options)


def test_large_graphs_are_compared_with_chance_too() -> None:
    n = 4000
    rng = np.random.default_rng(0)
    group = np.arange(n) % 4
    u, v = np.sort(rng.integers(n, size=(2, 60_000)), axis=0)
    cells = np.unique((u * n + v)[(u < v) & (rng.random(60_000) < np.where(group[u] == group[v], 1.0, 0.15))])
    graph = ComputationalGraph(
        [f"n{k}" for k in range(n)], cells // n, cells % n, None, np.ones(len(cells)), directed=False
    )
    found = find_communities(graph, "leiden", n_nulls=3, n_runs=1)
    assert found.p == 1 / 4 and found.z > 3
    assert adjusted_rand(found.labels, group) > 0.9


def test_without_nulls_nothing_is_said() -> None:
    found = find_communities(positive(10, 2, 4.0, seed=0), n_nulls=0)
    assert found.chance is None and math.isnan(found.p) and found.n_beyond_chance is None


def test_settings_that_mean_nothing_are_refused() -> None:
    graph = positive(5, 1, 1.0, seed=0)
    with pytest.raises(ConfigError, match="'rewired' is not known; valid are strength, pairs, network"):
        find_communities(graph, null="rewired")
    with pytest.raises(ValueError, match="n_nulls must be at least 0"):
        find_communities(graph, n_nulls=-1)


def test_weights_too_unequal_to_scale_give_one_community_and_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compgraph.communities.modularity.MAX_STEPS", 1)
    graph = layered(transformer(), seed=0, unequal=1.0)[0]
    for method in ("leiden-layered", "spectral"):
        found = find_communities(graph, method, n_nulls=2)
        assert math.isnan(found.quality) and found.n == 1
        assert "too unequal to scale" in found.notes[0]
        assert found.chance is not None and found.chance.reason == "the quality is undefined"
        assert json.loads(json.dumps(found.summary(), allow_nan=False))["quality"] is None
