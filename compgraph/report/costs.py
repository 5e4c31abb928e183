"""Costs of a run, from the benchmark files that Snakemake leaves for every job, summed by stage."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from compgraph.report.items import Cost
from compgraph.report.places import Place, place_of

MEBIBYTE = 1024.0**2


@dataclass(frozen=True)
class StageCost:
    """What the jobs of a stage took together.

    Attributes
    ----------
    stage
        The stage.
    jobs
        Jobs whose costs were measured.
    seconds, cpu_seconds
        Wall-clock and CPU time, summed over jobs; CPU time is None where no job was long enough to be sampled.
    peak_bytes
        Largest memory of one job.
    size
        Bytes on disk of the stage's results; None where nobody counted them.
    slowest, slowest_seconds
        The job that took longest.
    """

    stage: str
    jobs: int
    seconds: float
    cpu_seconds: float | None
    peak_bytes: float | None
    size: int | None
    slowest: str
    slowest_seconds: float


def read_costs(folder: Path) -> list[Cost]:
    """Costs of all jobs whose benchmark file is below a folder; none if there is no such folder.

    Snakemake writes wall-clock seconds as `s`, CPU seconds as `cpu_time` and resident memory in MiB as
    `max_rss`; a job that was too short to be sampled has `NA` or 0 there.
    """
    costs = []
    for path in sorted(folder.rglob("*.tsv")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                seconds = _number(row.get("s"))
                if seconds is not None:
                    costs.append(_cost(path, folder, seconds, row))
    return costs


def by_stage(costs: Iterable[Cost], sizes: Mapping[str, int] | None = None) -> list[StageCost]:
    """One row per stage, in the order of the first job of each.

    Parameters
    ----------
    costs
        Of single jobs.
    sizes
        Bytes on disk by stage.
    """
    stages: dict[str, list[Cost]] = {}
    for cost in costs:
        stages.setdefault(cost.stage, []).append(cost)
    return [_stage_cost(stage, jobs, sizes or {}) for stage, jobs in stages.items()]


def _stage_cost(stage: str, jobs: list[Cost], sizes: Mapping[str, int]) -> StageCost:
    cpu = [cost.cpu_seconds for cost in jobs if cost.cpu_seconds is not None]
    peak = [cost.peak_bytes for cost in jobs if cost.peak_bytes is not None]
    slowest = max(jobs, key=lambda cost: cost.seconds)
    return StageCost(
        stage=stage,
        jobs=len(jobs),
        seconds=sum(cost.seconds for cost in jobs),
        cpu_seconds=sum(cpu) if cpu else None,
        peak_bytes=max(peak) if peak else None,
        size=sizes.get(stage),
        slowest=slowest.name,
        slowest_seconds=slowest.seconds,
    )


def job_of(path: Path, folder: Path) -> tuple[str, Place]:
    """Stage and place of the job whose benchmark file this is, below the folder of all of them."""
    place = place_of(path, folder)
    part_of = path.parent.parent.name if path.parent.suffix == ".parts" else ""
    if not place.model and "/" in place.name:
        place = replace(place, model=place.name.split("/")[0])
    return part_of or place.stage or place.entry, place


def _cost(path: Path, folder: Path, seconds: float, row: dict[str, str]) -> Cost:
    stage, place = job_of(path, folder)
    memory = _number(row.get("max_rss"))
    return Cost(
        stage=stage,
        name=place.name,
        seconds=seconds,
        cpu_seconds=_number(row.get("cpu_time")),
        peak_bytes=memory * MEBIBYTE if memory else None,
    )


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
