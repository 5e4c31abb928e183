"""Agreement of circuits over replicates, and the spread of CPR."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from compgraph.connectivity.effective import effective_connectivity
from compgraph.errors import DataError, GraphError
from compgraph.evaluation.faithfulness import faithfulness
from compgraph.evaluation.stability import cpr_stability, rank_biased_overlap, resampled_scores, stability
from compgraph.partition import Partition
from tests.circuits.graphs import scored
from tests.connectivity.effective.test_eap import make_pairs
from tests.models.tiny import tiny_network


def slow_rbo(a, b, p):
    """The definition, depth by depth."""
    n = len(a)
    agreement = [len(set(a[:d]) & set(b[:d])) / d for d in range(1, n + 1)]
    return (1 - p) * sum(p**d * x for d, x in enumerate(agreement)) + p**n * agreement[-1]


@pytest.mark.parametrize("p", [0.5, 0.9, 0.99])
def test_rank_biased_overlap_is_its_definition(p):
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = (rng.permutation(15)[:9] for _ in range(2))
        assert rank_biased_overlap(a, b, p) == pytest.approx(slow_rbo(a.tolist(), b.tolist(), p))
    assert rank_biased_overlap(a, a, p) == pytest.approx(1)
    assert rank_biased_overlap(np.arange(5), np.arange(5, 10), p) == 0


@pytest.mark.parametrize("by", ["abs", "signed", "negative"])
def test_agreement_is_that_of_the_circuits(by):
    graphs = [scored(seed=seed, n_layers=2, n_heads=2, mlp=True) for seed in range(4)]
    table = stability(graphs, [0.2, 9], by=by)
    for _, row in table.iterrows():
        n = int(row["n_edges"])
        circuits = [set(np.flatnonzero(graph.top_mask(n, by))) for graph in graphs]
        expected = [len(a & b) / len(a | b) for a, b in combinations(circuits, 2)]
        found = row[["jaccard", "jaccard_min", "jaccard_max"]].tolist()
        assert found == pytest.approx([np.mean(expected), min(expected), max(expected)])
        values = [{"abs": np.abs(g.weight), "signed": g.weight, "negative": -g.weight}[by] for g in graphs]
        orders = [np.argsort(-v)[:n].tolist() for v in values]
        expected = [slow_rbo(a, b, n / (n + 1)) for a, b in combinations(orders, 2)]
        found = row[["rbo", "rbo_min", "rbo_max"]].tolist()
        assert found == pytest.approx([np.mean(expected), min(expected), max(expected)])
        assert row["core"] == len(set.intersection(*circuits)) and row["union"] == len(set.union(*circuits))


def test_scores_as_arrays_and_several_sources():
    graphs = [scored(seed=seed) for seed in range(3)]
    scores = np.stack([graph.weight for graph in graphs])
    table = stability({"seeds": graphs, "samples": scores}, [5])
    assert table["source"].tolist() == ["seeds", "samples"]
    columns = table.columns.drop("source")
    assert table[columns].iloc[0].tolist() == table[columns].iloc[1].tolist()
    assert len(stability(graphs, [0.01, 0.5])) == 1  # 0.01 of 12 edges is none


def test_noise_agrees_as_by_chance_and_signal_more():
    rng = np.random.default_rng(0)
    noise = stability(rng.normal(size=(40, 500)), [0.1]).iloc[0]
    assert noise["jaccard"] == pytest.approx(noise["jaccard_chance"], abs=0.005)
    signal = 10 * (np.arange(500) < 50) + rng.normal(size=(40, 500))
    planted = stability(signal, [0.1]).iloc[0]
    assert planted["jaccard"] == 1 and planted["core"] == planted["union"] == 50


def test_resampled_scores_are_means_of_samples():
    scores = np.random.default_rng(0).normal(size=(30, 4)) + np.arange(4)
    means = resampled_scores(scores, 4000, seed=1)
    np.testing.assert_allclose(means.mean(0), scores.mean(0), atol=0.02)
    np.testing.assert_allclose(means.std(0), scores.std(0) / np.sqrt(30), rtol=0.05)
    np.testing.assert_array_equal(means, resampled_scores(scores, 4000, seed=1))


def test_cpr_is_that_of_each_curve():
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs(n=8)
    halves = [pairs.subset(np.arange(4)), pairs.subset(np.arange(4, 8))]
    graphs = [effective_connectivity(net, half, Partition.heads(net)) for half in halves]
    sizes = [0.1, 0.3, 1.0]
    table = cpr_stability(net, graphs, pairs, sizes, metrics=["logit_difference", "kl"])
    for number, graph in enumerate(graphs):
        curve = faithfulness(net, graph, pairs, sizes, metrics=["logit_difference", "kl"], n_bootstrap=0).table
        for metric, rows in curve.groupby("metric"):
            x, value, model, empty = rows[["fraction", "value", "model", "empty"]].to_numpy().T
            f = (value - empty) / (model - empty)
            row = table[(table["graph"] == number) & (table["metric"] == metric)].iloc[0]
            assert row["cpr"] == pytest.approx((np.diff(x) * (f[1:] + f[:-1]) / 2).sum())
            d = np.abs(1 - f)
            assert row["cmd"] == pytest.approx((np.diff(x) * (d[1:] + d[:-1]) / 2).sum())
    same = type(pairs)(pairs.clean, pairs.clean, pairs.answers, pairs.distractors)
    assert cpr_stability(net, graphs, same, sizes)["reason"].str.contains("nothing to be faithful to").all()
    with pytest.raises(GraphError, match="at least 2 graphs"):
        cpr_stability(net, graphs[:1], pairs, sizes)
    with pytest.raises(GraphError, match="ascending"):
        cpr_stability(net, graphs, pairs, [0.5, 0.1])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: stability([scored()], [3]), DataError, "at least 2 replicates"),
        (lambda: stability([scored(), scored(n_layers=3)], [3]), GraphError, "they must be the same"),
        (lambda: stability(np.ones((3, 5)), [6]), GraphError, "size 6 is out of range; there are 5"),
        (lambda: stability(np.ones((3, 5)), [1.5]), GraphError, "size 1.5 is out of range; a share"),
        (lambda: stability(np.ones((3, 5)), [2], persistence=1.0), DataError, "persistence is 1.0"),
        (lambda: resampled_scores(np.ones((1, 5))), DataError, "at least 2 examples"),
        (lambda: resampled_scores(np.ones((4, 5)), 1), DataError, "resamples is 1"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
