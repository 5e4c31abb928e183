"""Communication channels against numpy's singular value decomposition of the dense maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compgraph.connectivity.structural import structural_connectivity
from compgraph.errors import GraphError
from compgraph.partition import Partition
from tests.connectivity.structural.dense import by_feature, ends, featured
from tests.models.tiny import ONE_PER_FAMILY, tiny_network


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
def test_equals_the_decomposition_of_dense_matrices(variant):
    net = tiny_network(variant, dtype=torch.float64)
    graph = structural_connectivity(net, Partition.heads(net), "subspace", components=2)
    for k, a, b in ends(net, graph):
        _, s, directions = np.linalg.svd(a.numpy(), full_matrices=False)
        read = np.linalg.norm(directions[s > 1e-9 * s[0]] @ b.numpy(), axis=1) / np.linalg.norm(b.numpy())
        order = np.argsort(-read)
        assert graph.weight[k] == pytest.approx(read[order[0]], abs=1e-10)
        assert graph.columns["component"][k] == order[0]
        if len(order) > 1:
            assert graph.columns["read.2"][k] == pytest.approx(read[order[1]], abs=1e-10)
            assert graph.columns["component.2"][k] == order[1]


def test_features_write_one_direction_each():
    net = featured(tiny_network("gpt2", dtype=torch.float64))
    part = by_feature(net)
    graph = structural_connectivity(net, part, "subspace")
    edges = graph.edges
    single = edges[(edges.source == "mlp.0/roi.1") & (edges.channel == "v")]
    assert (single.component == 0).all() and (single["component.2"] == -1).all() and (single["read.2"] == 0).all()
    composed = structural_connectivity(net, part)
    np.testing.assert_allclose(single.weight, composed.edges.weight[single.index], atol=1e-12)


def test_a_planted_channel_is_found():
    net = tiny_network("llama", dtype=torch.float64)
    early, late = net.weights.blocks
    _, _, directions = np.linalg.svd((early.w_v[0] @ early.w_o[1]).numpy())
    channel = torch.from_numpy(directions[2])  # the third singular direction of head 1, whose values are of group 0
    gain = late.attn_norm.gain
    late.w_q[2] += 40 * torch.outer(channel / gain, torch.ones(late.w_q.shape[2], dtype=net.dtype))
    edges = structural_connectivity(net, Partition.heads(net), "subspace").edges
    found = edges[(edges.source == "attn.0/head.1") & (edges.target == "attn.1/head.2") & (edges.channel == "q")]
    gained = np.linalg.svd((early.attn_norm.gain[:, None] * early.w_v[0] @ early.w_o[1]).numpy())[2]
    assert found.z.item() == edges.z.max()
    assert abs(gained[found.component.item()] @ channel.numpy()) > 0.5


def test_refuses_no_components():
    net = tiny_network("gpt2")
    with pytest.raises(GraphError, match="components is 0"):
        structural_connectivity(net, Partition.heads(net), "subspace", components=0)
