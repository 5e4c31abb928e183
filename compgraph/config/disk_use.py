"""The disk that a study's buffers will take, before anything is loaded."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from compgraph.config.problems import Problem
from compgraph.config.resources import PROMPT_TOKENS
from compgraph.config.results import BUFFER_STAGES, Result
from compgraph.config.study import Study


def disk_needed(study: Study) -> int:
    """Bytes that the buffers of a study take, as far as sizes are known before loading.

    Models that are only known by a name on the hub count as nothing: the stage itself checks again before it writes.
    """
    return sum(buffer_size(study, result) for result in study.results() if result.stage in BUFFER_STAGES)


def buffer_size(study: Study, result: Result) -> int:
    """Bytes that one buffer takes, as far as sizes are known before loading."""
    recorded = study.entry(result.stage, result.name)
    width = {"float32": 4, "float16": 2, "bfloat16": 2}[recorded.dtype]
    facts, data = study.facts[result.model], study.config.datasets[result.dataset]
    units = sum((facts.sites or {})[site] for site in facts.matching(list(recorded.sites)))
    tokens = getattr(data, "length", PROMPT_TOKENS) if facts.kind == "transformer" else 1
    rows = (data.n or 0) * (tokens if recorded.positions == "all" else 1)
    return int(rows * units * width)


def too_little_space(study: Study) -> Iterator[Problem]:
    """The problem of a study whose buffers are larger than the disk is free, if they are."""
    needed, free = disk_needed(study), free_bytes(study.root)
    if needed > free:
        yield Problem(
            ("activations",),
            f"the buffers would take about {_gigabytes(needed)}, but only {_gigabytes(free)} are free for "
            f"'{study.root}'; record fewer sites, items or checkpoints, or set dtype: float16",
        )


def free_bytes(path: Path) -> int:
    """Free space on the disk that holds a path, or would hold it."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
