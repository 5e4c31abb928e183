"""Edge ablation between features without a pass of the module for each, against brute force, in float64."""

from __future__ import annotations

import pytest
import torch

from compgraph.ablation.feature_units import FeatureUnitRunner
from compgraph.ablation.sweeps import runner_for
from compgraph.partition import Partition
from tests.ablation.test_feature_runner import assert_equal
from tests.ablation.test_run import random_circuit
from tests.connectivity.effective.feature_brute import halves, with_features
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
