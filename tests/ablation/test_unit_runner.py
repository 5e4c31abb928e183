"""Edge ablation between units against brute force, in float64: masked readers, Gram norms, complements of rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compgraph.ablation.run import run_graph
from compgraph.ablation.sweeps import runner_for
from compgraph.ablation.unit_runner import UnitRunner
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition
from tests.ablation.test_run import by_brute_force, random_circuit
from tests.connectivity.effective.test_eap import SPLITTABLE, cutting, make_pairs
from tests.models.tiny import ONE_PER_FAMILY, tiny_network


def always_units(monkeypatch):
    monkeypatch.setattr("compgraph.ablation.sweeps.between_units", lambda partition: True)


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize("baseline", ["counterfactual", "zero"])
def test_units_equal_brute_force(variant, baseline):
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(n=2, t=4, padded=True)
    partition = Partition.units(net)
    assert isinstance(runner_for(net, partition, "exact"), UnitRunner)
    for density, split in ((0.03, True), (0.5, False), (0.97, True)):
        _, mask, circuit = random_circuit(net, partition, density, int(100 * density), split)
        expected = by_brute_force(net, partition, pairs, mask, baseline, split)
        logits = run_graph(net, circuit, pairs, baseline=baseline)
        np.testing.assert_allclose(logits.numpy(), expected.numpy(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("variant", SPLITTABLE)
@pytest.mark.parametrize("baseline", ["counterfactual", "zero"])
def test_coarser_parts_equal_brute_force(variant, baseline, monkeypatch):
    always_units(monkeypatch)
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(padded=True)
    for partition in (Partition.heads(net), cutting(net, dead=0)):
        _, mask, circuit = random_circuit(net, partition, 0.4, 5)
        expected = by_brute_force(net, partition, pairs, mask, baseline)
        logits = run_graph(net, circuit, pairs, baseline=baseline)
        np.testing.assert_allclose(logits.numpy(), expected.numpy(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("baseline", ["counterfactual", "zero"])
def test_an_embedding_that_nothing_reads_is_in_no_stream(baseline):
    """Rows that keep most of what there is start from the stream of all changes: of those that count."""
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs(n=2, t=4)
    partition = Partition.units(net)
    graph = ComputationalGraph.from_architecture(net, partition)
    embed = graph.source < partition.node_slice("attn.0").start
    mask = ~embed & (graph.target == graph.target.max())
    mask |= (graph.source == 0) & (graph.target == graph.source[mask].min())
    expected = by_brute_force(net, partition, pairs, mask, baseline, True)
    logits = run_graph(net, graph.subgraph(mask), pairs, baseline=baseline)
    np.testing.assert_allclose(logits.numpy(), expected.numpy(), rtol=0, atol=1e-10)
