"""Edge ablation between features without a pass of the module for each, against brute force, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compgraph.ablation.baselines import make_baseline
from compgraph.ablation.feature_units import FeatureUnitRunner
from compgraph.ablation.run import run_graph
from compgraph.ablation.sweeps import runner_for
from compgraph.data.batches import batch_of
from compgraph.partition import Partition
from tests.ablation.test_feature_runner import assert_equal
from tests.ablation.test_run import random_circuit
from tests.connectivity.effective.feature_brute import FeatureBrute, halves, with_features
from tests.connectivity.effective.test_eap import make_pairs
from tests.models.tiny import ONE_PER_FAMILY, tiny_network

PLACES = {
    "mlps": {"mlp.0": "write", "mlp.1": "hidden"},
    "attention": {"attn.0": "hidden", "attn.1": "write", "mlp.0": "write"},
}


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize("activation", ["relu", "jumprelu", "topk"])
@pytest.mark.parametrize("places", PLACES)
def test_equals_brute_force(variant, activation, places, monkeypatch):
    monkeypatch.setattr("compgraph.ablation.sweeps.between_units", lambda partition: True)
    net = with_features(tiny_network(variant, dtype=torch.float64), PLACES[places], activation=activation)
    pairs = make_pairs(n=2, t=4, padded=True)
    assert isinstance(runner_for(net, halves(net), "exact"), FeatureUnitRunner)
    for baseline in ("counterfactual", "zero"):
        cases = ((halves(net), 0.1, True), (Partition.units(net), 0.8, False), (Partition.units(net), 0.05, True))
        for partition, density, split in cases:
            _, mask, circuit = random_circuit(net, partition, density, 7, split)
            assert_equal(net, partition, pairs, mask, circuit, baseline, split)


@pytest.mark.parametrize("variant", ["gpt2", "gemma2"])
@pytest.mark.parametrize("name", ["mean", "position-mean", "resample", "noise", "optimal"])
def test_every_baseline_equals_brute_force(variant, name):
    net = with_features(tiny_network(variant, dtype=torch.float64), PLACES["attention"])
    pairs = make_pairs(n=3, t=4)
    options = {"steps": 2} if name == "optimal" else {}
    sites = [site.name for site in net.architecture.node_sites[:-1]]
    wanted = [*sites, *(f"{site}.pattern" for site in sites if site.startswith("attn"))]
    for partition in (Partition.units(net), Partition.heads(net)):
        made = make_baseline(name, net, pairs, seed=1, partition=partition, options=options)
        base = made.units(net, batch_of(net, pairs, np.arange(3)), wanted)
        _, mask, circuit = random_circuit(net, partition, 0.5, 3)
        tokens, weights = torch.from_numpy(pairs.clean), torch.from_numpy(mask.astype(float))
        with torch.no_grad():
            brute = FeatureBrute(net, partition, True)
            expected = brute.run(tokens, torch.from_numpy(pairs.positions), base, weights)
        logits = run_graph(net, circuit, pairs, baseline=made)
        np.testing.assert_allclose(logits.numpy(), expected.numpy(), rtol=0, atol=1e-10)
