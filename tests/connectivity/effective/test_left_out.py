"""exact and acdc where only whole runs of the graph serve: dictionaries, and parts finer than heads; in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compgraph.ablation.circuits import CircuitMasks
from compgraph.ablation.run import run_masks
from compgraph.ablation.sweeps import runner_for
from compgraph.ablation.unit_runner import UnitRunner
from compgraph.connectivity.effective import effective_connectivity
from compgraph.metrics import Targets, get_metric
from compgraph.partition import Partition
from tests.brute import BruteForce, base_units
from tests.connectivity.effective.feature_brute import FeatureBrute, halves, with_features
from tests.connectivity.effective.test_acdc import sequential, whole_model
from tests.connectivity.effective.test_eap import make_pairs
from tests.models.tiny import ONE_PER_FAMILY, tiny_network

PLACES = [{"mlp.0": "write", "mlp.1": "hidden"}, {"attn.0": "hidden", "attn.1": "write", "mlp.0": "write"}]


def brute_logits(brute, pairs, zero):
    """A function from an edge mask to the logits of the brute-force run."""
    clean, corrupted, positions, padding = (
        torch.from_numpy(x) for x in (pairs.clean, pairs.corrupted, pairs.positions, pairs.mask)
    )
    base = base_units(brute.net, clean, corrupted, padding, zero)

    def logits_of(mask):
        with torch.no_grad():
            weights = torch.from_numpy(np.asarray(mask, dtype=float))
            return brute.run(clean, positions, base, weights, zero=zero, padding=padding)

    return logits_of


def left_out(logits_of, pairs, n_edges, metric="logit_difference"):
    """[edges, examples] change of the metric without each edge in turn."""
    targets = Targets(torch.from_numpy(pairs.answers), torch.from_numpy(pairs.distractors))
    full = np.ones(n_edges, bool)
    whole = logits_of(full)
    targets.reference = whole
    measure = get_metric(metric)
    without = [measure(logits_of(np.arange(n_edges) != edge), targets) for edge in range(n_edges)]
    return torch.stack(without) - measure(whole, targets)


@pytest.mark.parametrize(("variant", "where"), [*zip(ONE_PER_FAMILY, PLACES * 4, strict=False), ("gpt2", PLACES[1])])
def test_exact_effects_of_features_and_errors(variant, where):
    net = with_features(tiny_network(variant, dtype=torch.float64), where, activation="topk")
    pairs, partition, zero = make_pairs(n=2, t=4, padded=True), halves(net), variant in ("llama", "qwen2")
    brute = FeatureBrute(net, partition, True)
    expected = left_out(brute_logits(brute, pairs, zero), pairs, len(brute.edge))
    graph = effective_connectivity(net, pairs, partition, "exact", baseline="zero" if zero else "counterfactual")
    assert expected.abs().max() > 1e-3
    np.testing.assert_allclose(graph.weight, expected.mean(1).numpy(), rtol=0, atol=1e-9)
    np.testing.assert_allclose(graph.columns["stderr"], expected.std(1).numpy() / 2**0.5, rtol=0, atol=1e-7)


@pytest.mark.parametrize("variant", ["gpt2", "gemma2"])
def test_units_of_no_node_hold_their_baseline_value_with_and_without_the_edge(variant):
    """As if they were a node that nothing reads, in brute force."""
    net = with_features(tiny_network(variant, dtype=torch.float64), {"mlp.0": "write"})
    pairs, partition = make_pairs(n=2, t=4, padded=True), halves(net, dead=True)
    labels = {name: one.copy() for name, one in partition.labels.items()}
    labels["mlp.0"][labels["mlp.0"] < 0] = 3
    explicit = Partition.from_labels(labels)
    unread = explicit.node_slice("mlp.0").stop - 1
    brute = FeatureBrute(net, explicit, False)
    logits_of = brute_logits(brute, pairs, False)
    edges = np.array([(target, source) for target, _, source in brute.edge])
    whole = edges[:, 1] != unread
    measure = get_metric("logit_difference")
    targets = Targets(torch.from_numpy(pairs.answers), torch.from_numpy(pairs.distractors))
    tested = np.flatnonzero(whole & (edges[:, 0] != unread))
    without = torch.stack([measure(logits_of(whole & (np.arange(len(whole)) != e)), targets) for e in tested])
    expected = (without - measure(logits_of(whole), targets)).mean(1).numpy()
    graph = effective_connectivity(net, pairs, partition, "exact", split_qkv=False)
    np.testing.assert_allclose(graph.weight, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
def test_exact_effects_of_parts_finer_than_heads(variant):
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(n=2, t=4, padded=True)
    partition = striped(net)
    brute = BruteForce(net, partition, True)
    expected = left_out(brute_logits(brute, pairs, False), pairs, len(brute.edge), "probability_difference")
    graph = effective_connectivity(net, pairs, partition, "exact", metric="probability_difference")
    assert any(name.endswith("/pattern") for name in graph.node_names)
    alone = effective_connectivity(net, pairs, partition, "exact", metric="probability_difference", batch_size=1)
    np.testing.assert_allclose(alone.weight, graph.weight, rtol=0, atol=1e-12)
    np.testing.assert_allclose(graph.weight, expected.mean(1).numpy(), rtol=0, atol=1e-11)


def check_acdc(net, partition, brute, tau, *, split=True, zero=False, sizes=(None,)):
    """Every decision and every change of the metric, for batches of some sizes."""
    pairs, baseline = make_pairs(n=2, t=3, padded=True), "zero" if zero else "counterfactual"
    kept, tested, change = sequential(
        net,
        partition,
        whole_model(net, pairs),
        brute_logits(brute, pairs, zero),
        Targets(),
        "kl",
        tau,
        sign=1.0,
        split_qkv=split,
    )
    assert 0 < kept.sum() < len(kept)
    for size in sizes:
        graph = effective_connectivity(
            net, pairs, partition, "acdc", tau=tau, split_qkv=split, baseline=baseline, batch_size=size
        )
        np.testing.assert_array_equal(graph.columns["kept"], kept)
        np.testing.assert_array_equal(graph.columns["tested"], tested)
        np.testing.assert_allclose(graph.weight, change, rtol=0, atol=1e-9)
    return graph


@pytest.mark.parametrize(("variant", "where"), list(zip(ONE_PER_FAMILY, PLACES * 4, strict=False)))
def test_acdc_with_dictionaries_is_the_sequential_search(variant, where):
    net, split = with_features(tiny_network(variant, dtype=torch.float64), where), variant != "gemma2"
    partition = halves(net)
    sizes = (None, 1) if variant == "neox" else (None,)
    graph = check_acdc(net, partition, FeatureBrute(net, partition, split), 0.01, split=split, sizes=sizes)
    fine = any(site.startswith("attn.") for site in where)
    assert fine == any(name.endswith("/pattern") for name in graph.node_names)


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
def test_acdc_with_parts_finer_than_heads_is_the_sequential_search(variant):
    net, split = tiny_network(variant, dtype=torch.float64), variant != "neox"
    partition, zero = striped(net), variant == "llama"
    brute = BruteForce(net, partition, split)
    graph = check_acdc(net, partition, brute, 0.003, split=split, zero=zero, sizes=(None, 1))
    ends = np.array(graph.node_names, dtype=object)
    kept = graph.columns["kept"]
    from_pattern = np.array([name.endswith("/pattern") for name in ends[graph.source]])
    assert graph.columns["tested"][from_pattern].any() and (variant != "qwen2" or kept[from_pattern].any())


def test_acdc_between_single_units_is_the_sequential_search_by_edge_ablation():
    """Single coordinates of heads, one dead; the runner of units, which is proven elsewhere, for brute force."""
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs(n=2, t=3)
    labels = {name: np.zeros_like(one) for name, one in Partition.modules(net).labels.items()}
    labels["attn.1"] = np.arange(len(labels["attn.1"])) - 1
    partition = Partition.from_labels(labels)
    assert isinstance(runner_for(net, partition, "exact"), UnitRunner)
    frame = CircuitMasks(net, partition, True)

    def logits_of(mask):
        return torch.cat([logits[0] for _, logits in run_masks(net, frame, mask[None], pairs)])

    expected = sequential(net, partition, whole_model(net, pairs), logits_of, Targets(), "kl", 1e-4, sign=1.0)
    graph = effective_connectivity(net, pairs, partition, "acdc", tau=1e-4)
    assert 0 < expected[0].sum() < len(expected[0]) and graph.columns["tested"].sum() > 100
    np.testing.assert_array_equal(graph.columns["kept"], expected[0])
    np.testing.assert_array_equal(graph.columns["tested"], expected[1])
    np.testing.assert_allclose(graph.weight, expected[2], rtol=0, atol=1e-9)


def test_acdc_removes_everything_or_nothing_of_a_fine_partition():
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs(n=1, t=2)
    partition = striped(net)
    none = effective_connectivity(net, pairs, partition, "acdc", tau=1e9)
    assert not none.columns["kept"].any()
    np.testing.assert_array_equal(none.columns["tested"], none.target == none.n_nodes - 1)
    every = effective_connectivity(net, pairs, partition, "acdc", tau=0.0, absolute=True)
    assert every.columns["kept"].all() and every.columns["tested"].all()


def striped(net):
    """Modules, but the last attention site in two parts that both cut through every head."""
    labels = {name: np.zeros_like(one) for name, one in Partition.modules(net).labels.items()}
    labels["attn.1"] = np.arange(len(labels["attn.1"])) % 2
    return Partition.from_labels(labels)
