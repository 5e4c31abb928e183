"""What a planned run will likely take: the model of :mod:`compgraph.config.resources`, corrected by measurements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compgraph.config.disk_use import buffer_size
from compgraph.config.resources import Likely, likely, stage_of_rule
from compgraph.config.results import BUFFER_STAGES, Result
from compgraph.report.costs import job_of
from compgraph.report.items import Cost
from compgraph.report.places import Place

if TYPE_CHECKING:
    from compgraph.cli.workflow import Event
    from compgraph.config.study import Study


@dataclass
class Planned:
    """What the planned jobs of a stage will likely take together.

    Attributes
    ----------
    stage : str
    jobs, measured : int
        Jobs, and those of them of whose stage this study has measured some before.
    cpu_seconds : float
        Of one core.
    peak_bytes : float
        Memory of the largest.
    size : float
        Bytes on disk.
    """

    stage: str
    jobs: int = 0
    measured: int = 0
    cpu_seconds: float = 0.0
    peak_bytes: float = 0.0
    size: float = 0.0


class Experience:
    """What results of a study took before, by how much they are like one to come: entry, model, stage.

    Parameters
    ----------
    study : Study
    costs : iterable of Cost
        Measured jobs.
    sizes : mapping of str to int
        Bytes on disk of results, by the name of the job that made them.
    """

    def __init__(self, study: Study, costs: Iterable[Cost], sizes: Mapping[str, int]) -> None:
        self.study = study
        self._taken: dict[Hashable, list[float]] = defaultdict(lambda: [0.0] * 4)
        self._peak: dict[Hashable, float] = defaultdict(float)
        for cost in costs:
            stage, place = job_of(Path(cost.name + ".tsv"), Path())
            expected = self._expected(stage, place)
            if expected is None:
                continue
            seconds = cost.seconds if cost.cpu_seconds is None else cost.cpu_seconds
            known = sizes.get(cost.name)
            for key in _alike(stage, place):
                sums = (seconds, expected.seconds, known or 0, expected.size if known is not None else 0)
                self._taken[key] = [before + one for before, one in zip(self._taken[key], sums, strict=True)]
                self._peak[key] = max(self._peak[key], cost.peak_bytes or 0)

    def predict(self, stage: str, place: Place) -> tuple[Likely, bool]:
        """What a job will likely take, and whether anything like it was measured before."""
        expected = self._expected(stage, place) or Likely(0, 0, 0)
        seconds, size, peak, known = expected.seconds, expected.size, expected.peak_bytes, False
        for key in reversed(_alike(stage, place)):
            if key not in self._taken:
                continue
            known = True
            took, thought, bytes_taken, bytes_thought = self._taken[key]
            seconds = expected.seconds * took / thought if thought else seconds
            size = expected.size * bytes_taken / bytes_thought if bytes_thought else size
            peak = self._peak[key] or peak
        if stage in BUFFER_STAGES:
            size = buffer_size(self.study, Result(stage, place.entry, place.model, place.checkpoint, place.dataset))
        return Likely(seconds, peak, size), known

    def _expected(self, stage: str, place: Place) -> Likely | None:
        """By the sizes of model and data alone; None for a stage, model or dataset that the study does not know."""
        rule = f"train_{place.model}" if stage == "train" else stage
        if stage == "train" and place.model not in self.study.config.models:
            return None
        try:
            return likely(self.study, rule, place.model, place.dataset)
        except ValueError:
            return None


def predict(jobs: Iterable[Event], experience: Experience, benchmarks: Path) -> list[Planned]:
    """What the jobs of a plan will likely take, one row a stage.

    Parameters
    ----------
    jobs : iterable of events
        The jobs of a dry run.
    experience : Experience
    benchmarks : Path
        Folder of the study's benchmark files.
    """
    stages: dict[str, Planned] = {}
    for job in jobs:
        stage = stage_of_rule(job["rule_name"])
        _, place = job_of(Path(job["benchmark"]), benchmarks)
        one, known = experience.predict(stage, place)
        row = stages.setdefault(stage, Planned(stage))
        row.jobs += 1
        row.measured += known
        row.cpu_seconds += one.seconds
        row.peak_bytes = max(row.peak_bytes, one.peak_bytes)
        row.size += one.size * (max(1, _manifests(job)) if stage == "train" else 1)
    return list(stages.values())


def _alike(stage: str, place: Place) -> list[Hashable]:
    """What a job has in common with others, the most first."""
    entry = place.entry.partition(".")[0] if stage == "figure" else place.entry
    return [(stage, place.model, entry), (stage, entry), (stage, place.model), (stage,)]


def _manifests(job: Event) -> int:
    return sum(path.endswith(".json") for path in job.get("output") or [])
