"""What planned circuits hold of the network."""

from __future__ import annotations

import pytest

from compgraph.ablation.circuits import CircuitMasks
from compgraph.evaluation.planning import plan_circuits
from compgraph.partition import Partition
from tests.connectivity.effective.test_eap import chain
from tests.models.tiny import tiny_network


def planned(net, partition, names):
    """The row of the circuit of all edges between some nodes."""
    full = CircuitMasks(net, partition, split_qkv=True).full
    assert set(names) <= set(full.nodes["name"])
    keep = full.nodes["name"].isin(names).to_numpy()
    circuit = full.subgraph(keep[full.source] & keep[full.target])
    return plan_circuits(net, circuit, [1.0]).table.iloc[0]


@pytest.mark.parametrize(
    ("variant", "head", "layer"),
    [("gpt2", (24 * 72 + 72 + 24 * 24) / 3, 7080), ("llama", (24 * 24 * 2 + 24 * 12 * 2) / 4, 4320)],
)
def test_parameters_of_a_head_and_an_mlp(variant, head, layer):
    net = tiny_network(variant)
    row = planned(net, Partition.heads(net), ["embed", "attn.0/head.1", "logits"])
    assert row["parameters"] == pytest.approx(head / (2 * layer))
    assert planned(net, Partition.heads(net), ["embed", "logits"])["parameters"] == 0
    row = planned(net, Partition.heads(net), ["embed", "mlp.0", "attn.0/head.0", "attn.0/head.1", "logits"])
    heads = {"gpt2": 3, "llama": 4}[variant]
    assert row["parameters"] == pytest.approx((layer - (heads - 2) * head) / (2 * layer))


def test_parameters_where_patterns_are_nodes_and_of_everything():
    net = tiny_network("gpt2")
    fine = Partition.mixed(net, {"attn.0": "units"})
    row = planned(net, fine, ["embed", "attn.0/head.2/pattern", "attn.0/unit.17", "logits"])
    qk, unit = 2 * (24 * 8 + 8), 24 + 1 + 24
    assert row["parameters"] == pytest.approx((qk + unit) / 14160)
    full = CircuitMasks(net, fine, split_qkv=True).full
    assert planned(net, fine, full.nodes["name"])["parameters"] == 1


def test_parameters_of_a_chain():
    net = chain()
    names = ["input/channel.0", "conv.0/channel.1", "conv.0/channel.3", "conv.1/channel.0"]
    row = planned(net, Partition.channels(net), names)
    assert row["parameters"] == pytest.approx((2 * 10 + 37) / 234)
