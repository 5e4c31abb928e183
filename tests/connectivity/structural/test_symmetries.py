"""What leaves a transformer's function unchanged leaves its structural graphs unchanged, method by method."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from compgraph.connectivity.structural import structural_connectivity
from compgraph.connectivity.structural.virtual_circuits import SCORES
from compgraph.models.spec import NormWeights
from compgraph.partition import Partition
from tests.models.tiny import ONE_PER_FAMILY, tiny_network, tiny_tokens

METHODS = [
    ("composition", {}),
    ("composition", {"norm": "spectral", "rotated": 2}),
    ("composition", {"norm": "top"}),
    ("subspace", {}),
    ("input-output", {}),
    ("input-output", {"score": "product"}),
    ("virtual-circuits", {"rotated": 2}),
]


def changed(net):
    """The same function from other weights, by every symmetry that the family has."""
    net, torch_dtype, spec = copy.deepcopy(net), net.dtype, net.spec
    generator = torch.Generator().manual_seed(5)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch_dtype)

    for block in net.weights.blocks:
        turn = torch.linalg.qr(random(spec.d_head, spec.d_head)).Q  # inside the value space of all heads
        block.w_v, block.w_o = block.w_v @ turn, turn.T @ block.w_o
        block.b_v = None if block.b_v is None else block.b_v @ turn
        if not spec.rotary_dim and block.q_norm is None:  # another basis of queries, the inverse of keys
            basis = random(spec.d_head, spec.d_head) + 3 * torch.eye(spec.d_head, dtype=torch_dtype)
            block.w_q, block.w_k = block.w_q @ basis, block.w_k @ torch.linalg.inv(basis).T
            block.b_q = None if block.b_q is None else block.b_q @ basis
            block.b_k = None if block.b_k is None else block.b_k @ torch.linalg.inv(basis).T
        scale = random(spec.d_model).exp()  # between a norm's gain and its readers
        block.attn_norm = _scaled(block.attn_norm, scale)
        block.w_q, block.w_k, block.w_v = (w / scale[:, None] for w in (block.w_q, block.w_k, block.w_v))
        block.mlp_norm = _scaled(block.mlp_norm, scale)
        block.w_in = block.w_in / scale[:, None]
        block.w_gate = None if block.w_gate is None else block.w_gate / scale[:, None]
        if block.w_gate is not None or spec.activation == "relu":  # between a neuron's vectors
            scale = random(spec.d_mlp).exp()
            block.w_in, block.w_out = block.w_in * scale, block.w_out / scale[:, None]
            block.b_in = None if block.b_in is None else block.b_in * scale
        if spec.norm == "layer":  # writers shifted along what norms remove, readers along what never comes in
            block.w_o = block.w_o + random(*block.w_o.shape[:2], 1)
            block.w_out = block.w_out + random(len(block.w_out), 1)
            for kind in "qkv":
                weight, bias = getattr(block, f"w_{kind}"), getattr(block, f"b_{kind}")
                shift = random(len(weight), weight.shape[2])
                setattr(block, f"w_{kind}", weight + shift[:, None] / block.attn_norm.gain[:, None])
                setattr(block, f"b_{kind}", bias - shift * (block.attn_norm.bias / block.attn_norm.gain).sum())
            shift = random(block.w_in.shape[1])
            block.w_in = block.w_in + shift / block.mlp_norm.gain[:, None]
            block.b_in = block.b_in - shift * (block.mlp_norm.bias / block.mlp_norm.gain).sum()
    scale = random(spec.d_model).exp()
    net.weights.final_norm = _scaled(net.weights.final_norm, scale)
    net.weights.unembedding = net.weights.unembedding / scale
    return net


def _scaled(norm, scale):
    return NormWeights(norm.gain * scale, None if norm.bias is None else norm.bias * scale)


@pytest.fixture(scope="module", params=[*ONE_PER_FAMILY, "gpt2-untied"])
def pair(request):
    net = tiny_network(request.param, dtype=torch.float64)
    other = changed(net)
    tokens = tiny_tokens(2, 7)
    torch.testing.assert_close(other.run(tokens).logits, net.run(tokens).logits, rtol=1e-8, atol=1e-8)
    assert not torch.allclose(other.weights.blocks[0].w_q, net.weights.blocks[0].w_q)
    return net, other


@pytest.mark.parametrize(("method", "options"), METHODS)
def test_symmetries_of_the_function_change_no_score(pair, method, options):
    rescaled = pair[0].weights.blocks[0].w_gate is not None or pair[0].spec.activation == "relu"
    if options.get("score") == "product" and rescaled:
        pytest.skip("products depend on the scale of single neurons, which is free where another factor undoes it")
    before, after = (structural_connectivity(net, Partition.heads(net), method, **options) for net in pair)
    np.testing.assert_allclose(after.weight, before.weight, rtol=1e-8, atol=1e-9)
    if options.get("norm") != "spectral":  # whose rotations meet other bases of the same maps
        np.testing.assert_allclose(after.columns["p"], before.columns["p"], rtol=1e-5, atol=1e-8)
    if method == "virtual-circuits":
        for name in SCORES:
            np.testing.assert_allclose(after.node_columns[name], before.node_columns[name], rtol=1e-6, atol=1e-8)


def test_cosines_of_neurons_are_unchanged(pair):
    part = Partition.mixed(pair[0], {"mlp.*": "units", "attn.*": "heads"})
    graphs = [structural_connectivity(net, part, "input-output") for net in pair]
    assert graphs[0].weight.min() < 0  # signed
    np.testing.assert_allclose(graphs[1].weight, graphs[0].weight, rtol=1e-8, atol=1e-9)
