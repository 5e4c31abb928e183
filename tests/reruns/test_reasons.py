from __future__ import annotations

import pytest

from compgraph.provenance import library_versions
from compgraph.reruns import reasons
from compgraph.reruns.reasons import Reason, changed_modules, changed_parameters, changed_versions


def test_parameters_with_both_values() -> None:
    made = {"n": 1, "seed": 0, "gone": True, "same": [1, 2]}
    assert changed_parameters(made, {"n": 2, "seed": None, "same": [1, 2], "more": 0.5}) == (
        "n 1 → 2",
        "seed 0 → none",
        "without gone",
        "more 0.5, not recorded before",
    )
    assert changed_parameters(made, dict(reversed(made.items()))) == ()


def test_modules_by_what_became_of_them() -> None:
    assert changed_modules({"a": "1", "b": "1", "c": "1"}, {"a": "1", "b": "2", "d": "1"}) == (
        "b",
        "now with d",
        "without c",
    )


def test_only_versions_of_what_the_code_imports_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now = library_versions()
    made = now | {"torch": "0", "matplotlib": "0", "graph-tool": "0"}
    roots = ("compgraph.cli.effective",)
    assert changed_versions(made, roots) == (f"torch 0 → {now['torch']}",)
    assert changed_versions(now | {"python": "3.0.0"}, ("compgraph.errors",)) == (f"python 3.0.0 → {now['python']}",)
    monkeypatch.setattr(reasons, "library_versions", lambda: now | {"graph-tool": "1"})
    assert changed_versions(made, ("compgraph.communities.blocks.library",)) == ("graph-tool 0 → 1",)


def test_a_reason_as_words() -> None:
    assert Reason("code", ("compgraph.graph", "compgraph.parts")).text == (
        "code changed (compgraph.graph, compgraph.parts)"
    )
    assert Reason("new").text == "new"
