"""What ``compgraph run --slurm`` asks of the cluster before it starts."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.util import find_spec
from typing import TYPE_CHECKING

from compgraph.errors import CompgraphError, MissingDependency

if TYPE_CHECKING:
    from compgraph.config.run import Run

LONGEST_PAUSE = 180
"""Seconds between two looks at the jobs, at most: an ended one must be shown for as long."""
PATIENCE = 30


def slurm_arguments(settings: Run) -> list[str]:
    """Options of Snakemake for a run on Slurm, beside those of ``profiles/slurm``.

    Raises
    ------
    CompgraphError
        Where no Slurm answers.
    MissingDependency
        If Snakemake's Slurm executor is not installed.
    """
    if shutil.which("sbatch") is None:
        raise CompgraphError(
            "--slurm needs Slurm's sbatch, which is not on PATH; start this on a login node of the cluster, or leave "
            "--slurm out"
        )
    if find_spec("snakemake_executor_plugin_slurm") is None:
        raise MissingDependency(
            "--slurm needs snakemake-executor-plugin-slurm, which is not installed in this Python; "
            "pip install 'compgraph[workflow]'"
        )
    status = ["--compgraph-slurm-status-command", status_command(cluster_settings())]
    return ["--jobs", str(settings.slurm.jobs), "--compgraph-slurm-batch", str(settings.batch), *status]


def cluster_settings() -> dict[str, str]:
    """The settings of the cluster, by name.

    Raises
    ------
    CompgraphError
        If its controller does not answer.
    """
    try:
        done = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CompgraphError(f"Slurm does not answer: {error}") from None
    if done.returncode:
        raise CompgraphError(f"Slurm does not answer: {done.stderr.strip()}")
    return dict(re.findall(r"^(\w+)\s*=\s*(.*?)\s*$", done.stdout, re.MULTILINE))


def status_command(settings: dict[str, str]) -> str:
    """Which of Slurm's commands tells what became of a job: ``squeue`` where it does so for long enough.

    It needs no accounting, and notices cancelled jobs. Elsewhere ``sacct``, if there is accounting.

    Parameters
    ----------
    settings : dict
        As :func:`cluster_settings` returns them.

    Raises
    ------
    CompgraphError
        If neither can.
    """
    age = re.match(r"\d+", settings.get("MinJobAge", ""))
    if age and int(age.group()) > LONGEST_PAUSE:
        return "squeue"
    if settings.get("AccountingStorageType", "").endswith("slurmdbd") and shutil.which("sacct"):
        return "sacct"
    raise CompgraphError(
        f"this cluster forgets jobs {age.group() if age else 'some'} seconds after their end (MinJobAge) and has no "
        f"accounting, so nobody can tell what became of them; its administrator can set MinJobAge above {LONGEST_PAUSE}"
    )
