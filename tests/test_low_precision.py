"""Networks in bfloat16: every effective method and both ablations, close to the same weights in float32.

Numbers of bfloat16 are good to 2^-8 = 0.4 %, and a forward and backward pass of these networks adds up a few such
errors; scores and logits must agree to 6 % of their length (Euclidean), the time series to 15 %, since a signal's small
fluctuations count there. Scores are kept wider than the network's own numbers.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass

import numpy as np
import pytest
import torch

import compgraph as cg
from compgraph import catalogue
from compgraph.errors import ModelError
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition
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
    for options in OPTIONS.get(method, [{}]):
        low, wide = (
            cg.effective_connectivity(net, pairs, Partition.heads(net), method, **options).edges["weight"]
            for net in networks(variant)
        )
        assert low.dtype == np.float64
        assert distance(low, wide) < (0.15 if options is SERIES else 0.06)


@pytest.mark.parametrize(("ablation", "granularity"), [("edge", "heads"), ("node", "heads"), ("node", "units")])
@pytest.mark.parametrize("variant", ["gpt2", "gemma2"])
@pytest.mark.parametrize("baseline", ["counterfactual", "zero"])
def test_ablation(ablation, granularity, variant, baseline):
    pairs = make_pairs(n=8, t=6, padded=True)
    partition = getattr(Partition, granularity)(networks(variant)[1])
    graph = cg.effective_connectivity(networks(variant)[1], pairs, partition, "random")
    circuit = graph.top(len(graph.edges) // 3)
    low, wide = (cg.run_graph(net, circuit, pairs, ablation=ablation, baseline=baseline) for net in networks(variant))
    assert distance(low.float(), wide) < 0.06


def test_edges_between_units_are_refused():
    low, pairs = networks("gpt2")[0], make_pairs(n=2, t=6)
    graph = cg.effective_connectivity(low, pairs, Partition.units(low), "random")
    with pytest.raises(ModelError, match="between units needs float32 or float64; this network computes in bfloat16"):
        cg.run_graph(low, graph.top(10), pairs)
