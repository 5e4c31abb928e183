"""Costs of a run, from the benchmark files that Snakemake leaves for every job."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from compgraph.report.items import Cost
from compgraph.report.places import place_of

MEBIBYTE = 1024.0**2


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


def _cost(path: Path, folder: Path, seconds: float, row: dict[str, str]) -> Cost:
    place = place_of(path, folder)
    memory = _number(row.get("max_rss"))
    return Cost(
        stage=place.stage or place.entry,
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
