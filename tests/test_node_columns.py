"""Further columns of a graph's table of nodes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph


def small(**options):
    return ComputationalGraph(["a", "b", "c"], [0, 1], [1, 2], None, [1.0, -2.0], **options)


def test_they_are_there_in_every_form(tmp_path):
    sums, flags = np.array([1.5, 0.0, -2.0]), np.array([True, False, True])
    graph = small(node_columns={"out_sum": sums, "used": flags})
    sums[0] = 9  # the graph has its own copy
    assert graph.node_columns["out_sum"].tolist() == [1.5, 0.0, -2.0]
    assert graph.nodes.columns.tolist()[-2:] == ["out_sum", "used"]
    with pytest.raises(ValueError, match="read-only"):
        graph.node_columns["out_sum"][0] = 1
    assert graph.top(1).node_columns["out_sum"].tolist() == [1.5, 0.0, -2.0]
    assert graph.to_networkx().nodes["c"]["out_sum"] == -2.0
    assert graph.to_igraph().vs["used"] == [True, False, True]
    graph.save(tmp_path / "g")
    again = ComputationalGraph.load(tmp_path / "g")
    for name, values in graph.node_columns.items():
        np.testing.assert_array_equal(again.node_columns[name], values)
        assert again.node_columns[name].dtype == values.dtype


def test_a_graph_saved_before_there_were_any_is_read(tmp_path):
    small().save(tmp_path / "g")
    page = json.loads((tmp_path / "g/graph.json").read_text())
    assert page.pop("node_columns") == []
    (tmp_path / "g/graph.json").write_text(json.dumps(page))
    assert list(ComputationalGraph.load(tmp_path / "g").node_columns) == ["name", "site", "label", "size", "level"]


def test_a_missing_one_is_told(tmp_path):
    small().save(tmp_path / "g")
    page = json.loads((tmp_path / "g/graph.json").read_text())
    (tmp_path / "g/graph.json").write_text(json.dumps(page | {"node_columns": ["out_sum"]}))
    with pytest.raises(GraphError, match=r"nodes\.parquet has no column 'out_sum'"):
        ComputationalGraph.load(tmp_path / "g")


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("size", [1, 2, 3], "'size' is given with the nodes"),
        ("x", [1.0, 2.0], r"'x' has shape \(2,\), not \(3,\)"),
        ("x", ["p", "q", "r"], "'x' must hold numbers"),
    ],
)
def test_columns_that_do_not_fit(name, values, message):
    with pytest.raises(GraphError, match=message):
        small(node_columns={name: values})
