from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from compgraph.cli.main import main
from compgraph.cli.plan import batches_in_words, describe
from compgraph.reruns.jobs import Job
from compgraph.reruns.reasons import Reason
from tests.config.studies import SMALL


def job(stage: str, number: int, model: str = "net", together: str = "") -> Job:
    path = f"results/{model}/{stage}/{number}.json"
    return Job(stage, str(number), model, path, path, None, (), together=together)


def test_the_plan_is_grouped_by_stage_in_pipeline_order() -> None:
    reasons = {
        "index.html": [Reason("again")],
        "e1": [Reason("new")],
        "e2": [Reason("input", ("e0",))],
        "e3": [Reason("new")],
        "s": [Reason("parameters", ("n 1 → 2", "seed 0 → 1")), Reason("code", ("compgraph.graph",))],
        "m0": [Reason("new")],
        "m1": [Reason("new")],
    }
    stages = {"index.html": "report", "s": "structural", "m0": "train", "m1": "train"}
    stages |= dict.fromkeys(("e1", "e2", "e3"), "effective")
    assert describe(reasons, stages, 9, "config.yaml") == [
        "config.yaml: 7 of 9 results would be made.",
        "",
        "  train            2   2 new",
        "  structural       1   1 parameters changed (n 1 → 2, seed 0 → 1) and code changed (compgraph.graph)",
        "  effective        3   2 new; 1 input changed",
        "  report           1   1 input made again",
    ]


def test_as_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SMALL)
    monkeypatch.chdir(tmp_path)
    told = json.loads(CliRunner().invoke(main, ["plan", "--config", "a.yaml", "--json"]).output)
    assert told["config"] == "a.yaml" and told["to_make"] == told["results"] == len(told["each"])
    assert sum(count for reasons in told["stages"].values() for count in reasons.values()) == told["results"]
    assert told["stages"]["report"] == {"new": 1} and told["made_again"] == []
    assert told["each"][-1] == {
        "path": "report/index.html", "stage": "report", "reasons": [{"kind": "new", "text": "new", "details": []}],
    }  # fmt: skip


def test_nothing_to_do() -> None:
    assert describe({}, {}, 9, "config.yaml") == ["config.yaml: nothing to do, all 9 results are up to date."]


def test_the_plan_says_how_many_jobs_a_cluster_would_get() -> None:
    jobs = [*(job("effective", number) for number in range(3)), job("effective", 3, "other"), job("sbm", 0)]
    jobs += [job("train", number, together="net") for number in range(2)]
    (said,) = batches_in_words(jobs, True, 2)
    assert "up to 2 in a row" in said and "that is 6 jobs" in said
    assert batches_in_words(jobs, True, 1) == batches_in_words(jobs[-2:], False, 2) == []
