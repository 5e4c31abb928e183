"""``compgraph plan``: what a run would do, and why, in plain words."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compgraph.cli.console import TO_BE_GIVEN, Call, fail, verb
from compgraph.cli.run import expand_targets, find_study, versions_in_words

if TYPE_CHECKING:
    from compgraph.reruns.jobs import Job
    from compgraph.reruns.reasons import Reason

BRIEF = ("again", "input", "files")
"""Kinds of reasons whose paths are named result by result only."""


@verb("plan")
@click.option("--config", "-c", type=TO_BE_GIVEN, help="The study; config.yaml if not given.")
@click.option("--each", is_flag=True, help="Name every result, with its reasons.")
@click.option("--json", "as_json", is_flag=True, help="Print every result and its reasons as JSON.")
@click.argument("targets", nargs=-1)
def command(call: Call, config: Path | None, each: bool, as_json: bool, targets: tuple[str, ...]) -> None:
    """Say in plain words what a run would do, and why. Nothing is made.

    TARGETS are stages (effective) or files below the results folder; everything if none is given. A result whose inputs
    are made again stays as it is if they turn out the same.
    """
    from compgraph.config.metrics import own_code
    from compgraph.released import is_released
    from compgraph.reruns.reckoning import Reckoning

    _, path, study = find_study(call, config)
    files = expand_targets(study, targets)
    reckoning = Reckoning(study)
    if unknown := reckoning.unknown(files):
        fail(f"compgraph plan: {unknown[0]} is no result of {path}")
    made, page = reckoning.among(files), reckoning.page_reasons(files)
    reasons: dict[str, list[Reason]] = made | ({"report/index.html": page} if page else {})
    stages = {path: stage_of(path, reckoning.jobs) for path in reasons}
    total, again = len(reckoning.jobs) + 1, reckoning.needed_again(files)
    notes = [*versions_in_words(reckoning), *own_code(study.config), *study.left_out()]
    if as_json:
        plan = {"config": str(path), "results": total, "to_make": len(reasons), "made_again": again}
        counts = counted(reasons, stages)
        click.echo(json.dumps({**plan, "stages": counts, "each": as_data(reasons, stages), "notes": notes}))
        return
    click.echo("\n".join(describe(reasons, stages, total, str(path))))
    if each and reasons:
        click.echo("\n" + "\n".join(f"{one}: {in_words(reasons[one])}" for one in reasons))
    jobs = [reckoning.jobs[one] for one in made]
    said = batches_in_words(jobs, bool(page), study.config.run.batch)
    if released := sum(is_released(one) for one in again):
        said.append(f"{released} of these are buffers that run.keep let go and that are needed again.")
    for sentence in [*said, *(f"note: {one}" for one in notes)]:
        click.echo(f"\n{sentence}")


def stage_of(path: str, jobs: Mapping[str, Job]) -> str:
    """The stage that makes a result, or the page."""
    return jobs[path].stage if path in jobs else "report"


def as_data(reasons: Mapping[str, list[Reason]], stages: Mapping[str, str]) -> list[dict[str, Any]]:
    """The plan for programs: results in the order in which they could be made."""
    return [
        {
            "path": path,
            "stage": stages[path],
            "reasons": [{"kind": one.kind, "text": one.text, "details": list(one.details)} for one in found],
        }
        for path, found in reasons.items()
    ]


def in_words(reasons: list[Reason]) -> str:
    """Reasons as one phrase."""
    return " and ".join(reason.text for reason in reasons)


def counted(reasons: Mapping[str, list[Reason]], stages: Mapping[str, str]) -> dict[str, Counter[str]]:
    """How many results would be made, by stage in pipeline order and by reason."""
    counts: dict[str, Counter[str]] = {}
    for path, found in reasons.items():
        counts.setdefault(stages[path], Counter())[_briefly(found)] += 1
    return {stage: counts[stage] for stage in sorted(counts, key=stage_order)}


def describe(reasons: Mapping[str, list[Reason]], stages: Mapping[str, str], total: int, name: str) -> list[str]:
    """The plan, one line a stage.

    Parameters
    ----------
    reasons : mapping
        Path to why it is to be made.
    stages : mapping
        Path to the stage that makes it.
    total : int
        Results of the whole study, parts of functional statistics and the page included.
    name : str
        The config file.
    """
    if not reasons:
        return [f"{name}: nothing to do, all {total} results are up to date."]
    lines = [f"{name}: {len(reasons)} of {total} results would be made.", ""]
    counts = counted(reasons, stages)
    width = max(13, *(len(stage) + 1 for stage in counts))
    for stage, said in counts.items():
        listed = "; ".join(f"{count} {reason}" for reason, count in said.most_common())
        lines.append(f"  {stage:<{width}}{said.total():>5}   {listed}")
    return lines


def _briefly(reasons: list[Reason]) -> str:
    """Reasons as results of a stage have them in common."""
    from compgraph.reruns.reasons import WORDS

    return " and ".join(WORDS[one.kind] if one.kind in BRIEF else one.text for one in reasons)


def batches_in_words(jobs: list[Job], page: bool, size: int) -> list[str]:
    """How results share processes: one sentence, or none where nothing is shared.

    Parameters
    ----------
    jobs : list of Job
        The results that would be made.
    page : bool
        Whether the page would be.
    size : int
        ``run.batch``.
    """
    calls = {(job.stage, job.together or job.manifest): job.model for job in jobs}
    if size == 1 or len(calls) + page < 2:
        return []
    alike = Counter((stage, model) for (stage, _), model in calls.items())
    number = sum(-(-count // size) for count in alike.values()) + page
    return [
        f"They share processes, up to {size} in a row in each (run.batch): libraries and networks are loaded once for "
        f"these. On a cluster, with one stage of one model in each, that is {number} jobs or some more."
    ]


def stage_order(stage: str) -> int:
    """Where a stage stands in the pipeline."""
    from compgraph import catalogue

    order = [*catalogue.STAGES]
    return order.index(stage) if stage in order else len(order)
