from __future__ import annotations

import importlib.util
import json

import pytest
from click.testing import CliRunner

from compgraph.cli import doctor
from compgraph.cli.main import main


def test_it_names_versions_and_the_machine() -> None:
    done = CliRunner().invoke(main, ["doctor"])
    assert done.exit_code == 0, done.output
    for word in ("python", "torch", "zarr", "graph-tool", "cores", "memory", "disk", "accelerator"):
        assert f"\n{word} " in "\n" + done.output


def test_as_json() -> None:
    told = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).output)
    assert set(told) >= {"python", "torch", "graph-tool", "cores", "accelerator"} and all(told.values())


def test_it_says_what_a_missing_library_is_needed_for(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None if name == "graph_tool" else found(name))
    ((name, said),) = doctor._graph_tool()
    assert name == "graph-tool"
    assert "nested block models need it" in said
