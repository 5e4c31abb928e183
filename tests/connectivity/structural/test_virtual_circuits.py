"""Static circuits against maps of vocabulary by vocabulary, attention by position against the engine."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import compgraph as cg
from compgraph.connectivity.structural import structural_connectivity
from compgraph.errors import GraphError, ModelError
from compgraph.partition import Partition
from tests.connectivity.effective.test_eap import chain
from tests.connectivity.structural.dense import Dense
from tests.models.induction_trajectory import load_step
from tests.models.tiny import ONE_PER_FAMILY, tiny_network, tiny_tokens


def copying(matrix):
    values = np.linalg.eigvals(matrix.numpy())
    return values.real.sum() / np.abs(values).sum()


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
def test_scores_equal_those_of_whole_maps(variant):
    net = tiny_network(variant, dtype=torch.float64)
    table = cg.virtual_circuits(net, rotated=0)
    dense, embedding = Dense(net), net.weights.embedding
    unembedding = dense.reader("logits", "", [])
    for row in table.itertuples():
        if row.site == "embed":
            assert row.ov_copying == pytest.approx(copying(embedding @ unembedding), abs=1e-8)
            continue
        width = net.spec.d_head
        units = list(range(row.head * width, (row.head + 1) * width))
        ov = embedding @ dense.value_maps(row.site, units)[row.head] @ unembedding
        q, k = (dense.heads(row.site, name)[row.head] for name in "qk")
        assert row.ov_copying == pytest.approx(copying(ov), abs=1e-8)
        assert row.qk_matching == pytest.approx(copying(embedding @ q @ k.T @ embedding.T), abs=1e-8)


def test_attention_by_position_is_that_of_the_engine():
    net = tiny_network("gpt2", dtype=torch.float64)
    net.weights.embedding[:] = net.weights.embedding.mean(0)  # every token is the mean
    pattern = net.run(tiny_tokens(1, 9), capture=["attn.0.pattern"]).units["attn.0.pattern"][0]
    table = cg.virtual_circuits(net, positions=9, rotated=0)
    previous = table.previous_token[table.site == "attn.0"]
    np.testing.assert_allclose(previous, pattern.diagonal(-1, 1, 2).mean(1), rtol=1e-10)
    current = table.current_token[table.site == "attn.0"]
    np.testing.assert_allclose(current, pattern.diagonal(0, 1, 2)[:, 1:].mean(1), rtol=1e-10)


def test_graph_has_the_edges_of_static_paths_and_the_scores_of_heads():
    net = tiny_network("llama")
    part = Partition.heads(net)
    graph, composed = (structural_connectivity(net, part, m) for m in ("virtual-circuits", "composition"))
    table = graph.edges
    assert ((table.source == "embed") | (table.target == "logits")).all()
    both = table.merge(composed.edges, on=["source", "target", "channel"])
    assert len(both) == len(table) and (both.weight_x == both.weight_y).all()
    nodes, heads = graph.nodes, cg.virtual_circuits(net)
    at = nodes.site.str.startswith("attn")
    np.testing.assert_array_equal(nodes.ov_copying[at], heads.ov_copying[:-1])
    assert nodes.ov_copying[~at].isna().all()
    assert graph.attributes["direct_copying"] == heads.ov_copying.iloc[-1]


def test_the_induction_circuit_stands_out(shared):
    net = load_step(shared, 0)
    table = cg.virtual_circuits(net).set_index("site")
    assert table.previous_token["attn.0"] > 0.7 and table.ov_copying["attn.1"] > 0.99
    assert table.ov_copying_z["attn.1"] > 4
    edges = structural_connectivity(net, Partition.heads(net)).edges
    best = edges.loc[edges[edges.source == "attn.0/head.0"].z.idxmax()]
    assert (best.target, best.channel) == ("attn.1/head.0", "k")
    assert best.z > 30 and best.p_adjusted < 1e-30


def test_bad_input_is_refused():
    net = tiny_network("gpt2")
    with pytest.raises(GraphError, match=r"the parts of attn.0 must be its heads"):
        structural_connectivity(net, Partition.modules(net), "virtual-circuits")
    with pytest.raises(GraphError, match="positions is 1"):
        cg.virtual_circuits(net, positions=1)
    with pytest.raises(ModelError, match="not for a sequential"):
        cg.virtual_circuits(chain())
