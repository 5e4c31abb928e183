"""Networks in bfloat16: every effective method and both ablations, close to the same weights in float32.

Numbers of bfloat16 are good to 2^-8 = 0.4 %, and a forward and backward pass of these networks adds up a few such
errors; scores must agree to 6 % of their length (Euclidean), logits to 2 %, the time series to 15 %, since a signal's
small fluctuations count there. Scores are kept wider than the network's own numbers.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass

import numpy as np
import pytest
import torch

import compgraph as cg
from compgraph import catalogue
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition
from tests.connectivity.effective.feature_brute import with_features
from tests.connectivity.effective.test_eap import make_pairs
from tests.models.tiny import tiny_network

SERIES = {"max_order": 1, "ridge": 0.1}
OPTIONS = {
    "eap": [{}, {"qk_fix": True}, {"grad_drop": True}, {"recompute": True}],
    "eap-ig-activations": [{"steps": 2}],
    "edge-pruning": [{"steps": 3, "examples": 2}],
    "node-ig": [{"steps": 3, "edge_steps": 2}],
    "granger": [SERIES],
    "transfer-entropy": [SERIES],
}


def networks(variant):
    """The same weights, computed with in bfloat16 and in float32."""
    low = tiny_network(variant, dtype=torch.bfloat16)
    return low, Transformer(low.spec, widened(low.weights))


def widened(value):
    if isinstance(value, torch.Tensor):
        return value.float() if value.dtype == torch.bfloat16 else value
    if is_dataclass(value):
        return type(value)(**{f.name: widened(getattr(value, f.name)) for f in fields(value)})
    return [widened(one) for one in value] if isinstance(value, list) else value


def distance(low, wide):
    low, wide = np.asarray(low, dtype=float), np.asarray(wide, dtype=float)
    return np.linalg.norm(low - wide) / np.linalg.norm(wide)


@pytest.mark.parametrize("method", list(catalogue.EFFECTIVE))
@pytest.mark.parametrize("variant", ["gpt2", "gemma2"])
def test_effective_methods(method, variant):
    pairs = make_pairs(n=8, t=6, padded=True)
    nodes = Partition.modules if method == "acdc" else Partition.heads  # of which it tries every edge
    for options in OPTIONS.get(method, [{}]):
        low, wide = (
            cg.effective_connectivity(net, pairs, nodes(net), method, **options).edges["weight"]
            for net in networks(variant)
        )
        assert low.dtype == np.float64
        assert distance(low, wide) < (0.15 if options is SERIES else 0.06)


@pytest.mark.parametrize("ablation", ["edge", "node"])
@pytest.mark.parametrize("granularity", ["heads", "units"])
@pytest.mark.parametrize("variant", ["gpt2", "gemma2"])
def test_ablation(ablation, granularity, variant):
    pairs, nets = make_pairs(n=8, t=6, padded=True), networks(variant)
    graph = cg.effective_connectivity(nets[1], pairs, getattr(Partition, granularity)(nets[1]), "random")
    circuit = graph.top(len(graph.edges) // 3)
    asked = [{"baseline": "counterfactual"}, {"baseline": "zero"}]
    for options in [*asked, {"norm_scale": "frozen"}] if ablation == "edge" else asked:
        low, wide = (cg.run_graph(net, circuit, pairs, ablation=ablation, **options) for net in nets)
        assert distance(low.float(), wide) < 0.02


def test_edges_between_features():
    pairs, (low, wide) = make_pairs(n=8, t=6), networks("gpt2")
    wide = with_features(wide, {"mlp.0": "write", "mlp.1": "hidden"})
    low = cg.attach(low, wide.dictionaries)
    graph = cg.effective_connectivity(wide, pairs, Partition.units(wide), "random")
    circuit = graph.top(len(graph.edges) // 3)
    del circuit.attributes["model"]  # rounded weights are another model's
    assert distance(cg.run_graph(low, circuit, pairs).float(), cg.run_graph(wide, circuit, pairs)) < 0.02
