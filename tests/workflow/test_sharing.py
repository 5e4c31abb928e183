"""Studies with one folder of shared results: a second one makes only what differs, and gets the same bytes."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.workflow.conftest import Run, command, environment

ASIDE = ("logs", "benchmarks", "report", "cache")
pytestmark = pytest.mark.slow
STUDY = """
models:
  net:
    {{source: trained, architecture: transformer, tasks: [induction], family: llama, layers: 1, heads: 2, width: 8,
     neurons: 8, steps: 2, batch_size: 4, warmup: 1, held_out: 8, checkpoints: [0, 2], on_miss: warn}}
datasets:
  prompts: {{kind: task, task: induction, n: 8}}
activations: {{sites: ["mlp.*"]}}
functional:
  units: {{method: pearson, partition: units}}
effective:
  heads: {{method: eap, partition: heads, checkpoints: all, batch_size: {batch}}}
communities:
  louvain: {{graphs: [effective.heads], n_runs: 2, n_nulls: 9}}
figures: {{draw: [effective]}}
run: {{cores: 1, cache: {cache}, results: {results}}}
"""


def study(folder: Path, cache: Path, batch: int = 8, results: str = "results") -> Path:
    folder.mkdir()
    text = STUDY.format(cache=cache, batch=batch, results=results)
    (folder / "config.yaml").write_text(text)
    return folder


def ran(folder: Path, results: str = "results") -> tuple[Counter[str], Counter[str]]:
    """Stages of results that were made, and of those that were taken."""
    made, taken = Counter[str](), Counter[str]()
    for log in (folder / results / "logs").rglob("*.log"):
        text = log.read_text()
        if text.startswith("$ compgraph"):
            (taken if ".json: taken from the shared results" in text else made)[text.split()[2]] += 1
    return made, taken


def digests(root: Path) -> dict[str, str]:
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_file() and name.split("/")[0] not in ASIDE and path.name[0] != ".":
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, call: Run) -> tuple[Path, Path]:
    """A finished study and the folder that it filled."""
    root = tmp_path_factory.mktemp("sharing")
    folder = study(root / "first", root / "shared folder")
    done = call(["run"], cwd=folder)
    assert done.returncode == 0, done.stderr
    made, taken = ran(folder)
    assert not taken and made["effective"] == 2 and made["train"] == 1
    return folder, root / "shared folder"


def test_the_same_study_elsewhere_makes_nothing(first: tuple[Path, Path], tmp_path: Path, call: Run) -> None:
    folder = study(tmp_path / "second", first[1], results="other/place")
    assert (done := call(["run"], cwd=folder)).returncode == 0, done.stderr
    made, taken = ran(folder, "other/place")
    assert made == Counter(report=1) and taken == ran(first[0])[0] - Counter(report=1)
    assert digests(folder / "other/place") == digests(first[0] / "results")
    assert call(["verify", "other/place", "--config", "config.yaml"], cwd=folder).returncode == 0


def test_other_names_take_what_holds_none_and_what_is_taken_is_what_would_be_made(
    first: tuple[Path, Path], tmp_path: Path, call: Run
) -> None:
    folders = [study(tmp_path / "taking", first[1]), study(tmp_path / "making", tmp_path / "empty")]
    for folder in folders:
        text = (folder / "config.yaml").read_text()
        (folder / "config.yaml").write_text(text.replace("  net:", "  other:").replace("  prompts:", "  words:"))
        assert (done := call(["run"], cwd=folder)).returncode == 0, done.stderr
    made, taken = ran(folders[0])
    assert made == Counter(data=1, figure=1, report=1) and taken["communities"] == 1 and taken["effective"] == 2
    assert not ran(folders[1])[1]
    assert digests(folders[0] / "results") == digests(folders[1] / "results")


def test_a_study_that_differs_makes_what_differs(first: tuple[Path, Path], tmp_path: Path, call: Run) -> None:
    folder = study(tmp_path / "second", first[1], batch=4)
    assert (done := call(["run"], cwd=folder)).returncode == 0, done.stderr
    made, taken = ran(folder)
    assert made["effective"] == 2 and taken["train"] == taken["data"] == taken["activations"] == 1
    assert not taken["effective"] and not made["functional"]


def test_a_damaged_entry_is_not_used_and_is_mended(first: tuple[Path, Path], tmp_path: Path, call: Run) -> None:
    cache = tmp_path / "cache"
    shutil.copytree(first[1], cache)
    for entry in cache.glob("*/*"):
        if json.loads((entry / "asked.json").read_text())["asked"]["stage"] == "effective":
            file = max((path for path in entry.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
            content = bytearray(file.read_bytes())
            content[len(content) // 2] ^= 1
            file.write_bytes(content)
    folder = study(tmp_path / "second", cache)
    assert (done := call(["run"], cwd=folder)).returncode == 0, done.stderr
    made, taken = ran(folder)
    assert made["effective"] == 2 and taken["train"] == 1
    assert digests(folder / "results") == digests(first[0] / "results")
    again = study(tmp_path / "third", cache)
    assert call(["run"], cwd=again).returncode == 0 and ran(again)[0] == Counter(report=1)


def test_two_studies_at_once_fill_one_folder(first: tuple[Path, Path], tmp_path: Path, workflow_copy: Path) -> None:
    cache = tmp_path / "cache"
    folders = [study(tmp_path / name, cache) for name in ("one", "other")]
    started = [
        subprocess.Popen(command(["run", "--quiet"]), cwd=folder, env=environment(workflow_copy)) for folder in folders
    ]
    assert [one.wait(timeout=300) for one in started] == [0, 0]
    expected = digests(first[0] / "results")
    assert all(digests(folder / "results") == expected for folder in folders)
    assert not list(cache.glob("*/.*"))
    assert len(list(cache.glob("*/*"))) == ran(first[0])[0].total() - 1  # the report is not shared
