from __future__ import annotations

import igraph
import networkx as nx
import numpy as np
import pytest
from scipy import stats

from compgraph import catalogue
from compgraph.errors import ConfigError
from compgraph.graph import ComputationalGraph
from compgraph.statistics import network_statistics
from compgraph.statistics.testing import COLUMNS, effective_number
from tests.communities.graphs import layered, positive, transformer, undirected


def test_one_row_a_measure_in_the_order_asked_for() -> None:
    graph, _ = layered(transformer(), seed=0)
    asked = ["span", "gini", "modularity"]
    table = network_statistics(graph, asked, n_nulls=9)
    assert tuple(table.columns) == COLUMNS
    assert table["measure"].tolist() == asked
    every = network_statistics(graph, n_nulls=3)
    assert every["measure"].tolist() == list(catalogue.STATISTICS)


def test_communities_are_more_than_strengths_explain() -> None:
    graph, _ = layered(transformer(), seed=1, ratio=4.0, unequal=0.5)
    row = network_statistics(graph, ["modularity"], null="strength", n_nulls=59).iloc[0]
    assert row["z"] > 4
    assert row["p"] == pytest.approx(2 / 60)
    assert row["value"] > row["high"] > row["null_mean"] > row["low"]
    assert row["reason"] == ""


def test_structureless_graphs_are_not_rejected_too_often() -> None:
    p = []
    for seed in range(16):
        graph, _ = layered(transformer(n_layers=2, n_heads=4), seed=seed, unequal=1.0, split_qkv=False)
        names = ["modularity", "assortativity", "trophic_incoherence"]
        p.append(network_statistics(graph, names, null="strength", n_nulls=39, seed=seed)["p"])
    assert (np.array(p) <= 0.05).mean() < 0.15
    assert np.mean(p) > 0.35


def test_p_counts_the_nulls_and_adds_one() -> None:
    table = network_statistics(positive(16, 2, 1.0, seed=2), ["clustering"], null="weights", n_nulls=19)
    row = table.iloc[0]
    times = row["p"] * 20 / 2
    assert times == pytest.approx(round(times))
    assert row["p"] >= 0.1
    assert row["n_nulls"] == 19


def test_what_the_null_keeps_has_no_p_and_says_so() -> None:
    graph, _ = layered(transformer(), seed=3)
    table = network_statistics(graph, ["strength_gini", "span", "density"], null="strength", n_nulls=5)
    assert table[["z", "p", "q"]].isna().all(axis=None)
    assert (table["null_sd"] == 0).all()
    assert (table["reason"] == "the null model keeps this measure as it is").all()
    assert np.allclose(table["value"], table["null_mean"])


def test_measures_that_mean_nothing_are_refused_with_the_reason() -> None:
    table = network_statistics(undirected(12, 1, 0.0, seed=0), ["span", "clustering"], n_nulls=5)
    span, clustering = table.iloc[0], table.iloc[1]
    assert np.isnan(span["value"])
    assert span["reason"] == "undirected graph: needs the levels of an architecture"
    assert span["n_nulls"] == 0
    assert clustering["reason"] == ""
    reasons = network_statistics(layered(transformer(), 0)[0], ["clustering"], n_nulls=3)["reason"]
    assert reasons[0].startswith("layered graph: directed triangles")


def test_a_cut_graph_is_not_compared_with_strengths() -> None:
    graph, _ = layered(transformer(), seed=4)
    cut = graph.top(60)
    row = network_statistics(cut, ["modularity"], null="strength", n_nulls=5).iloc[0]
    assert np.isfinite(row["value"])
    assert np.isnan(row["p"])
    assert "only the strongest edges" in row["reason"]
    assert np.isfinite(network_statistics(cut, ["modularity"], null="weights", n_nulls=5)["p"][0])


@pytest.mark.parametrize(
    "graph",
    [
        ComputationalGraph([], [], [], None, []),
        ComputationalGraph(["a"], [], [], None, [], directed=False),
        ComputationalGraph(["a", "b", "c"], [0], [1], None, [0.0], directed=False),
        layered(transformer(), 0)[0].subgraph(np.zeros(layered(transformer(), 0)[0].n_edges, bool)),
    ],
    ids=["empty", "one node", "weight zero", "no edge"],
)
def test_graphs_without_weight_have_reasons_instead_of_numbers(graph: ComputationalGraph) -> None:
    table = network_statistics(graph, n_nulls=3)
    assert table["value"].isna().all()
    assert (table["reason"] != "").all()


def test_graphs_of_other_libraries_have_the_same_numbers() -> None:
    karate = nx.karate_club_graph()
    tables = [
        network_statistics(graph, null="weights", n_nulls=9)
        for graph in (karate, igraph.Graph.from_networkx(karate), nx.to_numpy_array(karate))
    ]
    assert tables[0].equals(tables[1]) and tables[0].equals(tables[2])
    assert np.isfinite(tables[0]["p"]).sum() > 12


def test_self_loops_are_dropped_and_parallel_edges_added_up() -> None:
    loops = nx.MultiGraph([(0, 0), (0, 1), (0, 1), (1, 2), (2, 3), (3, 0), (2, 2), (0, 2)])
    plain = nx.Graph([(0, 1, {"weight": 2.0}), (1, 2), (2, 3), (3, 0), (0, 2)])
    one, other = (network_statistics(graph, null="weights", n_nulls=5) for graph in (loops, plain))
    assert one.equals(other)


@pytest.mark.parametrize("null", [name for name in catalogue.NULLS if name != "network"])
def test_disconnected_and_tiny_graphs_do_not_fail(null: str) -> None:
    graph = ComputationalGraph(
        [f"n{k}" for k in range(6)], [0, 1, 3], [1, 2, 4], None, [1.0, -2.0, 3.0], directed=False
    )
    table = network_statistics(graph, null=null, n_nulls=5)
    assert np.isfinite(table.set_index("measure").loc["modularity", "value"])


def test_the_same_seed_gives_the_same_table_and_more_nulls_only_add() -> None:
    graph, _ = layered(transformer(n_layers=2), seed=5)
    tables = [network_statistics(graph, ["modularity", "gini"], n_nulls=9, seed=3) for _ in range(2)]
    assert tables[0].equals(tables[1])
    other = network_statistics(graph, ["modularity", "gini"], n_nulls=9, seed=4)
    assert not tables[0]["null_mean"].equals(other["null_mean"])


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    graph = positive(6, 1, 1.0, seed=0)
    with pytest.raises(ConfigError, match=r"measure 'ginny' is not known; valid are .*gini"):
        network_statistics(graph, ["ginny"])
    with pytest.raises(ConfigError, match="null model 'rewire' is not known; valid are effects, strength, weights"):
        network_statistics(graph, null="rewire")
    with pytest.raises(ValueError, match="n_nulls"):
        network_statistics(graph, n_nulls=-1)


def test_measures_alone() -> None:
    row = network_statistics(positive(10, 1, 1.0, seed=0), ["gini"], n_nulls=0).iloc[0]
    assert np.isfinite(row["value"])
    assert np.isnan(row["p"])
    assert row["reason"] == "no null graphs were asked for"


DEGENERATE = {
    "disconnected": ComputationalGraph(
        [f"n{k}" for k in range(9)], [0, 1, 2, 5], [1, 2, 0, 6], None, [1.0, -2.0, 0.5, 3.0], directed=False
    ),
    "one edge": ComputationalGraph(["a", "b"], [0], [1], None, [-1.0]),
    "equal and complete": ComputationalGraph.from_matrix(np.ones((6, 6))),
    "negative": ComputationalGraph.from_matrix(-np.ones((6, 6)) - np.eye(6)),
    "channels that cancel": ComputationalGraph(
        ["a", "b", "c"], [0, 0, 1], [1, 1, 2], [0, 1, 0], [1.0, -1.0, 2.0], channels=("q", "k")
    ),
    "huge range": ComputationalGraph(
        list("abcde"), [0, 0, 1, 2, 3], [1, 2, 3, 3, 4], None, [1e-12, 1.0, 1e12, 1.0, 1e-12], directed=False
    ),
    "layered, thin": layered(transformer(), 0)[0].subgraph(np.arange(layered(transformer(), 0)[0].n_edges) % 41 == 0),
}


@pytest.mark.parametrize("graph", DEGENERATE.values(), ids=DEGENERATE)
@pytest.mark.parametrize("null", [name for name in catalogue.NULLS if name != "network"])
def test_degenerate_graphs_give_a_value_or_a_reason(graph: ComputationalGraph, null: str) -> None:
    table = network_statistics(graph, null=null, n_nulls=4)
    assert np.isfinite(table["value"]).sum() >= 6
    without = table["p"].isna()
    assert (table.loc[without, "reason"] != "").all()
    assert (table.loc[~without, "reason"] == "").all()


def test_the_number_of_workers_changes_nothing() -> None:
    graph, _ = layered(transformer(n_layers=2), seed=6)
    names = ["modularity", "trophic_incoherence", "loop_intensity", "effective_rank"]
    one, two = (network_statistics(graph, names, n_nulls=11, seed=2, workers=workers) for workers in (1, 2))
    assert one.equals(two)


def test_given_null_graphs_are_what_is_compared_with() -> None:
    graph, *others = (layered(transformer(n_layers=2), seed=seed)[0] for seed in range(8))
    row = network_statistics(graph, ["gini"], null="network", null_graphs=others).iloc[0]
    values = [network_statistics(one, ["gini"], n_nulls=0)["value"][0] for one in others]
    assert row["n_nulls"] == 7
    assert row["null_mean"] == pytest.approx(np.mean(values))
    assert row["median"] == pytest.approx(np.median(values))
    with pytest.raises(ConfigError, match="network needs them"):
        network_statistics(graph, null="network")
    with pytest.raises(ConfigError, match="network needs them"):
        network_statistics(graph, null="weights", null_graphs=others)


def test_effective_number_of_dependent_nulls() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=20_000)
    assert effective_number(noise) == pytest.approx(20_000, rel=0.1)
    dependent = np.empty_like(noise)
    dependent[0] = noise[0]
    for step in range(1, len(noise)):
        dependent[step] = 0.8 * dependent[step - 1] + noise[step]
    assert effective_number(dependent) == pytest.approx(20_000 * 0.2 / 1.8, rel=0.2)  # (1 - r) / (1 + r)
    assert effective_number(np.array([1.0, 2.0])) == 2


def unstructured(kind: str, seed: int) -> ComputationalGraph:
    """Graphs that the null of their test draws from."""
    rng = np.random.default_rng(seed)
    if kind in ("lognormal", "exponential"):
        architecture = transformer(n_layers=2, n_heads=4)
        empty = layered(architecture, 0, split_qkv=False)[0]
        n = empty.n_edges
        drawn = rng.lognormal(sigma=1.5, size=n) if kind == "lognormal" else rng.exponential(size=n)
        weight = drawn * 10.0 ** rng.integers(-6, 7)
        return ComputationalGraph(empty.partition, empty.source, empty.target, None, weight, architecture=architecture)
    if kind == "layered":
        graph = layered(transformer(n_layers=2, n_heads=4), seed=seed, split_qkv=False)[0]
        return graph.subgraph(rng.random(graph.n_edges) < 0.4)
    if kind == "hubs":
        effect = rng.normal(size=24)
        weights = rng.lognormal(size=(24, 24)) * np.exp(effect[:, None] + effect) * (rng.random((24, 24)) < 0.25)
        return ComputationalGraph.from_matrix(np.triu(weights, 1) + np.triu(weights, 1).T, drop_zeros=True)
    weights = np.triu(rng.normal(size=(14, 14)) * (rng.random((14, 14)) < 0.5), 1)
    return ComputationalGraph.from_matrix(weights + weights.T, drop_zeros=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "null"),
    [
        ("lognormal", "weights"),
        ("lognormal", "effects"),
        ("layered", "swap"),
        ("layered", "level-pair-swap"),
        ("undirected", "weights"),
        ("undirected", "swap"),
        ("undirected", "strength"),
        ("undirected", "effects"),
        ("exponential", "effects"),
        ("undirected", "swap-effects"),
        ("layered", "swap-effects"),
        ("hubs", "swap-effects"),
    ],
)
def test_structureless_graphs_are_rejected_at_the_nominal_rate(kind: str, null: str) -> None:
    trials = 60 if null in ("effects", "strength") else 16
    names = [name for name in catalogue.STATISTICS if name not in ("small_worldness", "log_paths")]
    rejected: dict[str, list[bool]] = {}
    for seed in range(trials):
        table = network_statistics(unstructured(kind, seed), names, null=null, n_nulls=39, seed=seed)
        for name, p in zip(table["measure"], table["p"], strict=True):
            if np.isfinite(p):
                rejected.setdefault(name, []).append(p <= 0.05)
    assert len(rejected) >= 6
    rates = {name: np.mean(found) for name, found in rejected.items()}
    # Largest number of rejections at rate 0.05 that chance exceeds once in 10,000, for each measure.
    for name, found in rejected.items():
        assert sum(found) <= stats.binom.ppf(1 - 1e-4, len(found), 0.05), (name, rates)
    assert np.mean(list(rates.values())) < 0.09


def test_auto_is_effects() -> None:
    for graph in (layered(transformer(), 0)[0], undirected(9, 1, 0.0, seed=0)):
        table = network_statistics(graph, ["modularity"], n_nulls=3)
        assert table["null"][0] == "effects"
        assert table.equals(network_statistics(graph, ["modularity"], null="effects", n_nulls=3))
