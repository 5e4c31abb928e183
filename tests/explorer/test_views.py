"""What a page holds: edges by strength, nodes by name, limits said."""

from __future__ import annotations

import base64
import json

import numpy as np
import pandas as pd
import pytest

from compgraph.errors import GraphError
from compgraph.explorer import Grouping, Page, View, views
from tests.explorer.examples import curve, full_page
from tests.figures.examples import transformer_graph


def unpack(column):
    return np.frombuffer(base64.b64decode(column["data"]), dtype=f"<{column['type']}")


def test_a_prefix_of_the_edges_is_the_circuit_of_that_size():
    graph = transformer_graph(3, 4)
    shown = Page("t", [View(graph)]).to_dict()["views"][0]
    source, target, channel = (unpack(shown[name]) for name in ("source", "target", "channel"))
    for k in (1, 7, 40, graph.n_edges):
        kept = graph.top(k)
        edges = set(zip(kept.source, kept.target, kept.channel, strict=True))
        assert set(zip(source[:k], target[:k], channel[:k], strict=True)) == edges
    np.testing.assert_array_equal(np.sort(unpack(shown["weight"])), np.sort(graph.weight.astype(np.float32)))
    assert shown["inputs"] == graph.inputs.tolist() and shown["outputs"] == graph.outputs.tolist()


def test_other_graphs_are_joined_by_name():
    graph = transformer_graph(2, 2)
    other = graph.top(10).prune()
    page = Page("t", [View(graph, "all"), View(other, "some")]).to_dict()
    shown = page["views"][1]
    names = page["nodes"]["name"]
    found = {(names[s], names[t]) for s, t in zip(unpack(shown["source"]), unpack(shown["target"]), strict=True)}
    assert found == set(zip(other.edges["source"].astype(str), other.edges["target"].astype(str), strict=True))


def test_limits_and_missing_nodes_are_said(monkeypatch):
    monkeypatch.setattr(views, "MOST_EDGES", 20)
    graph = transformer_graph(2, 2)
    page = Page("t", [View(graph.top(15).prune(), "few"), View(graph, "all")]).to_dict()
    assert any("of its nodes are not nodes of the first graph" in note for note in page["notes"])
    page = Page("t", [View(graph)]).to_dict()
    assert page["notes"] == [f"effective: the 20 strongest of {graph.n_edges:,} edges are in this page."]
    assert page["views"][0]["total"] == graph.n_edges


def test_curves_keep_order_and_have_no_nan():
    table = curve(100).table.sample(frac=1, random_state=0)
    confused = table.iloc[:2].assign(metric="confusion", true="cat", predicted=["cat", "dog"])
    table = pd.concat([table, confused])
    graph = transformer_graph(2, 2)
    page = Page("t", [View(graph, curves=(views.Curve("c", table),))]).to_dict()
    series = page["views"][0]["curves"][0]["series"]
    assert {one["metric"] for one in series} == {"logit_difference", "kl"}
    for one in series:
        assert one["points"]["fraction"] == [0.01, 0.1, 0.5, 1.0]
        assert one["points"]["faithfulness"][0] is None and one["points"]["n_edges"][-1] == 100
    json.dumps(page, allow_nan=False)


def test_groups_and_tasks_are_numbered_by_node():
    page = full_page()
    names = page.views[0].graph.node_names
    data = page.to_dict()
    label = unpack(data["groupings"][0]["label"])
    assert [data["groupings"][0]["groups"][k] for k in label[:5]] == ["0", "1", "2", "3", "0"]
    assert label[-1] == -1
    share = unpack(data["tasks"]["share"]).reshape(len(names), 2)
    np.testing.assert_allclose(share.sum(1), 1, rtol=1e-6)
    assert data["tasks"]["names"] == sorted(data["tasks"]["names"])
    assert list(data["items"]) == ["7"]


def test_pages_that_do_not_fit():
    graph = transformer_graph(2, 2)
    with pytest.raises(GraphError, match="at least one graph"):
        Page("t", []).to_dict()
    with pytest.raises(GraphError, match="two graphs of the page are called 'effective/a'"):
        Page("t", [View(graph, "a"), View(graph, "a")]).to_dict()
    strange = type(graph)(["x", "y"], [0], [1], None, [1.0])
    with pytest.raises(GraphError, match="no node in common"):
        Page("t", [View(graph), View(strange)]).to_dict()


@pytest.mark.parametrize("n_edges", [0, 1])
def test_graphs_of_next_to_nothing(n_edges):
    graph = transformer_graph(1, 1).top(n_edges)
    page = Page("t", [View(graph)], [Grouping("none", {})]).to_dict()
    assert len(unpack(page["views"][0]["weight"])) == n_edges
    assert unpack(page["groupings"][0]["label"]).tolist() == [-1] * graph.n_nodes
    assert pd.Series(unpack(page["nodes"]["x"])).between(0, 1).all()
