"""A tiny study, run by Snakemake for real, and what a second run makes of it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from compgraph import store
from tests.workflow.conftest import Run, command, environment

STUDY = """
models:
  chain: {{source: pretrained, path: {models}/chain}}
  stream: {{source: pretrained, path: {models}/stream}}
datasets:
  digits: {{kind: images, n: 24}}
  prompts: {{kind: task, task: induction, n: 16}}
activations: {{models: [chain]}}
structural:
  heads: {{method: composition, partition: heads}}
functional:
  channels: {{partition: channels}}
effective:
  heads: {{partition: heads}}
  channels: {{partition: channels}}
ablation:
  edges: {{graphs: [effective.heads], sizes: [0.1, 0.5, 1.0]}}
evaluation:
  curves: {{n_bootstrap: 20}}
communities:
  louvain: {{graphs: [effective.heads], n_runs: 2}}
tests:
  back-up: {{method: knock-out, graphs: [effective.heads], sizes: [0.5], n_bootstrap: 25}}
statistics:
  basic: {{graphs: [effective.channels]}}
figures: {{draw: [effective, faithfulness, knock-out]}}
report: {{title: A tiny study}}
run: {{cores: 2}}
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, models: Path, call: Run) -> Path:
    """The folder of the finished study."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "config.yaml").write_text(STUDY.format(models=models))
    done = call(["run"], cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(folder / "results" / "report" / "index.html")
    assert re.search(r"\d+/\d+ effective stream/main/prompts heads", done.stderr)
    return folder


def plan(call: Run, folder: Path) -> dict[str, str]:
    """Stage to reasons."""
    done = call(["plan"], cwd=folder)
    assert done.returncode == 0, done.stderr
    return dict(re.findall(r"^  ([a-z-]+) +\d+   (.*)$", done.stdout, re.MULTILINE))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_every_result_is_whole(study: Path) -> None:
    results = study / "results"
    expected = [
        "chain/main/model.json",
        "stream/datasets/prompts.json",
        "chain/main/digits/activations.json",
        "chain/main/digits/functional/channels.json",
        "stream/main/structural/heads.json",
        "stream/main/prompts/effective/heads.json",
        "stream/main/prompts/ablation/edges@effective.heads.json",
        "stream/main/prompts/evaluation/curves@edges@effective.heads.json",
        "stream/main/prompts/communities/louvain@effective.heads.json",
        "chain/main/digits/statistics/basic@effective.channels.json",
        "figures/stream/main/prompts/effective.heads.json",
        "figures/stream/main/prompts/faithfulness.json",
    ]
    for name in expected:
        store.verify(results / name)
    assert (results / "README.md").is_file()
    page = (results / "report" / "index.html").read_text()
    assert "A tiny study" in page
    assert not list(results.rglob("*.partial"))


def test_a_second_run_does_nothing_and_says_so(study: Path, call: Run) -> None:
    done = call(["run"], cwd=study)
    assert done.returncode == 0
    assert "nothing to do: all is up to date" in done.stderr
    assert call(["plan"], cwd=study).stdout.endswith("results are up to date.\n")


def test_one_parameter_reruns_only_what_depends_on_it(study: Path, call: Run) -> None:
    edit(study / "config.yaml", "n_bootstrap: 20", "n_bootstrap: 30")
    try:
        assert plan(call, study) == {
            "evaluation": "1 parameters changed (n_bootstrap 20 → 30)",
            "explore": "1 input made again",
            "figure": "1 input made again",
            "report": "1 input made again",
        }
    finally:
        edit(study / "config.yaml", "n_bootstrap: 30", "n_bootstrap: 20")


def test_an_added_entry_computes_only_that(study: Path, call: Run) -> None:
    edit(study / "config.yaml", "effective:\n", "effective:\n  more: {partition: modules, models: [stream]}\n")
    try:
        assert plan(call, study) == {"effective": "1 new", "figure": "1 new", "report": "1 input made again"}
    finally:
        edit(study / "config.yaml", "  more: {partition: modules, models: [stream]}\n", "")


def test_an_added_test_computes_only_that(study: Path, call: Run) -> None:
    entry = "  stable: {method: stability, graphs: [effective.heads], samples: 2}\n"
    edit(study / "config.yaml", "tests:\n", "tests:\n" + entry)
    try:
        assert plan(call, study) == {"tests": "1 new", "report": "1 input made again"}
    finally:
        edit(study / "config.yaml", entry, "")


def test_settings_of_the_run_rerun_nothing(study: Path, call: Run) -> None:
    edit(study / "config.yaml", "cores: 2", "cores: 1, device: cpu, open: false")
    try:
        assert plan(call, study) == {}
    finally:
        edit(study / "config.yaml", "cores: 1, device: cpu, open: false", "cores: 2")


def test_a_docstring_reruns_nothing_and_code_only_its_users(study: Path, call: Run, workflow_copy: Path) -> None:
    method = workflow_copy / "compgraph" / "connectivity" / "structural" / "composition.py"
    before = method.read_text()
    try:
        method.write_text(before.replace('"""', '"""In other words: ', 1) + "\n# and a comment\n")
        assert plan(call, study) == {}
        method.write_text(before + "\nUNUSED = 1\n")
        assert plan(call, study) == {
            "structural": "1 code changed (compgraph.connectivity.structural.composition)",
            "explore": "1 input made again",
            "report": "1 input made again",
        }
    finally:
        method.write_text(before)


def test_a_lost_payload_is_made_again(study: Path, call: Run) -> None:
    payload = study / "results/stream/main/structural/heads.graph"
    manifest = payload.with_suffix(".json")
    before = manifest.read_bytes()
    shutil.rmtree(payload)
    assert plan(call, study)["structural"] == "1 missing"
    done = call(["run", "structural"], cwd=study)
    assert done.returncode == 0, done.stderr
    assert manifest.read_bytes() == before
    store.verify(manifest)
    # The new manifest is the old one byte by byte, so nothing that reads it runs again.
    assert plan(call, study) == {}


def test_a_failing_job_shows_its_log_and_loses_nothing(study: Path, call: Run, models: Path) -> None:
    edit(study / "config.yaml", "kind: images, n: 24", "kind: images, n: 90000")
    try:
        done = call(["run", "data"], cwd=study)
        assert done.returncode == 1
        assert "failed: data chain digits" in done.stderr
        assert "compgraph data: digits: n is 90000" in done.stderr
        assert "run again to go on" in done.stderr
    finally:
        edit(study / "config.yaml", "n: 90000", "n: 24")
    store.verify(study / "results/stream/datasets/prompts.json")
    assert call(["run"], cwd=study).returncode == 0


def test_killed_and_run_again(tmp_path: Path, models: Path, study: Path, workflow_copy: Path, call: Run) -> None:
    (tmp_path / "config.yaml").write_text(STUDY.format(models=models))
    target = "results/stream/main/prompts/effective/heads.json"
    process = subprocess.Popen(
        command(["run", target]), cwd=tmp_path, env=environment(workflow_copy), start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "results/stream/main/model.json").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / target).exists()
    done = call(["run", target], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for name in (target, "results/stream/datasets/prompts.json", "results/stream/main/model.json"):
        store.verify(tmp_path / name)
        assert (study / name).read_bytes() == (tmp_path / name).read_bytes(), "two runs give the same bytes"
