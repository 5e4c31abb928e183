"""Results that share processes: the bytes of a process each, and nothing made twice."""

from __future__ import annotations

import csv
import json
import os
import re
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
structural:
  modules: {{method: composition, seed: 3}}
functional:
  modules: {{}}
attributions:
  paths: {{method: integrated-gradients, steps: 2, baseline: resample, seed: 4, models: [stream]}}
effective:
  heads: {{partition: heads, baseline: resample, seed: 5}}
  channels: {{partition: channels, baseline: zero}}
ablation:
  edges: {{sizes: [0.2, 0.6], n_random: 2, seed: 6}}
evaluation:
  curves: {{n_bootstrap: 20, seed: 7}}
communities:
  louvain: {{n_runs: 2, seed: 8}}
sbm:
  blocks: {{nested: false, n_runs: 1, seed: 9, graphs: [structural.modules]}}
statistics:
  basic: {{n_nulls: 9, seed: 10}}
figures: {{draw: []}}
run: {{cores: 1, batch: 100}}
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, models: Path, call: Run) -> Path:
    """The folder of the finished study, all of whose results one process made."""
    folder = tmp_path_factory.mktemp("batched")
    (folder / "config.yaml").write_text(STUDY.format(models=models))
    done = call(["run"], cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def written(folder: Path) -> dict[str, int]:
    """Every manifest of a study's results, and when it was written."""
    found = [path for path in (folder / "results").rglob("*.json") if "payload" in json.loads(path.read_text())]
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in found}


def test_every_result_has_its_log_and_its_costs(study: Path) -> None:
    kinds = {json.loads((study / name).read_text())["provenance"]["stage"] for name in written(study)}
    assert {"activations", "attributions", "effective", "ablation", "sbm", "statistics", "functional"} <= kinds
    costs = list((study / "results/benchmarks").rglob("*.tsv"))
    assert len(costs) == len(written(study)) + 1  # and the report
    for path in costs:
        (row,) = csv.DictReader(path.open(), delimiter="\t")
        assert float(row["cpu_time"]) >= 0 and float(row["max_rss"]) > 1
        log = (study / "results/logs" / path.relative_to(study / "results/benchmarks")).with_suffix(".log")
        assert log.read_text().startswith("$ compgraph ")
    # Only the first one loads the libraries.
    seconds = [float(next(csv.DictReader(path.open(), delimiter="\t"))["cpu_time"]) for path in costs]
    assert sorted(seconds)[len(seconds) // 2] < 1


@pytest.mark.slow
def test_a_process_each_gives_the_same_bytes(study: Path, models: Path, tmp_path: Path, call: Run) -> None:
    (tmp_path / "config.yaml").write_text(STUDY.format(models=models).replace("batch: 100", "batch: 1"))
    place = "results/stream/main"
    seeded = ["sbm/blocks@structural.modules", "prompts/attributions/paths", "prompts/ablation/edges@effective.heads"]
    done = call(["run", *(f"{place}/{name}.json" for name in seeded)], cwd=tmp_path, timeout=600)
    assert done.returncode == 0, done.stderr
    assert len(written(tmp_path)) == 7
    for name in sorted(written(tmp_path)):
        assert store.verify(tmp_path / name).manifest == store.verify(study / name).manifest


def test_what_is_added_is_all_that_runs(study: Path, call: Run) -> None:
    before, config = written(study), study / "config.yaml"
    text = config.read_text()
    config.write_text(
        text.replace("effective:\n", "effective:\n  more: {models: [stream], baseline: zero}\n").replace(
            "batch: 100", "batch: 2"
        )
    )
    made = {"effective": 1, "ablation": 1, "evaluation": 1, "communities": 1, "statistics": 1}
    made |= {"explore": 1, "report": 1}
    planned = call(["plan"], cwd=study).stdout
    found = re.findall(r"^  ([a-z-]+) +(\d+)", planned, re.MULTILINE)
    assert {stage: int(count) for stage, count in found} == made
    assert "up to 2 in a row" in planned
    done = call(["run"], cwd=study)
    assert done.returncode == 0, done.stderr
    assert f"made {len(made)} of {len(made)} jobs' results" in done.stderr
    assert {name: time for name, time in written(study).items() if name in before} == before


def test_what_was_sealed_when_a_batch_was_killed_stays(
    tmp_path: Path, models: Path, workflow_copy: Path, call: Run
) -> None:
    (tmp_path / "config.yaml").write_text(STUDY.format(models=models))
    process = subprocess.Popen(
        command(["run", "effective", "communities"]),
        cwd=tmp_path,
        env=environment(workflow_copy),
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "results").rglob("effective/*.json")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = written(tmp_path)
    done = call(["run", "effective", "communities"], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    after = written(tmp_path)
    assert len(before) >= 4 and set(before) < set(after)
    again = [name for name in before if after[name] != before[name]]
    assert len(again) <= 1, "only what was in the making is made again"
    for name in written(tmp_path):
        store.verify(tmp_path / name)


def test_a_process_that_dies_takes_one_result_with_it(
    tmp_path: Path, models: Path, workflow_copy: Path, call: Run
) -> None:
    import psutil

    text = STUDY.format(models=models).replace("sizes: [0.2, 0.6]", "sizes: [0.2, 0.6], n_random: 400")
    (tmp_path / "config.yaml").write_text(text.replace(", n_random: 2,", ","))
    process = subprocess.Popen(
        command(["run", "--quiet", "ablation"]), cwd=tmp_path, env=environment(workflow_copy), stderr=subprocess.PIPE
    )
    log = tmp_path / "results/logs/chain/main/digits/ablation/edges@effective.channels.log"
    deadline = time.monotonic() + 120
    while not log.exists() or log.stat().st_size == 0:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    family = psutil.Process(process.pid).children(recursive=True)
    (worker,) = [one for one in family if "compgraph.cli.worker" in one.cmdline()]
    worker.kill()
    said = process.communicate(timeout=120)[1].decode()
    assert process.returncode == 1
    assert said.count("failed: ") == 1 and "failed: ablation chain/main/digits edges channels" in said
    assert list((tmp_path / "results/stream").rglob("ablation/*.json")), "the others went on"
    assert call(["run", "ablation"], cwd=tmp_path).returncode == 0
