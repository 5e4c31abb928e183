"""Edge and node ablation of features and errors, in float64, over every family and random masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compgraph.ablation.run import ablate_nodes, run_circuits, run_graph
from compgraph.dictionaries import attach
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition
from tests.ablation.test_run import by_brute_force as by_brute_force_plain
from tests.ablation.test_run import random_circuit
from tests.brute import base_units
from tests.connectivity.effective.feature_brute import FeatureBrute, halves, tiny_dictionary, with_features
from tests.connectivity.effective.test_eap import make_pairs
from tests.models.tiny import ONE_PER_FAMILY, tiny_network

PLACES = [{"mlp.0": "write", "mlp.1": "hidden"}, {"attn.0": "hidden", "attn.1": "write", "mlp.0": "write"}]


def tensors(pairs):
    return (torch.from_numpy(x) for x in (pairs.clean, pairs.corrupted, pairs.positions, pairs.mask))


def by_brute_force(net, partition, pairs, mask, baseline, split, brute=FeatureBrute):
    clean, corrupted, positions, padding = tensors(pairs)
    zero = baseline == "zero"
    base = base_units(net, clean, corrupted, padding, zero)
    with torch.no_grad():
        one = brute(net, partition, split)
        return one.run(clean, positions, base, torch.from_numpy(mask.astype(float)), zero=zero, padding=padding)


class RoundedOtherwise(FeatureBrute):
    """Brute force in which every unit is off by one unit in the last place, up, down or not at all."""

    seed = 0

    def writes(self, site, units, zero_bias):
        random = np.random.default_rng([self.seed, len(site), int(site.split(".")[1]) if "." in site else 9])
        off = np.finfo(float).eps * random.integers(-1, 2, tuple(units.shape))
        return super().writes(site, units * (1 + torch.from_numpy(off)), zero_bias)


def rounding(net, partition, pairs, mask, baseline, split):
    """How far logits move where units are rounded otherwise: what no order of summation can do much better than."""
    exact, moved = by_brute_force(net, partition, pairs, mask, baseline, split), 0.0
    for seed in range(3):
        brute = type("Other", (RoundedOtherwise,), {"seed": seed})
        other = by_brute_force(net, partition, pairs, mask, baseline, split, brute)
        moved = max(moved, float((other - exact).abs().max()))
    return moved


def assert_equal(net, partition, pairs, mask, circuit, baseline, split):
    """The runner against brute force: to 1e-10, or, behind norms of streams that cancel, to ten times its rounding."""
    expected = by_brute_force(net, partition, pairs, mask, baseline, split)
    off = float((run_graph(net, circuit, pairs, baseline=baseline) - expected).abs().max())
    cancels = baseline == "zero" and net.spec.family == "gemma2" and off > 1e-10
    assert off <= (10 * rounding(net, partition, pairs, mask, baseline, split) if cancels else 1e-10)


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize("where", PLACES, ids=["mlps", "attention"])
@pytest.mark.parametrize("baseline", ["counterfactual", "zero"])
def test_equals_brute_force(variant, where, baseline):
    net = with_features(tiny_network(variant, dtype=torch.float64), where, activation="topk")
    pairs = make_pairs(n=2, t=4, padded=True)
    for partition in (halves(net), Partition.modules(net), Partition.heads(net)):
        for density, split in ((0.2, True), (0.7, False), (0.95, True)):
            _, mask, circuit = random_circuit(net, partition, density, int(100 * density), split)
            assert_equal(net, partition, pairs, mask, circuit, baseline, split)


def test_features_and_error_of_nothing_lose_digits_in_any_order():
    """A site without input writes nothing, but its features, its error and the bias cancel to rounding only.

    Every norm behind it multiplies that by up to 1 / sqrt(eps), Gemma-2's two a site. The network without
    dictionaries has the truth: with all edges of the site kept, exactly nothing.
    """
    plain = tiny_network("gemma2", dtype=torch.float64)
    net = attach(plain, {"attn.0": tiny_dictionary(plain, "attn.0")})
    pairs, modules = make_pairs(n=2, t=4, padded=True), Partition.modules(net)
    full = ComputationalGraph.from_architecture(net, modules)
    names = np.array(full.node_names)
    kept = [("attn.0", "attn.1"), ("attn.0", "logits"), ("attn.1", "logits")]
    mask = np.array([edge in kept for edge in zip(names[full.source], names[full.target], strict=True)])
    assert not by_brute_force_plain(plain, Partition.modules(plain), pairs, mask, "zero").any()
    moved = rounding(net, modules, pairs, mask, "zero", True)
    found = run_graph(net, full.subgraph(mask), pairs, baseline="zero")
    brute = by_brute_force(net, modules, pairs, mask, "zero", True)
    for logits in (found, brute):
        assert 1e-10 < float(logits.abs().max()) <= 10 * moved


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
