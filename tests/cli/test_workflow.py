from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from compgraph.cli import workflow
from compgraph.errors import CompgraphError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def record(pid: int, host: str | None = None, born: float = 1.0) -> None:
    workflow.RECORD.parent.mkdir(exist_ok=True)
    workflow.RECORD.write_text(json.dumps({"host": host or socket.gethostname(), "pid": pid, "born": born}))


def lock() -> None:
    Path(".snakemake/locks").mkdir(parents=True, exist_ok=True)
    Path(".snakemake/locks/0.input.lock").touch()


def dead() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    made: list[list[str]] = []

    @contextmanager
    def fake(root: Path, config: Path, arguments: list[str]) -> Iterator[list[Any]]:
        made.append(arguments)
        yield []

    monkeypatch.setattr(workflow, "snakemake", fake)
    return made


def test_a_folder_is_claimed_while_a_run_is_at_work(calls: list[list[str]]) -> None:
    with workflow.claimed(Path("."), Path("c.yaml")) as claim:
        claim(os.getpid())
        with pytest.raises(CompgraphError, match="another run"), workflow.claimed(Path("."), Path("c.yaml")):
            pytest.fail("two runs in one folder")
    assert not workflow.RECORD.exists()
    assert calls == []


def test_another_process_with_the_number_of_a_killed_run_claims_nothing(calls: list[list[str]]) -> None:
    record(os.getpid(), born=workflow._born(os.getpid()) - 100)
    with workflow.claimed(Path("."), Path("c.yaml")):
        pass
    assert workflow._alive(os.getpid(), workflow._born(os.getpid()))


def test_a_process_that_nobody_has_taken_notice_of_is_dead() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    deadline = time.monotonic() + 10
    while workflow._born(process.pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert workflow._born(process.pid) == 0
    process.wait()


def test_the_lock_of_a_killed_run_is_cleared(calls: list[list[str]]) -> None:
    record(dead())
    lock()
    with workflow.claimed(Path("."), Path("c.yaml")):
        pass
    assert calls == [["--unlock"]]


def test_the_lock_of_a_snakemake_that_died_under_a_run_is_cleared_by_the_next(calls: list[list[str]]) -> None:
    with workflow.claimed(Path("."), Path("c.yaml")) as claim:
        claim(dead())
        lock()
    with workflow.claimed(Path("."), Path("c.yaml")):
        pass
    assert calls == [["--unlock"]]


@pytest.mark.parametrize("owner", [None, "elsewhere"])
def test_a_lock_of_somebody_else_is_respected(owner: str | None, calls: list[list[str]]) -> None:
    lock()
    if owner:
        record(dead(), owner)
    with pytest.raises(CompgraphError, match="snakemake --unlock"), workflow.claimed(Path("."), Path("c.yaml")):
        pytest.fail("the folder is locked")
    assert calls == []


def test_a_torn_record_counts_as_none() -> None:
    workflow.RECORD.parent.mkdir()
    workflow.RECORD.write_text('{"host": ')
    assert workflow._read_record() is None


def test_events_are_read_as_they_are_written(here: Path) -> None:
    events = here / "events"
    events.write_text('{"event": "a"}\n{"eve')
    code = "import sys, time; time.sleep(0.3); open(sys.argv[1], 'a').write('nt\": \"b\"}\\n')"
    process = workflow.Process(subprocess.Popen([sys.executable, "-c", code, str(events)]), events)
    assert [event["event"] for event in process if event] == ["a", "b"]
    assert process.code == 0


def test_stopping_interrupts_the_whole_family(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    monkeypatch.setattr(workflow, "GRACE", 0.1)
    # What is started in the background of a shell script ignores Ctrl-C from birth, and so would what it starts.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    child = heed + (
        "import time, pathlib\n"
        "try:\n"
        "    pathlib.Path('ready').touch()\n"
        "    time.sleep(60)\n"
        "except KeyboardInterrupt:\n"
        "    pathlib.Path('told').touch()"
    )
    parent = f"{heed}import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])"
    process = subprocess.Popen([sys.executable, "-c", parent], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not (here / "ready").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    workflow._stop(process)
    assert process.returncode is not None
    deadline = time.monotonic() + 20
    while not (here / "told").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (here / "told").exists()


def test_what_jobs_are_called() -> None:
    assert workflow.stage_of("train_digits-cnn") == "train"
    assert workflow.stage_of("import_model") == "import-model"
    assert workflow.title({"rule_name": "train_digits-cnn", "wildcards": {}}) == "train digits-cnn"
    place = {"place": "tf/step-000100/mix", "name": "nested", "graph": "heads"}
    assert workflow.title({"rule_name": "sbm", "wildcards": place}) == "sbm tf/step-000100/mix nested heads"


def test_tail(here: Path) -> None:
    (here / "log").write_text("a\nb\nc\n")
    assert workflow.tail(here / "log", 2) == ["b", "c"]
    assert workflow.tail(here / "none") == []


def test_the_workflow_is_found_from_anywhere() -> None:
    assert (workflow.workflow_root() / "Snakefile").is_file()


def test_the_workflow_of_somebody_else_is_left_alone(here: Path) -> None:
    (here / "workflow" / "rules").mkdir(parents=True)
    (here / "Snakefile").touch()
    assert workflow.workflow_root() != here
    (here / workflow.OWN).mkdir(parents=True)
    assert workflow.workflow_root() == here


def test_an_installation_without_its_workflow(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflow, "__file__", str(here / "packages/compgraph/cli/workflow.py"))
    with pytest.raises(CompgraphError, match="lacks its workflow"):
        workflow.workflow_root()


def test_the_command_line() -> None:
    line = workflow.command_line(Path("checkout"), Path("c.yaml"), ["--dry-run"])
    assert line[-1] == "--dry-run"
    assert [line[line.index(f"--{part}") + 1] for part in ("logger", "executor", "scheduler")] == ["compgraph"] * 3
    assert line[line.index("--configfile") + 1] == "c.yaml"


def test_the_command_line_on_slurm() -> None:
    line = workflow.command_line(Path("checkout"), Path("c.yaml"), [], "slurm")
    assert line[line.index("--workflow-profile") + 1] == str(Path("checkout/profiles/slurm"))
    assert "--executor" not in line, "the profile names it"
