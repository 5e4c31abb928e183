"""EAP-IG's JSON: names, signs and circuits survive; files that do not fit are named."""

from __future__ import annotations

import json

import numpy as np
import pytest

import compgraph as cg
from compgraph.errors import GraphError
from tests.connectivity.effective.test_eap import chain, make_pairs
from tests.models.tiny import tiny_network


def reference_edges(n_layers, n_heads, parallel):
    """Names of all edges as EAP-IG makes them: every later node reads the residual stream so far."""
    stream, edges = ["input"], []
    for layer in range(n_layers):
        heads = [f"a{layer}.h{head}" for head in range(n_heads)]
        before = list(stream)
        edges += [f"{source}->{head}<{channel}>" for head in heads for channel in "qkv" for source in before]
        stream += heads
        edges += [f"{source}->m{layer}" for source in (before if parallel else stream)]
        stream.append(f"m{layer}")
    return [*edges, *(f"{source}->logits" for source in stream)]


@pytest.fixture(params=["gpt2", "neox"])
def net(request):
    return tiny_network(request.param)


def a_file(net, tmp_path, **changes):
    attention = [site for site in net.architecture.node_sites if site.kind == "attn"]
    mlp = next(site for site in net.architecture.node_sites if site.kind == "mlp")
    parallel = mlp.level == attention[0].level
    names = reference_edges(len(attention), attention[0].n_heads, parallel)
    cfg = {"n_layers": len(attention), "n_heads": attention[0].n_heads, "parallel_attn_mlp": parallel, "d_model": 8}
    edges = {name: {"score": 0.5 - k, "in_graph": k % 3 == 0} for k, name in enumerate(names)}
    page = {"cfg": cfg, "nodes": {"input": {"in_graph": True}}, "edges": edges} | changes
    (tmp_path / "g.json").write_text(json.dumps(page), encoding="utf-8")
    return tmp_path / "g.json", edges


def test_their_edges_are_ours(net, tmp_path):
    path, edges = a_file(net, tmp_path)
    graph = cg.read_eap_ig(path, net)
    assert graph.n_edges == len(edges)
    table = graph.edges.set_index(["source", "target", "channel"])
    given = edges["a0.h1->m1"]
    row = table.loc[("attn.0/head.1", "mlp.1", "")]
    assert row["weight"] == given["score"] and row["in_graph"] == given["in_graph"]
    assert table.loc[("embed", "attn.0/head.0", "k"), "weight"] == edges["input->a0.h0<k>"]["score"]
    assert graph.columns["in_graph"].sum() == sum(entry["in_graph"] for entry in edges.values())
    logits = cg.run_graph(net, graph.subgraph(graph.columns["in_graph"] > 0), make_pairs(n=2))
    assert logits.shape[0] == 2


def test_ours_go_there_and_back(net, tmp_path):
    graph = cg.effective_connectivity(net, make_pairs(n=3), cg.Partition.heads(net))
    circuit = graph.top(12).prune()
    path = cg.write_eap_ig(graph, tmp_path / "g.json", circuit=circuit)
    page = json.loads(path.read_text(encoding="utf-8"))
    _, reference = a_file(net, tmp_path / "..")
    assert set(page["edges"]) == set(reference)
    again = cg.read_eap_ig(path, net)
    np.testing.assert_array_equal(again.weight, graph.weight)
    np.testing.assert_array_equal(again.columns["in_graph"] > 0, graph.mask_of(circuit))
    kept = {name for name, entry in page["nodes"].items() if entry["in_graph"]}
    assert len(kept) == len(np.unique(np.r_[circuit.source, circuit.target]))


def test_files_that_do_not_fit(net, tmp_path):
    path, edges = a_file(net, tmp_path)
    for changes, message in (
        ({"cfg": {"n_layers": 9}}, r"n_layers 9; this network has 2"),
        ({"edges": edges | {"a0.h0": {"score": 1}}}, r"'a0.h0' is no edge of EAP-IG"),
        ({"edges": edges | {"a1.h0->a0.h0<q>": {"score": 1}}}, r"no edge of this network"),
        ({"edges": {"input->logits": {"score": 1}}}, r"no score for embed -> attn.0/head.0 \(q\)"),
        ({"edges": edges | {"input->logits": {"score": "1"}}}, r"no number as its score"),
        ({"edges": edges | {"input->logits": {"score": float("nan")}}}, r"not finite"),
        ({"edges": []}, r"needs the objects cfg, nodes and edges"),
    ):  # fmt: skip
        path, _ = a_file(net, tmp_path, **changes)
        with pytest.raises(GraphError, match=message):
            cg.read_eap_ig(path, net)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(GraphError, match="is not JSON"):
        cg.read_eap_ig(path, net)
    with pytest.raises(GraphError, match="edges of transformers"):
        cg.read_eap_ig(path, chain())


def test_graphs_that_cannot_be_said(net, tmp_path):
    pairs = make_pairs(n=2)
    together = cg.effective_connectivity(net, pairs, cg.Partition.heads(net), split_qkv=False)
    with pytest.raises(GraphError, match="tells queries, keys and values apart"):
        cg.write_eap_ig(together, tmp_path / "g.json")
    modules = cg.effective_connectivity(net, pairs, cg.Partition.modules(net))
    with pytest.raises(GraphError, match=r"the node 'attn\.0' is neither"):
        cg.write_eap_ig(modules, tmp_path / "g.json")
