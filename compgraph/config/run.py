"""Section ``run``: where and with what, which changes no result."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from compgraph.config.base import Device, Positive, Section, one_of
from compgraph.config.resources import STAGES

MANAGED = (
    "account", "array", "chdir", "clusters", "comment", "constraint", "cpus-per-gpu", "cpus-per-task",
    "error", "export", "gpus", "gres", "job-name", "mem", "mem-per-cpu", "nodes", "ntasks",
    "ntasks-per-gpu", "output", "parsable", "partition", "qos", "time", "wrap",
)  # fmt: skip
"""Options of sbatch that the workflow sets itself."""


def _check_option(value: str) -> str:
    name = value.removeprefix("--").partition("=")[0]
    if not re.fullmatch(r"--[a-z][a-z-]*(=[\w.,:/@%+-]+)?", value):
        raise PydanticCustomError("rule", "'{value}' is no option of sbatch like --reservation=night", {"value": value})
    if name in MANAGED:
        message = "sbatch's --{name} is set by the workflow; see run.slurm and run.resources for what can be chosen"
        raise PydanticCustomError("rule", message, {"name": name})
    return value


# They become words of a shell line.
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.,-]*$")]
Option = Annotated[str, AfterValidator(_check_option)]


UNITS = {"kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


def _check_size(value: str) -> str:
    if value != "all" and bytes_of(value) is None:
        raise PydanticCustomError("rule", "'{value}' is neither all nor a size like 500 MB or 2 GB", {"value": value})
    return value


def bytes_of(size: str) -> float | None:
    """Bytes of a size in words, as ``"2.5 GB"``; None if it is none."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(kB|MB|GB|TB)", size)
    return float(found.group(1)) * UNITS[found.group(2)] if found else None


def _check_folder(value: str) -> str:
    if not re.fullmatch(r"[\w./+=@][\w./+=@-]*", value):
        message = "'{value}' becomes words of shell lines: letters, digits and . / _ + = @ - alone, no - at the start"
        raise PydanticCustomError("rule", message, {"value": value})
    return value


Keep = Annotated[str, AfterValidator(_check_size)]
Folder = Annotated[str, Field(min_length=1), AfterValidator(_check_folder)]


class Slurm(Section):
    """Settings of ``compgraph run --slurm``."""

    account: Word | None = Field(None, description="Account that jobs are charged to.")
    partition: Word | None = Field(None, description="Partition to run in.")
    qos: Word | None = Field(None, description="Quality of service.")
    constraint: Word | None = Field(None, description="Feature that nodes must have.")
    jobs: Positive = Field(1000, description="Results submitted at a time, up to run.batch of them a job.")
    options: list[Option] = Field([], description="More options of sbatch, such as --reservation=night.")


class Needs(Section):
    """What a stage's results are given in place of the estimate."""

    mem_mb: Positive | None = Field(None, description="Megabytes of a job; retries ask for more.")
    minutes: Positive | None = Field(None, description="Minutes of each result; retries ask for more.")
    cpus: Positive | None = Field(None, description="Threads; the last bits of results depend on them.")


class Run(Section):
    """Settings of the run itself. None of them is a parameter of a result: changing them reruns nothing."""

    results: Folder = Field("results", description="Folder of the results.")
    cores: Positive | Literal["all"] = Field("all", description="Jobs at a time, one core each.")
    batch: Positive = Field(
        32, description="Results that one process makes in a row: it loads libraries and networks once for all."
    )
    device: Device = Field("auto", description="Where networks run: auto takes an accelerator if there is one.")
    cache: str | None = Field(
        None, min_length=1, description="Folder of results that studies share; what is identical is copied from it."
    )
    keep: Keep = Field(
        "all", description="all, or a size: a larger buffer is removed after its last reader, and remade if needed."
    )
    open: bool = Field(True, description="Open the report at the end, where there is a desktop.")
    slurm: Slurm = Field(Slurm(), description="Of run --slurm: account, partition, qos, constraint, jobs, options.")
    resources: dict[Annotated[str, one_of(STAGES, "stage")], Needs] = Field(
        {}, description="By stage, instead of the estimate: {effective: {mem_mb: 8000, minutes: 60, cpus: 4}}."
    )
