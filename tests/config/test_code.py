from __future__ import annotations

from compgraph.config.code import code_roots
from tests.config.studies import small


def test_the_roots_are_the_verb_and_what_the_entry_names() -> None:
    entry = small().effective["heads"]
    assert code_roots("effective", entry) == (
        "compgraph.ablation.baselines",
        "compgraph.cli.effective",
        "compgraph.connectivity.effective.eap",
        "compgraph.metrics",
    )


def test_tasks_of_a_mixture_are_roots() -> None:
    roots = code_roots("data", small().datasets["mix"])
    assert "compgraph.data.tasks.induction" in roots
    assert "compgraph.data.tasks.docstring" not in roots


def test_a_method_without_options_of_the_catalogue() -> None:
    assert code_roots("report") == ("compgraph.cli.report",)
