"""Edge and node ablation of features and errors, in float64, over every family and random masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compgraph.ablation.run import ablate_nodes, run_circuits, run_graph
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition
from tests.ablation.test_run import random_circuit
from tests.brute import base_units
from tests.connectivity.effective.feature_brute import FeatureBrute, halves, with_features
from tests.connectivity.effective.test_eap import make_pairs
from tests.models.tiny import ONE_PER_FAMILY, tiny_network

PLACES = [{"mlp.0": "write", "mlp.1": "hidden"}, {"attn.0": "hidden", "attn.1": "write", "mlp.0": "write"}]


def tensors(pairs):
    return (torch.from_numpy(x) for x in (pairs.clean, pairs.corrupted, pairs.positions, pairs.mask))


def by_brute_force(net, partition, pairs, mask, baseline, split):
    clean, corrupted, positions, padding = tensors(pairs)
    zero = baseline == "zero"
    base = base_units(net, clean, corrupted, padding, zero)
    with torch.no_grad():
        brute = FeatureBrute(net, partition, split)
        return brute.run(clean, positions, base, torch.from_numpy(mask.astype(float)), zero=zero, padding=padding)


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize("where", PLACES, ids=["mlps", "attention"])
@pytest.mark.parametrize("baseline", ["counterfactual", "zero"])
def test_equals_brute_force(variant, where, baseline):
    net = with_features(tiny_network(variant, dtype=torch.float64), where, activation="topk")
    pairs = make_pairs(n=2, t=4, padded=True)
    # Norms multiply rounding by a thousand where a stream or a write is all but zero: features and error of nothing
    # cancel to rounding, not to zero. Two in a row, Gemma-2's, leave ten digits of sixteen.
    atol = 1e-7 if (variant, baseline) == ("gemma2", "zero") else 1e-10
    for partition in (halves(net), Partition.modules(net), Partition.heads(net)):
        for density, split in ((0.2, True), (0.7, False), (0.95, True)):
            _, mask, circuit = random_circuit(net, partition, density, int(100 * density), split)
            expected = by_brute_force(net, partition, pairs, mask, baseline, split)
            logits = run_graph(net, circuit, pairs, baseline=baseline)
            np.testing.assert_allclose(logits.numpy(), expected.numpy(), rtol=0, atol=atol)


@pytest.mark.parametrize("variant", ["gpt2", "gemma2"])
def test_full_graph_is_the_model_and_empty_graph_the_baseline_run(variant):
    net = with_features(tiny_network(variant, dtype=torch.float64), {"mlp.0": "write", "attn.1": "write"})
    pairs = make_pairs(padded=True)
    clean, corrupted, positions, padding = tensors(pairs)
    full = ComputationalGraph.from_architecture(net, Partition.units(net))
    empty = full.subgraph(np.zeros(full.n_edges, bool))
    both = run_circuits(net, [full, empty], pairs)
    for got, tokens in zip(both, (clean, corrupted), strict=True):
        expected = net.inner.run(tokens, padding, positions=positions).logits
        np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("variant", ["gpt2", "gemma2"])
def test_ablated_features_and_errors_hold_their_baseline_value(variant):
    plain = tiny_network(variant, dtype=torch.float64)
    net, pairs = with_features(plain, {"mlp.0": "write"}), make_pairs(padded=True)
    clean, corrupted, positions, padding = tensors(pairs)
    partition, one = Partition.units(net), net.dictionaries["mlp.0"]
    keep = np.ones((3, partition.n_nodes), bool)
    index = {name: k for k, name in enumerate(partition.node_names)}
    keep[0, [index["mlp.0/feature.2"], index["mlp.0/feature.5"]]] = False
    keep[1, index["mlp.0/error"]] = False
    keep[2, partition.node_slice("mlp.0")] = False
    got = ablate_nodes(net, partition, list(keep), pairs)

    def write(tokens):
        seen = {}
        plain.run(tokens, padding, edit={"mlp.0/write": lambda x: seen.setdefault("x", x)})
        return seen["x"]

    def logits(edited):
        return plain.run(clean, padding, positions=positions, edit={"mlp.0/write": lambda x: edited}).logits

    now, then = write(clean), write(corrupted)
    f, g = one.encode(now), one.encode(then)
    gone = [2, 5]
    expected = [
        logits(now + (g - f)[..., gone] @ one.rows[gone]),
        logits(one.decode(f) + then - one.decode(g)),
        logits(then),
    ]
    for k in range(3):
        np.testing.assert_allclose(got[k].numpy(), expected[k].numpy(), rtol=0, atol=1e-10)
    assert float((got[0] - got[1]).abs().max()) > 1e-3
