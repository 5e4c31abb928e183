"""Comparing graphs: each measure against its definition, and the null on graphs that share nothing but depth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import adjusted_mutual_info_score

from compgraph.architecture import transformer_architecture
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition
from compgraph.statistics.compare import CommonEdges, _communities, compare_all, compare_graphs

NET = transformer_architecture("gpt2", n_layers=3, n_heads=6, d_head=2, d_model=12, d_mlp=24, vocabulary=30)
HEADS = Partition.heads(NET)


def by_depth(seed: int, strength: float = 1.5) -> ComputationalGraph:
    """An effective graph whose weights depend on depth and on chance."""
    rng = np.random.default_rng(seed)
    bare = ComputationalGraph.from_architecture(NET, HEADS)
    level = bare.node_columns["level"]
    scale = np.exp(-strength * (level[bare.target] - level[bare.source]) / 3)
    weight = scale * rng.lognormal(size=bare.n_edges) * rng.choice([-1, 1], bare.n_edges)
    return ComputationalGraph.from_architecture(NET, HEADS, weight, kind="effective")


def correlations(seed: int, like: ComputationalGraph | None = None) -> ComputationalGraph:
    """A functional graph over all pairs; like another graph where that has edges."""
    rng = np.random.default_rng(seed)
    n = HEADS.n_nodes
    matrix = rng.uniform(0, 0.2, size=(n, n))
    if like is not None:
        np.add.at(matrix, (like.source, like.target), np.abs(like.weight))
    matrix = np.triu(matrix, 1)
    columns = HEADS.nodes(NET)
    return ComputationalGraph.from_matrix(matrix + matrix.T, nodes=columns, kind="functional", architecture=NET)


def value(table, measure: str, column: str = "value") -> float:
    return float(table.set_index("measure").loc[measure, column])


def test_common_edges_of_a_directed_and_an_undirected_graph() -> None:
    effective, functional = by_depth(0), correlations(1)
    pair = CommonEdges.of(effective, functional)
    sums = effective.edges.assign(weight=effective.edges["weight"].abs()).groupby(["source", "target"], observed=True)
    totals = sums["weight"].sum()
    for s, t, w in zip(pair.source, pair.target, pair.values[0], strict=True):
        ends = {pair.names[s], pair.names[t]}
        found = [x for (u, v), x in totals.items() if {u, v} == ends]
        assert found == [pytest.approx(w)]
    assert len(totals) == len(pair.source)


def test_measures_by_definition() -> None:
    a, b = by_depth(0), correlations(1, like=by_depth(0))
    table = compare_graphs(a, b, n_nulls=0, top=0.2)
    pair = CommonEdges.of(a, b)
    x, y = pair.values
    assert value(table, "rank") == pytest.approx(spearmanr(x, y).statistic)
    k = round(0.2 * len(x))
    first, second = set(np.argsort(-x)[:k]), set(np.argsort(-y)[:k])
    assert value(table, "top_overlap") == pytest.approx(len(first & second) / len(first | second))
    labels = [_communities(pair.spread(np.abs(v)), 0) for v in (x, y)]
    assert value(table, "blocks") == pytest.approx(adjusted_mutual_info_score(*labels))
    assert table["n_pairs"].tolist() == [len(x)] * 6
    assert set(table["reason"]) == {
        "no relabellings were asked for",
        "it does not depend on which node is which, so that relabelling cannot change it",
    }


def test_a_graph_is_like_itself() -> None:
    graph = by_depth(2)
    table = compare_graphs(graph, graph, n_nulls=99)
    for measure in ("rank", "rank_by_layers", "top_overlap", "subspace", "blocks"):
        assert value(table, measure) == pytest.approx(1)
    assert value(table, "spectral_distance") == 0
    assert (table["p"].dropna() <= 0.02).sum() >= 4


def test_depth_alone_makes_graphs_correlate_and_the_null_sees_through_it() -> None:
    found = [compare_graphs(by_depth(2 * k, 3), by_depth(2 * k + 1, 3), n_nulls=99, seed=k) for k in range(40)]
    assert np.mean([value(table, "rank") for table in found]) > 0.2
    assert abs(np.mean([value(table, "rank_by_layers") for table in found])) < 0.05
    for measure in ("rank", "rank_by_layers", "subspace"):
        rejected = np.mean([value(table, measure, "p") <= 0.05 for table in found])
        assert rejected <= 0.15, measure


def test_a_planted_likeness_is_found_between_kinds() -> None:
    a = by_depth(0, 3)
    table = compare_graphs(a, correlations(1, like=a), n_nulls=199)
    assert value(table, "rank", "z") > 5 and value(table, "rank_by_layers", "z") > 5
    assert value(table, "rank", "p") == pytest.approx(0.01)
    again = compare_graphs(a, correlations(1, like=a), n_nulls=199)
    assert again.equals(table)


def test_three_graphs_make_three_pairs_and_one_is_refused() -> None:
    graphs = {"effective.e": by_depth(0), "functional.f": correlations(1), "structural.s": by_depth(3)}
    table = compare_all(graphs, n_nulls=19)
    assert table.groupby(["a", "b"], sort=False).ngroups == 3 and len(table) == 18
    assert table.columns[:2].tolist() == ["a", "b"]
    with pytest.raises(GraphError, match="1 graphs are given; at least 2"):
        compare_all({"effective.e": by_depth(0)})


def test_modules_cannot_be_relabelled() -> None:
    part = Partition.modules(NET)
    graph = ComputationalGraph.from_architecture(NET, part, split_qkv=False)
    table = compare_graphs(graph, graph, n_nulls=9)
    assert np.isnan(value(table, "rank"))
    assert "weigh the same" in table["reason"][0]
    rng = np.random.default_rng(0)
    graph = ComputationalGraph.from_architecture(NET, part, rng.normal(size=graph.n_edges), split_qkv=False)
    assert "no site has two of the nodes" in compare_graphs(graph, graph, n_nulls=9)["reason"][0]


def test_bad_input() -> None:
    graph = by_depth(0)
    with pytest.raises(GraphError, match=r"1 nodes in common .* make both over the same partition"):
        compare_graphs(graph, ComputationalGraph.from_matrix(np.ones((3, 3)), names=["embed", "x", "y"]))
    with pytest.raises(GraphError, match=r"top 0 is out of range"):
        compare_graphs(graph, graph, top=0)
    with pytest.raises(GraphError, match="weights 'rank' is not known"):
        compare_graphs(graph, graph, weights="rank")  # type: ignore[arg-type]
