from __future__ import annotations

import stat
from pathlib import Path

import pytest

from compgraph.cli.slurm import slurm_arguments, status_command
from compgraph.config.run import Run
from compgraph.errors import CompgraphError


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of commands that is all of PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("compgraph.cli.slurm.find_spec", lambda _: object())
    command(tmp_path / "sbatch", "exit 0")
    return tmp_path


def command(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_without_slurm_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CompgraphError, match="sbatch, which is not on PATH"):
        slurm_arguments(Run())


def test_a_silent_controller_is_reported(cluster: Path) -> None:
    command(cluster / "scontrol", "echo Unable to contact slurm controller >&2; exit 1")
    with pytest.raises(CompgraphError, match="does not answer: Unable to contact"):
        slurm_arguments(Run())


def test_the_arguments_follow_study_and_cluster(cluster: Path) -> None:
    command(cluster / "scontrol", "echo 'MinJobAge               = 300 sec'")
    words = slurm_arguments(Run(batch=8))
    assert words == [
        *("--jobs", "1000", "--compgraph-slurm-batch", "8"),
        *("--compgraph-slurm-status-command", "squeue"),
    ]


def test_status_is_asked_of_what_the_cluster_has(cluster: Path) -> None:
    accounting = {"AccountingStorageType": "accounting_storage/slurmdbd"}
    assert status_command({"MinJobAge": "300 sec", **accounting}) == "squeue"
    with pytest.raises(CompgraphError, match="60 seconds after their end"):
        status_command({"MinJobAge": "60 sec", **accounting})  # there is no sacct
    command(cluster / "sacct", "exit 0")
    assert status_command({"MinJobAge": "60 sec", **accounting}) == "sacct"
    with pytest.raises(CompgraphError, match="MinJobAge"):
        status_command({"MinJobAge": "60 sec", "AccountingStorageType": "accounting_storage/none"})
