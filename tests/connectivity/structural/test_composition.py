"""Composition against dense matrices, and its invariances."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from compgraph.connectivity.structural import structural_connectivity
from compgraph.errors import ModelError
from compgraph.partition import Partition
from tests.connectivity.effective.test_eap import SPLITTABLE, chain
from tests.models.tiny import tiny_network


def dense(net, node_site, head=None):
    """(writer, {channel: reader}) of a head, MLP, embed or logits as explicit matrices."""
    spec, weights = net.spec, net.weights
    eye = torch.eye(spec.d_model, dtype=net.dtype)
    centre = eye - 1 / spec.d_model if spec.norm == "layer" else eye

    def gained(matrix, norm):
        return centre @ (matrix if norm.gain is None else norm.gain[:, None] * matrix)

    if node_site == "embed":
        return weights.embedding @ centre, {}
    if node_site == "logits":
        return None, {"": gained(weights.unembedding.T, weights.final_norm)}
    block = weights.blocks[int(node_site.split(".")[1])]
    rows, _, post = net.decoder(node_site)
    rows = rows * (1 if post is None else post.gain)
    if head is None:
        readers = [block.w_in] + ([] if block.w_gate is None else [block.w_gate])
        return rows @ centre, {"": gained(torch.cat(readers, 1), block.mlp_norm)}
    group = spec.n_heads // spec.n_kv_heads
    g = [1 if n is None else n.gain for n in (block.q_norm, block.k_norm)]
    q, k, v = block.w_q[head] * g[0], block.w_k[head // group] * g[1], block.w_v[head // group]
    own = rows.unflatten(0, (spec.n_heads, -1))[head]
    gain = torch.ones(spec.d_model, dtype=net.dtype) if block.attn_norm.gain is None else block.attn_norm.gain
    q, k, v = (gain[:, None] * m for m in (q, k, v))
    readers = {"q": centre @ q @ k.T, "k": centre @ k @ q.T, "v": centre @ v @ block.w_o[head]}
    return v @ own @ centre, readers


@pytest.mark.parametrize("variant", SPLITTABLE)
def test_equals_dense_matrices(variant):
    net = tiny_network(variant, dtype=torch.float64)
    graph = structural_connectivity(net, Partition.heads(net))
    nodes = graph.node_columns
    for s, t, c, w in zip(graph.source, graph.target, graph.channel, graph.weight, strict=True):
        ends = []
        for node in (s, t):
            site = nodes["site"][node]
            ends.append(dense(net, site, int(nodes["label"][node]) if site.startswith("attn") else None))
        a, b = ends[0][0], ends[1][1][graph.channels[c]]
        assert w == pytest.approx(float((a @ b).norm() / (a.norm() * b.norm())), abs=1e-10)


def test_module_scores_add_squares_of_heads():
    net = tiny_network("gpt2", dtype=torch.float64)
    fine, coarse = (structural_connectivity(net, p) for p in (Partition.heads(net), Partition.modules(net)))
    assert coarse.weight.min() > 0 and coarse.weight.max() <= 1
    value = coarse.edges.query("source == 'attn.0' and target == 'logits'").weight.item()
    heads = range(net.spec.n_heads)
    a = torch.cat([dense(net, "attn.0", h)[0] for h in heads])
    b = dense(net, "logits")[1][""]
    assert value == pytest.approx(float((a @ b).norm() / (a.norm() * b.norm())), abs=1e-10)
    assert fine.n_edges > coarse.n_edges


def test_unchanged_by_symmetries_of_the_function():
    net = tiny_network("gpt2", dtype=torch.float64)
    before = structural_connectivity(net, Partition.heads(net)).weight
    changed = copy.deepcopy(net)
    block = changed.weights.blocks[1]
    rotation = torch.linalg.qr(torch.randn(block.w_v.shape[2], block.w_v.shape[2], dtype=net.dtype)).Q
    block.w_v, block.w_o = block.w_v @ rotation, rotation.T @ block.w_o
    block.w_out = block.w_out + torch.randn(len(block.w_out), 1, dtype=net.dtype)  # a shift of all coordinates
    block.attn_norm.gain = block.attn_norm.gain * 2
    block.w_q, block.w_k, block.w_v = block.w_q / 2, block.w_k / 2, block.w_v / 2
    np.testing.assert_allclose(structural_connectivity(changed, Partition.heads(net)).weight, before, atol=1e-12)


def test_methods_serve_their_kind_of_network():
    net = tiny_network("gpt2")
    with pytest.raises(ModelError, match="weight-norm"):
        structural_connectivity(net, Partition.heads(net), "weight-norm")
    with pytest.raises(ModelError, match="composition"):
        structural_connectivity(chain(), Partition.channels(chain()), "composition")
