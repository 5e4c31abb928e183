"""Scores of many circuits and null bands, against circuits run one by one and on a network whose circuit is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compgraph.ablation.circuits import masks_for
from compgraph.ablation.run import run_graph
from compgraph.connectivity.effective import effective_connectivity
from compgraph.data.prompts import PromptPairs
from compgraph.errors import DataError, GraphError
from compgraph.evaluation import scores as scoring
from compgraph.evaluation.ground_truth import true_mask
from compgraph.evaluation.null_band import null_band
from compgraph.evaluation.random_circuits import random_circuits
from compgraph.evaluation.scores import circuit_scores, rank_p
from compgraph.graph import ComputationalGraph
from compgraph.metrics import Targets, get_metric
from compgraph.models.compiled import compile_case
from compgraph.partition import Partition
from tests.connectivity.effective.test_eap import Images, chain, make_pairs
from tests.models.tiny import ONE_PER_FAMILY, tiny_network


@pytest.fixture(scope="module")
def known():
    """Network, data, all edges, which are true."""
    case = compile_case("two-branch")
    pairs = PromptPairs(**case.examples(48, 0), task=case.name)
    full = ComputationalGraph.from_architecture(case.net, Partition.heads(case.net))
    return case.net, pairs, full, true_mask(full, case.true_edges)


@pytest.fixture(scope="module")
def tiny():
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs(n=6)
    return net, pairs, effective_connectivity(net, pairs, Partition.heads(net))


# ---- scores ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
def test_scores_are_those_of_single_runs(variant, monkeypatch):
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(n=5, padded=True)
    full = ComputationalGraph.from_architecture(net, Partition.heads(net))
    masks = np.random.default_rng(0).random((7, full.n_edges)) < 0.3
    frame = masks_for(net, full)
    metrics = ["logit_difference", "kl"]
    plain = circuit_scores(net, frame, masks, pairs, metrics)
    monkeypatch.setattr(scoring, "MEMORY", 3 * 41 * 8 * 2)
    parted = circuit_scores(net, frame, masks, pairs, metrics, batch_size=2)
    np.testing.assert_allclose(plain, parted, atol=1e-10)
    model = run_graph(net, full, pairs)
    targets = Targets(torch.from_numpy(pairs.answers), torch.from_numpy(pairs.distractors), model)
    for row, mask in zip(plain, [np.ones(full.n_edges, bool), *masks], strict=True):
        logits = run_graph(net, full.subgraph(mask), pairs)
        for values, metric in zip(row, metrics, strict=True):
            np.testing.assert_allclose(values, get_metric(metric)(logits, targets).numpy(), atol=1e-10)


def test_rank_p_counts_itself_and_ties():
    null = np.array([1.0, 2, 3, 3 + 1e-15])
    assert rank_p(3.0, null) == 3 / 5 and rank_p(4.0, null) == 1 / 5
    assert rank_p(1.0, null, lower=True) == 2 / 5 and rank_p(9.0, null, lower=True) == 1


# ---- null bands ------------------------------------------------------------------------------------------------


def test_true_edges_stand_out_of_their_band(known):
    net, pairs, _, true = known
    graph = ComputationalGraph.from_architecture(net, Partition.heads(net), true * 1.0 + 1e-3)
    band = null_band(
        net, graph, pairs, [int(true.sum()), graph.n_edges], n_random=99, metrics=["logit_difference", "kl"]
    )
    table = band.table.set_index(["metric", "n_edges"])
    for metric in ("logit_difference", "kl"):
        row = table.loc[metric, true.sum()]
        assert row["p"] == 1 / 100 and row["q"] == 2 / 100 and row["faithfulness"] == pytest.approx(1, abs=1e-6)
        assert row["null_low"] <= row["null_high"] < 0.5 and row["null_mean"] < 0.5
        whole = table.loc[metric, graph.n_edges]
        assert whole["p"] == 1 and whole["faithfulness"] == pytest.approx(1) and "no other circuit" in whole["reason"]
    assert band.attributes["n_random"] == 99 and band.attributes["baseline"] == "counterfactual"


@pytest.mark.parametrize("ablation", ["edge", "node"])
def test_band_is_that_of_random_circuits_run_one_by_one(tiny, ablation):
    net, pairs, graph = tiny
    band = null_band(net, graph, pairs, [0.3], "layers", 7, ablation=ablation, seed=4, level=0.8)
    circuit = graph.top(int(0.3 * graph.n_edges)).prune()
    measure = get_metric("logit_difference")
    targets = Targets(torch.from_numpy(pairs.answers), torch.from_numpy(pairs.distractors))

    def mean(some):
        return float(measure(run_graph(net, some, pairs, ablation=ablation), targets).mean())

    full = ComputationalGraph.from_architecture(net, Partition.heads(net))
    draws = random_circuits(full, full.mask_of(circuit), 7, "layers", seed=4)
    null = np.array([mean(full.subgraph(draw)) for draw in draws])
    model, empty = mean(full), mean(full.subgraph(np.zeros(full.n_edges, bool)))
    row = band.table.iloc[0]
    assert row["value"] == pytest.approx(mean(circuit)) and row["n_edges"] == circuit.n_edges
    assert row["null_mean"] == pytest.approx(((null - empty) / (model - empty)).mean())
    assert row["null_low"] == pytest.approx(np.quantile((null - empty) / (model - empty), 0.1))
    assert row["p"] == (1 + (null >= mean(circuit)).sum()) / 8


def test_band_of_a_random_order_is_no_discovery():
    """p over many graphs with random scores is uniform, and adjusted over sizes seldom significant."""
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs(n=4)
    full = ComputationalGraph.from_architecture(net, Partition.heads(net))
    frame_p, found = [], 0
    for seed in range(40):
        weight = np.random.default_rng(seed).normal(size=full.n_edges)
        graph = ComputationalGraph.from_architecture(net, Partition.heads(net), weight)
        table = null_band(net, graph, pairs, [20, 60], n_random=19, connected=False, seed=seed).table
        frame_p += [table["p"].iloc[0]]
        found += bool((table["q"] <= 0.1).any())
    p = np.array(frame_p)
    assert p.min() >= 1 / 20 and abs(p.mean() - 0.525) < 4 * 0.29 / np.sqrt(40)
    assert found <= 10  # 40 trials at 0.1: more than this has chance 0.002


def test_chains_of_layers_have_bands_too():
    net, pairs = chain(), Images(n=6)
    graph = effective_connectivity(net, pairs, Partition.channels(net))
    table = null_band(net, graph, pairs, [0.5], n_random=9, metrics=["kl"]).table
    assert table["p"].between(0.1, 1).all() and (table["n_random"] == 9).all()


def test_empty_circuits_and_idle_data_give_reasons(tiny):
    net, pairs, graph = tiny
    no_path = graph.subgraph(graph.target != graph.outputs[0])
    row = null_band(net, no_path, pairs, [0.5], n_random=3).table.iloc[0]
    assert row["n_edges"] == 0 and np.isnan(row["p"]) and "empty" in row["reason"]
    same = type(pairs)(pairs.clean, pairs.clean, pairs.answers, pairs.distractors)
    row = null_band(net, graph, same, [0.3], n_random=3).table.iloc[0]
    assert np.isnan(row["faithfulness"]) and np.isnan(row["p"]) and "nothing to be faithful to" in row["reason"]


def test_refusals(tiny):
    net, pairs, graph = tiny
    with pytest.raises(GraphError, match=r"level is 1\.2"):
        null_band(net, graph, pairs, level=1.2)
    with pytest.raises(GraphError, match="sizes is empty"):
        null_band(net, graph, pairs, [])
    with pytest.raises(DataError, match="logit_diff'"):
        null_band(net, graph, pairs, [0.3], metrics=["logit_diff"])
