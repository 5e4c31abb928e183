"""Lorenz curves and Gini coefficients against their definitions, of whole graphs and of those that keep some edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compgraph.connectivity.effective import effective_connectivity
from compgraph.evaluation.concentration import Sizes, inequality, lorenz_curves, sizes_of
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition
from tests.connectivity.effective.test_eap import make_pairs
from tests.models.tiny import tiny_network


@pytest.fixture(scope="module")
def graphs() -> tuple[ComputationalGraph, ComputationalGraph]:
    """The same scores: all of them, and the 40 strongest with the sums of all."""
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs(n=8)
    part = Partition.heads(net)
    return effective_connectivity(net, pairs, part), effective_connectivity(net, pairs, part, keep_overall=40)


def test_the_strongest_carry_what_a_loop_adds_up(graphs: tuple[ComputationalGraph, ComputationalGraph]) -> None:
    whole, _ = graphs
    table = lorenz_curves(whole)
    weights = sorted(np.abs(whole.weight), reverse=True)
    own = {name: 0.0 for name in whole.node_names}
    for source, weight in zip(whole.source, whole.weight, strict=True):
        own[whole.node_names[source]] += weight
    nodes = sorted((abs(own[name]) for name in own if name != "logits"), reverse=True)
    for of, values in (("edges", weights), ("nodes", nodes)):
        for row in table[table["of"] == of].itertuples():
            assert row.carried == pytest.approx(sum(values[: row.n]) / sum(values))
            assert row.share == pytest.approx(row.n / len(values))
        mean = np.mean(values)
        pairs = np.abs(np.subtract.outer(values, values)).mean() / (2 * mean)
        found = inequality(whole).set_index("of").loc[of]
        assert found["gini"] == pytest.approx(pairs)
        assert found["total"] == pytest.approx(sum(values))
    assert table["p"].isna().all()


def test_kept_edges_count_among_all_that_were_scored(graphs: tuple[ComputationalGraph, ComputationalGraph]) -> None:
    whole, some = graphs
    assert some.n_edges < whole.n_edges
    share = np.array([0.01, 40 / whole.n_edges, 1.0])
    found, expected = sizes_of(some, "edges").carried(share), sizes_of(whole, "edges").carried(share)
    np.testing.assert_allclose(found[:2], expected[:2], rtol=1e-9)
    assert np.isnan(found[2]) and np.isnan(sizes_of(some, "edges").gini)
    np.testing.assert_allclose(sizes_of(some, "nodes").known, sizes_of(whole, "nodes").known, rtol=1e-9)


def test_equal_and_single_scores_are_the_ends() -> None:
    equal, single = Sizes(np.ones(10), 10, 10.0), Sizes(np.array([3.0, 0, 0, 0]), 4, 3.0)
    assert equal.gini == pytest.approx(0) and single.gini == pytest.approx(0.75)
    np.testing.assert_allclose(equal.carried(np.array([0.05, 0.3, 1.0])), [0.05, 0.3, 1.0])
    np.testing.assert_allclose(single.carried(np.array([0.125, 0.25])), [0.5, 1.0])
    assert np.isnan(Sizes(np.zeros(3), 3, 0.0).carried(np.array([1.0]))).all()


def test_random_graphs_are_the_null(graphs: tuple[ComputationalGraph, ComputationalGraph]) -> None:
    whole, _ = graphs
    rng = np.random.default_rng(0)
    others = [
        ComputationalGraph(
            whole.node_names, whole.source, whole.target, whole.channel, rng.permutation(whole.weight),
            channels=whole.channels,
        )
        for _ in range(3)
    ]  # fmt: skip
    edges = lorenz_curves(whole, others).query("of == 'edges'")
    np.testing.assert_allclose(edges["carried"], edges["null_mean"])  # the same weights, elsewhere
    assert (edges["p"] == 1).all()
    nodes = inequality(whole, others).set_index("of").loc["nodes"]
    assert nodes["null_low"] <= nodes["null_mean"] <= nodes["null_high"]
