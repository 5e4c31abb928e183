from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from compgraph.cli import workflow
from compgraph.cli.main import main
from compgraph.cli.plan import batches_in_words, describe, why
from tests.config.studies import SMALL


def job(
    rule: str, reason: str, *, output: tuple[str, ...] = ("a.json",), benchmark: str | None = None
) -> dict[str, Any]:
    return {"rule_name": rule, "reason": reason, "output": list(output), "benchmark": benchmark}


OLD, NEW = "0123456789abcdef", "fedcba9876543210"


def params(before: str, now: str) -> str:
    union = "Union of exclusive params before and now across all output"
    return f"Params have changed since last execution: {union}: before: {before} now: {now} "


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("Missing output files: a.json; Input files updated by another job: b.json", "new"),
        ("Updated input files: b.json", "input changed"),
        ("Input files updated by another job: b.json", "input changed"),
        ("Set of input files has changed since last execution", "input changed"),
        ("Code has changed since last execution", "rule changed"),
        ("Incomplete output files: a.json", "interrupted"),
        ("Forced execution", "forced"),
        (params(f"'{OLD}'", f"'{NEW}'"), "code changed"),
        (params("'--n 1 --seed 0'", "'--n 2 --seed 0'"), "parameters changed (--n 1 → 2)"),
        (params("'--n 1'", "'--n 1 --prune'"), "parameters changed (--prune)"),
        (params("'--n 1 --prune'", "'--n 1'"), "parameters changed (without --prune)"),
        (params(f"'--n 1',{OLD}", f"'--n 2',{NEW}"), "code changed and parameters changed (--n 1 → 2)"),
        (params("'--sizes 0.1,0.5'", "'--sizes 0.1,0.7'"), "parameters changed (--sizes 0.1,0.5 → 0.1,0.7)"),
        (params("<nothing exclusive>", "'x'"), "parameters changed"),
    ],
)
def test_reasons_in_plain_words(reason: str, said: str) -> None:
    assert why(job("effective", reason)) == said


def test_what_was_made_once_is_missing_and_not_new(tmp_path: Path) -> None:
    record = tmp_path / "cost.tsv"
    record.touch()
    assert why(job("effective", "Missing output files: a.json", benchmark=str(record))) == "missing"
    assert why(job("effective", "Missing output files: a.json", benchmark=str(tmp_path / "no.tsv"))) == "new"


def test_the_plan_is_grouped_by_stage_in_pipeline_order() -> None:
    jobs = [
        job("report", "Input files updated by another job: a.json", output=("index.html",)),
        job("effective", "Missing output files: a.json"),
        job("effective", "Updated input files: b.json"),
        job("effective", "Missing output files: a.json"),
        job("train_net", "Missing output files: a.json", output=("a/model.json", "a/model", "b/model.json", "b/model")),
    ]
    assert describe(jobs, 9, "config.yaml") == [
        "config.yaml: 6 of 9 results would be made.",
        "",
        "  train            2   2 new",
        "  effective        3   2 new; 1 input changed",
        "  report           1   1 input changed",
    ]


def test_as_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    jobs = [job("effective", "Missing output files: a.json"), job("train_net", "Updated input files: b.json")]
    monkeypatch.setattr(workflow, "dry_run", lambda *_: jobs)
    (tmp_path / "a.yaml").write_text(SMALL)
    monkeypatch.chdir(tmp_path)
    told = json.loads(CliRunner().invoke(main, ["plan", "--config", "a.yaml", "--json"]).output)
    assert list(told["stages"].items()) == [("train", {"input changed": 1}), ("effective", {"new": 1})]
    assert told["config"] == "a.yaml" and told["to_make"] == 2 < told["results"]
    assert told["made_again"] == told["damaged"] == []


def test_nothing_to_do() -> None:
    assert describe([], 9, "config.yaml") == ["config.yaml: nothing to do, all 9 results are up to date."]


def test_the_plan_says_how_many_jobs_a_cluster_would_get() -> None:
    jobs = [job("effective", "Missing") | {"wildcards": {"model": model}} for model in ("a", "a", "a", "b")]
    jobs += [job("sbm", "Missing") | {"wildcards": {"place": "a/main/mix"}}, job("report", "Missing")]
    (said,) = batches_in_words(jobs, 2)
    assert "up to 2 in a row" in said and "that is 5 jobs" in said
    assert batches_in_words(jobs, 1) == batches_in_words(jobs[:1], 2) == []
