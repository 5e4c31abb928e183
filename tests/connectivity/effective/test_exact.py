"""exact against one brute-force run per edge; information flow routes against loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compgraph.ablation.run import run_circuits
from compgraph.connectivity.effective import effective_connectivity
from compgraph.graph import ComputationalGraph
from compgraph.metrics import Targets, get_metric
from compgraph.partition import Partition
from tests.brute import BruteForce, base_units
from tests.connectivity.effective.test_eap import Images, chain, make_pairs
from tests.models.tiny import ONE_PER_FAMILY, tiny_network


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("split_qkv", [True, False])
def test_equals_brute_force(variant, zero, split_qkv):
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(n=2, t=4, padded=True)
    partition = Partition.modules(net) if split_qkv else Partition.heads(net)
    clean, corrupted, positions, padding = (
        torch.from_numpy(x) for x in (pairs.clean, pairs.corrupted, pairs.positions, pairs.mask)
    )
    targets = Targets(torch.from_numpy(pairs.answers), torch.from_numpy(pairs.distractors))
    metric = get_metric("probability_difference")
    base = base_units(net, clean, corrupted, padding, zero)
    brute = BruteForce(net, partition, split_qkv)

    def value(mask):
        return metric(brute.run(clean, positions, base, mask, zero=zero, padding=padding), targets)

    with torch.no_grad():
        full = torch.ones(len(brute.edge), dtype=torch.float64)
        whole = value(full)
        rows = []
        for edge in range(len(full)):
            mask = full.clone()
            mask[edge] = 0
            rows.append(value(mask) - whole)
    expected = torch.stack(rows)
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
