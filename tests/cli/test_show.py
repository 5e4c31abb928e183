from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from compgraph import store
from compgraph.cli.console import Call
from compgraph.cli.main import main
from compgraph.cli.saving import save_graph
from compgraph.cli.show import manifest_of
from compgraph.graph import ComputationalGraph


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    weights = np.array([[0, 1, 2], [1, 0, -3], [2, -3, 0]], dtype=float)
    made = ComputationalGraph.from_matrix(weights, names=["a", "b", "c"])
    path = tmp_path / "results" / "tiny.json"
    save_graph(Call("communities", quiet=True), lambda: made, path, {})
    return path


def test_what_it_is_how_it_was_made_and_whether_it_is_whole(graph: Path) -> None:
    for file in (graph, graph.with_suffix(".graph")):
        done = CliRunner().invoke(main, ["show", str(file)])
        assert done.exit_code == 0, done.output
        assert "graph, " in done.output and "every byte is as written" in done.output
        assert "made by: compgraph communities" in done.output
        assert "n_nodes: 3" in done.output


def test_the_strongest_edges_come_first(graph: Path) -> None:
    lines = CliRunner().invoke(main, ["show", str(graph), "--rows", "1"]).output.splitlines()
    assert lines[-1].split()[:2] == ["b", "c"]
    assert "first 1 of 3 rows" in "\n".join(lines)


def test_as_json(graph: Path) -> None:
    told = json.loads(CliRunner().invoke(main, ["show", str(graph), "--json", "--rows", "2"]).output)
    assert (told["kind"], told["compared"], told["n_rows"]) == ("graph", "every byte", 3)
    assert told["provenance"]["stage"] == "communities" and told["summary"]["n_nodes"] == 3
    assert [(row["source"], row["target"], row["weight"]) for row in told["rows"]] == [("b", "c", -3), ("a", "c", 2)]


def test_damage_is_found_unless_only_sizes_are_compared(graph: Path) -> None:
    file = next(graph.with_suffix(".graph").glob("edges*"))
    content = bytearray(file.read_bytes())
    content[10] ^= 1
    file.write_bytes(bytes(content))
    done = CliRunner().invoke(main, ["show", str(graph)])
    assert done.exit_code == 1
    assert "is damaged" in done.output
    assert store.open(graph, lazy=True).kind == "graph"


def test_the_manifest_of_a_payload(graph: Path) -> None:
    assert manifest_of(graph.with_suffix(".graph")) == graph
    assert manifest_of(graph) == graph
    assert manifest_of(graph.parent / "none.graph") == graph.parent / "none.graph"


def test_a_file_that_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    done = CliRunner().invoke(main, ["show", str(tmp_path / "x.json")])
    assert done.exit_code == 1
    assert "not a manifest" in done.output
