"""``run.keep``: a large buffer goes when all that reads it is made, and comes back only for one that runs again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from compgraph import store
from compgraph.errors import StoreError
from compgraph.released import is_released
from tests.workflow.conftest import Run

pytestmark = pytest.mark.slow
STUDY = """
models:
  net:
    {source: trained, architecture: transformer, tasks: [induction], family: llama, layers: 1, heads: 2, width: 8,
     neurons: 8, steps: 2, batch_size: 4, warmup: 1, held_out: 8, checkpoints: [2], on_miss: warn}
datasets:
  prompts: {kind: task, task: induction, n: 8}
activations: {sites: ["mlp.*"]}
functional:
  one: {method: pearson, partition: units}
  other: {method: spearman, partition: units}
figures: {draw: []}
run: {cores: 1, keep: 1 kB}
"""
BUFFER = Path("results/net/step-000002/prompts/activations")


def written(folder: Path) -> dict[str, int]:
    found = [path for path in (folder / "results").rglob("*.json") if b'"payload"' in path.read_bytes()]
    return {path.stem: path.stat().st_mtime_ns for path in found}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, call: Run) -> Path:
    folder = tmp_path_factory.mktemp("keeping")
    (folder / "config.yaml").write_text(STUDY)
    done = call(["run"], cwd=folder)
    assert done.returncode == 0 and "as run.keep says" in done.stderr, done.stderr
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "study")
    return tmp_path / "study"


def change(folder: Path, before: str, after: str) -> None:
    text = (folder / "config.yaml").read_text()
    assert before in text
    (folder / "config.yaml").write_text(text.replace(before, after))


def test_the_buffer_is_gone_and_nothing_is_to_do(folder: Path, call: Run) -> None:
    manifest = folder / BUFFER.with_suffix(".json")
    assert manifest.exists() and not manifest.with_suffix(".zarr").exists() and is_released(manifest)
    with pytest.raises(StoreError, match=r"removed to save space \(run\.keep\)"):
        store.open(manifest)
    before = written(folder)
    assert "nothing to do" in call(["plan"], cwd=folder).stdout
    done = call(["run"], cwd=folder)
    assert done.returncode == 0 and "nothing to do" in done.stderr and written(folder) == before
    assert call(["verify", "--config", "config.yaml"], cwd=folder).returncode == 0
    assert "could not be read" not in (folder / "results/report/index.html").read_text()


def test_a_reader_that_changed_gets_it_back_and_no_other_reader_runs(folder: Path, call: Run) -> None:
    change(folder, "one: {method: pearson", "one: {method: pearson, threshold: 0.1")
    before = written(folder)
    plan = call(["plan"], cwd=folder).stdout
    assert "3 of 6 results would be made" in plan and "1 of these are buffers that run.keep let go" in plan, plan
    done = call(["run"], cwd=folder)
    assert done.returncode == 0, done.stderr
    after = written(folder)
    assert {name for name in after if after[name] != before[name]} == {"activations", "one"}
    assert is_released(folder / BUFFER.with_suffix(".json"))
    assert "nothing to do" in call(["run"], cwd=folder).stderr


def test_a_buffer_that_changed_takes_its_readers_along(folder: Path, call: Run) -> None:
    change(folder, 'activations: {sites: ["mlp.*"]}', 'activations: {sites: ["mlp.*"], dtype: float32}')
    before = written(folder)
    assert (done := call(["run"], cwd=folder)).returncode == 0, done.stderr
    after = written(folder)
    assert {name for name in after if after[name] != before[name]} == {"activations", "one", "other"}


def test_everything_is_kept_again(folder: Path, call: Run) -> None:
    change(folder, "keep: 1 kB", "keep: all")
    before = written(folder)
    assert (done := call(["run"], cwd=folder)).returncode == 0, done.stderr
    after = written(folder)
    assert (folder / BUFFER.with_suffix(".zarr")).is_dir() and after["one"] >= before["one"]
    assert "nothing to do" in call(["run"], cwd=folder).stderr


def test_smaller_buffers_stay(folder: Path, call: Run) -> None:
    change(folder, "keep: 1 kB", "keep: 1 GB")
    change(folder, "one: {method: pearson", "one: {method: pearson, threshold: 0.1")
    assert (done := call(["run"], cwd=folder)).returncode == 0, done.stderr
    assert (folder / BUFFER.with_suffix(".zarr")).is_dir()
    digest = json.loads((folder / BUFFER.with_suffix(".json")).read_text())["digest"]
    assert store.verify(folder / BUFFER.with_suffix(".json")).digest == digest


def test_a_part_of_the_study_lets_nothing_go_that_the_rest_reads(folder: Path, call: Run) -> None:
    shutil.rmtree(folder / "results")
    shutil.rmtree(folder / ".snakemake")
    target = "results/net/step-000002/prompts/functional/one.json"
    assert (done := call(["run", target], cwd=folder)).returncode == 0, done.stderr
    assert (folder / BUFFER.with_suffix(".zarr")).is_dir()
    assert (done := call(["run"], cwd=folder)).returncode == 0, done.stderr
    assert is_released(folder / BUFFER.with_suffix(".json"))
