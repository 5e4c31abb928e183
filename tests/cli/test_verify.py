from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from compgraph import store
from compgraph.cli.main import main
from compgraph.cli.run import load_study
from compgraph.config.code import code_of
from compgraph.provenance import Provenance
from compgraph.reruns.jobs import jobs_of

CONFIG = """
models:
  net: {source: trained, architecture: mlp, steps: 2, checkpoints: [0, 2]}
run: {results: RESULTS}
"""


def make(path: Path, text: str, provenance: Provenance) -> None:
    with store.create(path, kind="model", payload="model", provenance=provenance) as draft:
        draft.path.mkdir()
        (draft.path / "weights.txt").write_text(text, encoding="utf-8")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(CONFIG.replace("RESULTS", str(tmp_path / "results")), encoding="utf-8")
    job, _ = jobs_of(load_study(path))
    provenance = Provenance("train", dict(job.parameters or {}), code=code_of(job.roots))
    for step in ("step-000000", "step-000001", "step-000002"):
        make(tmp_path / "results" / "net" / step / "model.json", step, provenance)
    (tmp_path / "results" / "net" / "step-000002" / "model.1.partial").mkdir()
    return path


def run(*arguments: str, answer: str | None = None) -> tuple[int, str]:
    done = CliRunner().invoke(main, list(arguments), input=answer)
    return done.exit_code, done.output


def test_whole_results_with_an_orphan_and_a_leftover(config: Path) -> None:
    code, text = run("verify", "--config", str(config))
    assert code == 0
    assert "3 whole results" in text and "1 orphaned" in text and "step-000001/model.json" in text
    assert "1 leftover" in text and "model.1.partial" in text


def test_what_the_study_would_make_otherwise_is_stale(config: Path) -> None:
    config.write_text(config.read_text().replace("mlp, steps: 2", "mlp, steps: 2, hidden: [8]"), encoding="utf-8")
    code, text = run("verify", "--config", str(config))
    assert code == 1
    assert "2 stale" in text and "parameters changed (hidden [64, 32] → [8])" in text


def test_damage_is_exit_code_1_and_json_lists_it(config: Path) -> None:
    (config.parent / "results" / "net" / "step-000002" / "model" / "weights.txt").write_text("step-00000X")
    assert run("verify", str(config.parent / "results"))[0] == 1
    code, text = run("verify", str(config.parent / "results"), "--json", "--quiet")
    data = json.loads(text)
    assert code == 1 and not data["sound"] and data["whole"] == 2
    assert {one["state"] for one in data["findings"]} == {"torn", "leftover"}


def test_clean_asks_then_removes_only_orphans_and_leftovers(config: Path) -> None:
    results = config.parent / "results"
    before = sorted(results.rglob("*"))
    assert "nothing was removed" in run("clean", "--config", str(config), answer="n\n")[1]
    assert sorted(results.rglob("*")) == before
    assert "removed 1 results and 1 leftovers" in run("clean", "--config", str(config), answer="y\n")[1]
    assert sorted(path.name for path in (results / "net").glob("*/model.json")) == ["model.json"] * 2
    assert "nothing to remove" in run("clean", "--config", str(config), "--yes")[1]


def test_without_a_study_no_result_is_an_orphan(config: Path) -> None:
    assert "removed 0 results and 1 leftovers" in run("clean", str(config.parent / "results"), "--yes")[1]
