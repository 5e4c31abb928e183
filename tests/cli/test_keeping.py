"""What of a dry run has to run, where buffers that were let go would be made again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compgraph import store
from compgraph.cli.keeping import Keeper, sorted_out
from compgraph.config.config import from_mapping
from compgraph.config.study import Study
from compgraph.provenance import Provenance
from compgraph.released import is_released, release

NET = {"source": "trained", "architecture": "transformer", "tasks": ["induction"], "steps": 2, "checkpoints": [2]}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    values = {
        "models": {"net": NET},
        "datasets": {"a": {"kind": "task", "task": "induction", "n": 8}, "b": {"kind": "task", "task": "induction"}},
        "activations": {"sites": ["mlp.*"]},
        "functional": {"one": {}, "other": {}},
        "run": {"keep": "1 kB", "results": str(tmp_path / "results")},
    }
    made = Study(from_mapping(values), Path("study.yaml"))
    for buffer in made.passing_buffers():
        path = Path(made.path(buffer))
        with store.create(path, "activations", f"{path.stem}.zarr", Provenance("activations", versions={})) as draft:
            draft.path.mkdir()
            (draft.path / "numbers").write_bytes(bytes(5000))
    return made


def buffers(study: Study) -> list[Path]:
    return [Path(study.path(one)) for one in study.passing_buffers()]


def job(output: Path | str, reason: str, *inputs: Path | str) -> dict[str, Any]:
    return {"output": [str(output)], "reason": reason, "input": [str(one) for one in inputs]}


def test_only_true_readers_bring_a_buffer_back(study: Study) -> None:
    first, second = buffers(study)
    for path in (first, second):
        release(store.open(path))
    remake = [job(path, f"Missing output files: {path.with_suffix('.zarr')}") for path in (first, second)]
    changed = job("one.json", f"Input files updated by another job: {first}; Params have changed: x", first)
    dragged = job("other.json", f"Input files updated by another job: {first}", first, second)
    later = job("figure.json", "Input files updated by another job: one.json", "one.json")
    jobs, again = sorted_out(study, [*remake, changed, dragged, later])
    assert jobs == [remake[0], changed, later] and again == [str(first.with_suffix(".zarr"))]


def test_buffers_that_were_lost_and_not_let_go_are_simply_made(study: Study) -> None:
    lost = job(buffers(study)[0], f"Missing output files: {buffers(study)[0].with_suffix('.zarr')}")
    assert sorted_out(study, [lost]) == ([lost], [])


def test_a_buffer_goes_with_its_last_reader(study: Study) -> None:
    first, second = buffers(study)
    said: list[str] = []
    keeper = Keeper(study, [job("one.json", "", first), job("other.json", "", first)], [], said.append)
    assert is_released(second) and not is_released(first)  # nothing is left to read the second
    for number, output in enumerate(("one.json", "other.json")):
        assert not is_released(first)
        keeper.see({"event": "job_info", "jobid": number, "output": [output]})
        keeper.see({"event": "job_finished", "job_id": number})
    assert is_released(first) and len(said) == 2 and "as run.keep says" in said[0]


def test_a_failed_reader_keeps_it(study: Study) -> None:
    first, _ = buffers(study)
    keeper = Keeper(study, [job("one.json", "", first)], [], print)
    keeper.see({"event": "job_info", "jobid": 1, "output": ["one.json"]})
    keeper.see({"event": "job_error", "jobid": 1})
    assert not is_released(first)
