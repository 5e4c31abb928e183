"""AutoCircuit's prune scores: where each edge stands in the tensors, and back; nothing but tensors is read."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import compgraph as cg
from compgraph.errors import GraphError, ModelError
from tests.connectivity.effective.test_eap import make_pairs
from tests.models.tiny import tiny_network


@pytest.fixture(params=["gpt2", "neox"])
def net(request):
    return tiny_network(request.param)


def graph_of(net, **options):
    return cg.effective_connectivity(net, make_pairs(n=3), cg.Partition.heads(net), **options)


@pytest.mark.parametrize("split_qkv", [True, False])
def test_each_edge_stands_where_their_index_says(net, tmp_path, split_qkv):
    graph = graph_of(net, split_qkv=split_qkv)
    scores = torch.load(cg.write_prune_scores(graph, tmp_path / "s.pth"), weights_only=True)
    attention = [site for site in net.architecture.node_sites if site.kind == "attn"]
    n_heads = attention[0].n_heads
    sources = ["embed"]
    for layer in range(len(attention)):
        sources += [*(f"attn.{layer}/head.{head}" for head in range(n_heads)), f"mlp.{layer}"]
    found = 0
    for row in graph.edges.itertuples():
        site, _, head = str(row.target).partition("/head.")
        layer = site.partition(".")[2]
        reads = f"hook_{row.channel}_input" if split_qkv else "hook_attn_in"
        hook = reads if head else "hook_mlp_in" if site.startswith("mlp") else "hook_resid_post"
        module = f"blocks.{layer or len(attention) - 1}.{hook}"
        place = (int(head), sources.index(row.source)) if head else (sources.index(row.source),)
        assert scores[module][place] == np.float32(row.weight)
        found += 1
    assert found == graph.n_edges == sum(value.numel() for value in scores.values())
    again = cg.read_prune_scores(tmp_path / "s.pth", net)
    assert again.channels == graph.channels
    np.testing.assert_array_equal(again.weight.astype(np.float32), graph.weight.astype(np.float32))


def test_scores_that_do_not_fit(net, tmp_path):
    path = tmp_path / "s.pth"
    whole = torch.load(cg.write_prune_scores(graph_of(net), path), weights_only=True)
    first = "blocks.0.hook_q_input"
    for changed, message in (
        ({**whole, "blocks.0.hook_z": torch.zeros(1)}, "'blocks.0.hook_z' is no module"),
        ({name: value for name, value in whole.items() if name != first}, f"no scores of {first}"),
        ({**whole, first: whole[first][None]}, f"{first} is 1x"),
        ({**whole, "blocks.7.hook_mlp_in": torch.zeros(3)}, "scores of blocks.7.hook_mlp_in, which"),
        ({**whole, first: whole[first] * float("inf")}, "not finite"),
    ):
        torch.save(changed, path)
        with pytest.raises(GraphError, match=message):
            cg.read_prune_scores(path, net)
    torch.save({"f": print}, path)
    with pytest.raises(ModelError, match="plain tensors"):
        cg.read_prune_scores(path, net)
