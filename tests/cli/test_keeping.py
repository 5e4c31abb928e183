"""When large buffers go, and what brings them back."""

from __future__ import annotations

from pathlib import Path

import pytest

from compgraph import store
from compgraph.cli.keeping import Keeper
from compgraph.config.config import from_mapping
from compgraph.config.study import Study
from compgraph.provenance import Provenance
from compgraph.released import is_released, release
from compgraph.reruns.reasons import Reason
from compgraph.reruns.reckoning import Reckoning, payloads_to_keep

NET = {"source": "trained", "architecture": "transformer", "tasks": ["induction"], "steps": 2, "checkpoints": [2]}

VALUES = {
    "models": {"net": NET},
    "datasets": {"a": {"kind": "task", "task": "induction", "n": 8}, "b": {"kind": "task", "task": "induction"}},
    "activations": {"sites": ["mlp.*"]},
    "functional": {"one": {}, "other": {}},
}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    values = {**VALUES, "run": {"keep": "1 kB", "results": str(tmp_path / "results")}}
    made = Study(from_mapping(values), Path("study.yaml"))
    for buffer in made.passing_buffers():
        path = Path(made.path(buffer))
        with store.create(path, "activations", f"{path.stem}.zarr", Provenance("activations", versions={})) as draft:
            draft.path.mkdir()
            (draft.path / "numbers").write_bytes(bytes(5000))
    return made


def buffers(study: Study) -> list[Path]:
    return [Path(study.path(one)) for one in study.passing_buffers()]


def reckoning(study: Study, *made: str) -> Reckoning:
    """A study of which only some readers of the first buffer are to be made."""
    found = Reckoning(study)
    found.own_reasons = {readers(study)[name]: [Reason("new")] for name in made}
    return found


def readers(study: Study) -> dict[str, str]:
    """Readers of the first buffer."""
    first = str(buffers(study)[0])
    return {job.name: path for path, job in Reckoning(study).jobs.items() if first in job.reads}


def test_only_what_runs_brings_a_buffer_back(study: Study) -> None:
    first, second = buffers(study)
    for path in (first, second):
        release(store.open(path))
    assert reckoning(study).needed_again() == []
    assert reckoning(study, "one").needed_again() == [str(first)]
    assert str(first.with_suffix(".zarr")) not in payloads_to_keep(study)
    everything = Study(from_mapping({**VALUES, "run": {"results": str(study.root)}}), Path("study.yaml"))
    assert str(first) not in Reckoning(everything).put_away, "run.keep no longer lets it go"
    assert str(first.with_suffix(".zarr")) in payloads_to_keep(everything)


def test_a_buffer_goes_with_its_last_reader(study: Study) -> None:
    first, second = buffers(study)
    said: list[str] = []
    keeper = Keeper(reckoning(study, "one", "other"), said.append)
    assert is_released(second) and not is_released(first)  # nothing is left to read the second
    for number, output in enumerate(readers(study)[name] for name in ("one", "other")):
        assert not is_released(first)
        keeper.see({"event": "job_info", "jobid": number, "output": [output]})
        keeper.see({"event": "job_finished", "job_id": number})
    assert is_released(first) and len(said) == 2 and "as run.keep says" in said[0]


def test_a_failed_reader_keeps_it(study: Study) -> None:
    first, _ = buffers(study)
    keeper = Keeper(reckoning(study, "one"), print)
    keeper.see({"event": "job_info", "jobid": 1, "output": [readers(study)["one"]]})
    keeper.see({"event": "job_error", "jobid": 1})
    assert not is_released(first)
