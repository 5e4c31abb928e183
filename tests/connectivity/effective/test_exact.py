"""exact against one brute-force run per edge; information flow routes against loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compgraph.ablation.run import run_circuits
from compgraph.connectivity.effective import effective_connectivity, exact_streams
from compgraph.graph import ComputationalGraph
from compgraph.metrics import Targets, get_metric
from compgraph.partition import Partition
from tests.brute import BruteForce, base_units
from tests.connectivity.effective.test_eap import Images, chain, cutting, make_pairs
from tests.models.tiny import ONE_PER_FAMILY, tiny_network


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("split_qkv", [True, False])
def test_equals_brute_force(variant, zero, split_qkv):
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(n=2, t=4, padded=True)
    partition = Partition.modules(net) if split_qkv else Partition.heads(net)
    expected = without_each_edge(net, pairs, partition, split_qkv, zero)
    graph = effective_connectivity(
        net,
        pairs,
        partition,
        "exact",
        metric="probability_difference",
        baseline="zero" if zero else "counterfactual",
        split_qkv=split_qkv,
    )
    np.testing.assert_allclose(graph.weight, expected.mean(1).numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(graph.columns["stderr"], expected.std(1).numpy() / 2**0.5, rtol=0, atol=1e-9)


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize(("zero", "split_qkv"), [(False, True), (True, False)])
def test_parts_that_cut_through_heads_equal_brute_force(variant, zero, split_qkv, monkeypatch):
    monkeypatch.setattr(exact_streams, "MEMORY_PER_STEP", 2**17 if split_qkv else 1)
    fewer = {"num_hidden_layers": 2} if variant == "gemma2" else {}
    net, pairs = tiny_network(variant, dtype=torch.float64, **fewer), make_pairs(n=2, t=4, padded=True)
    partition = cutting(net)
    assert any((labels < 0).any() for labels in partition.labels.values())
    expected = without_each_edge(net, pairs, partition, split_qkv, zero)
    graph = effective_connectivity(
        net,
        pairs,
        partition,
        "exact",
        metric="probability_difference",
        baseline="zero" if zero else "counterfactual",
        split_qkv=split_qkv,
    )
    assert sum("/pattern" in name for name in graph.node_names) > 0
    assert expected.abs().max() > 1e-3
    np.testing.assert_allclose(graph.weight, expected.mean(1).numpy(), rtol=0, atol=1e-12)


def without_each_edge(net, pairs, partition, split_qkv, zero):
    """[edges, examples] change of the probability difference by brute force."""
    clean, corrupted, positions, padding = (
        torch.from_numpy(x) for x in (pairs.clean, pairs.corrupted, pairs.positions, pairs.mask)
    )
    targets = Targets(torch.from_numpy(pairs.answers), torch.from_numpy(pairs.distractors))
    metric = get_metric("probability_difference")
    base = base_units(net, clean, corrupted, padding, zero)
    brute = BruteForce(net, partition, split_qkv)
    full = torch.ones(len(brute.edge), dtype=torch.float64)

    def value(mask):
        return metric(brute.run(clean, positions, base, mask, zero=zero, padding=padding), targets)

    with torch.no_grad():
        return torch.stack([value(full - one) for one in torch.eye(len(full), dtype=torch.float64)]) - value(full)


@pytest.mark.parametrize("variant", ["gpt2", "neox", "gemma2"])
def test_units_as_nodes(variant):
    net, pairs = tiny_network(variant, dtype=torch.float64, **TINIEST[variant]), make_pairs(n=2, t=3)
    units = Partition.mixed(net, {"attn.*": "units", "*": "modules"})
    graph = effective_connectivity(net, pairs, units, "exact", metric="probability_difference")
    expected = without_each_edge(net, pairs, units, True, False)
    np.testing.assert_allclose(graph.weight, expected.mean(1).numpy(), rtol=0, atol=1e-12)


TINIEST = {
    "gpt2": {"n_embd": 8, "n_head": 2},
    "neox": {"hidden_size": 8, "num_attention_heads": 2},
    "gemma2": {
        "hidden_size": 8,
        "head_dim": 4,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "num_hidden_layers": 2,
    },
}


def test_heads_with_split_channels_and_batches():
    net, pairs = tiny_network("llama", dtype=torch.float64), make_pairs(n=3)
    partition = Partition.heads(net)
    graph = effective_connectivity(net, pairs, partition, "exact")
    full = ComputationalGraph.from_architecture(net, partition)
    without = [full.subgraph(np.arange(full.n_edges) != e) for e in range(full.n_edges)]
    targets = Targets(torch.from_numpy(pairs.answers), torch.from_numpy(pairs.distractors))
    metric = get_metric("logit_difference")
    logits = run_circuits(net, [full, *without], pairs)
    values = torch.stack([metric(one, targets) for one in logits])
    np.testing.assert_allclose(graph.weight, (values[1:] - values[0]).mean(1).numpy(), atol=1e-10)
    alone = effective_connectivity(net, pairs, partition, "exact", batch_size=1)
    np.testing.assert_allclose(alone.weight, graph.weight, atol=1e-12)


def test_chain():
    net, pairs = chain(), Images()
    partition = Partition.channels(net)
    graph = effective_connectivity(net, pairs, partition, "exact", metric="accuracy")
    full = ComputationalGraph.from_architecture(net, partition)
    without = [full.subgraph(np.arange(full.n_edges) != e) for e in range(full.n_edges)]
    logits = run_circuits(net, [full, *without], pairs)
    targets = Targets(torch.from_numpy(pairs.answers), torch.from_numpy(pairs.distractors))
    values = torch.stack([get_metric("accuracy")(one, targets) for one in logits])
    np.testing.assert_allclose(graph.weight, (values[1:] - values[0]).mean(1).numpy(), atol=1e-12)


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
def test_information_flow_routes(variant):
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(n=2, t=5, padded=True)
    partition = Partition.heads(net)
    graph = effective_connectivity(net, pairs, partition, "information-flow-routes")
    brute = BruteForce(net, partition)
    tokens, real = torch.from_numpy(pairs.clean), torch.from_numpy(pairs.mask)
    sites = [s.name for s in net.architecture.node_sites]
    with torch.no_grad():
        units = net.run(tokens, real, capture=sites[:-1]).units
    writes = {}
    for site in sites[:-1]:
        writes |= brute.writes(site, units[site], False)
    expected = {}
    constant = net.add_positions(torch.zeros_like(units["embed"]), net.context(tokens, real))
    before = constant
    for site in sites[1:]:
        start = before if net.spec.parallel and site.startswith("mlp") else constant
        sources = [
            s
            for name in net.architecture.reads[site]
            for s in range(partition.node_slice(name).start, partition.node_slice(name).stop)
        ]
        x = start + sum(writes[s] for s in sources)
        raw = torch.stack([(x.abs().sum(-1) - (x - writes[s]).abs().sum(-1)).clamp_min(0) for s in sources])
        share = (raw / raw.sum(0)).nan_to_num(0.0)
        if site == "logits":
            mean = share[:, torch.arange(2), torch.from_numpy(pairs.positions)].mean(1)
        else:
            mean = ((share * real).sum(-1) / real.sum(-1)).mean(1)
        for target in range(partition.node_slice(site).start, partition.node_slice(site).stop):
            expected |= {(s, target): float(m) for s, m in zip(sources, mean, strict=True)}
        before = constant
        constant = constant if site == "logits" else constant + brute.constant(site)
    for s, t, w in zip(graph.source, graph.target, graph.weight, strict=True):
        assert w == pytest.approx(expected[(s, t)], abs=1e-12)
