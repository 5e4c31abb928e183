"""Scores of many circuits and null bands, against circuits run one by one and on a network whose circuit is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compgraph.ablation.circuits import masks_for
from compgraph.ablation.run import run_graph
from compgraph.connectivity.effective import effective_connectivity
from compgraph.data.prompts import PromptPairs
from compgraph.evaluation import scores as scoring
from compgraph.evaluation.faithfulness import faithfulness
from compgraph.evaluation.ground_truth import true_mask
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
    sizes, metrics = [int(true.sum()), graph.n_edges], ["logit_difference", "kl"]
    curve = faithfulness(net, graph, pairs, sizes, n_random=99, metrics=metrics)
    table = curve.table.set_index(["metric", "n_edges"])
    for metric in metrics:
        row = table.loc[metric, true.sum()]
        assert row["p"] == 1 / 100 and row["q"] == 2 / 100 and row["faithfulness"] == pytest.approx(1, abs=1e-6)
        assert row["null_low"] <= row["null_high"] < 0.5 and row["null_mean"] < 0.5
        whole = table.loc[metric, graph.n_edges]
        assert whole["p"] == 1 and whole["faithfulness"] == pytest.approx(1)
    assert curve.attributes["n_random"] == 99 and curve.attributes["baseline"] == "counterfactual"


@pytest.mark.parametrize("ablation", ["edge", "node"])
def test_band_is_that_of_random_circuits_run_one_by_one(tiny, ablation):
    net, pairs, graph = tiny
    settings = {"random": "layers", "n_random": 7, "ablation": ablation, "seed": 4, "prune": True, "n_bootstrap": 0}
    row = faithfulness(net, graph, pairs, [0.3], **settings).table.iloc[0]
    circuit = graph.top(int(0.3 * graph.n_edges)).prune()
    measure = get_metric("logit_difference")
    targets = Targets(torch.from_numpy(pairs.answers), torch.from_numpy(pairs.distractors))

    def mean(some):
        return float(measure(run_graph(net, some, pairs, ablation=ablation), targets).mean())

    full = ComputationalGraph.from_architecture(net, Partition.heads(net))
    draws = random_circuits(full, full.mask_of(circuit), 7, "layers", seed=4)
    null = np.array([mean(full.subgraph(draw)) for draw in draws])
    model, empty = mean(full), mean(full.subgraph(np.zeros(full.n_edges, bool)))
    assert row["value"] == pytest.approx(mean(circuit)) and row["n_edges"] == circuit.n_edges
    assert row["null_mean"] == pytest.approx(((null - empty) / (model - empty)).mean())
    assert row["null_low"] == pytest.approx(np.quantile((null - empty) / (model - empty), 0.05))
    assert row["p"] == (1 + (null >= mean(circuit)).sum()) / 8


def test_chains_of_layers_have_bands_too():
    net, pairs = chain(), Images(n=6)
    graph = effective_connectivity(net, pairs, Partition.channels(net))
    table = faithfulness(net, graph, pairs, [0.5], n_random=9, metrics=["kl"]).table
    assert table["p"].between(0.1, 1).all() and (table["n_random"] == 9).all()


def test_a_circuit_without_a_path_has_no_band(tiny):
    net, pairs, graph = tiny
    no_path = graph.subgraph(graph.target != graph.outputs[0])
    row = faithfulness(net, no_path, pairs, [0.5], n_random=3, n_bootstrap=0).table.iloc[0]
    assert row["n_random"] == 0 and np.isnan(row["p"]) and np.isnan(row["null_mean"])
    assert row["note"] == "no path leads from an input to an output"
