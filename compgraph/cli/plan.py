"""``compgraph plan``: what a run would do, and why, in plain words."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from compgraph.cli.console import TO_BE_GIVEN, Call, verb
from compgraph.cli.run import expand_targets, find_damaged, find_study

if TYPE_CHECKING:
    from compgraph.cli.workflow import Event

CODE = re.compile(r"\b[0-9a-f]{16}\b")
"""A code digest among a rule's parameters."""


@verb("plan")
@click.option("--config", "-c", type=TO_BE_GIVEN, help="The study; config.yaml if not given.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: results to make by stage and reason.")
@click.argument("targets", nargs=-1)
def command(call: Call, config: Path | None, as_json: bool, targets: tuple[str, ...]) -> None:
    """Say in plain words what a run would do, and why. Nothing is made.

    TARGETS are stages (effective) or files below the results folder; everything if none is given.
    """
    from compgraph.cli.keeping import sorted_out
    from compgraph.cli.workflow import dry_run
    from compgraph.config.metrics import own_code

    root, path, study = find_study(call, config)
    total = len(study.results()) + len(study.all_parts()) + 1
    jobs, again = sorted_out(study, dry_run(root, path, expand_targets(study, targets)))
    damaged = list(find_damaged(study).values())
    notes = [*own_code(study.config), *study.left_out()]
    if as_json:
        stages = reasons_by_stage(jobs)
        made = sum(reasons.total() for reasons in stages.values())
        page = {"config": str(path), "results": total, "to_make": made, "stages": stages}
        click.echo(json.dumps({**page, "made_again": again, "damaged": damaged, "notes": notes}))
        return
    click.echo("\n".join(describe(jobs, total, str(path))))
    for sentence in batches_in_words(jobs, study.config.run.batch):
        click.echo(f"\n{sentence}")
    if again:
        click.echo(f"\n{len(again)} of these are buffers that run.keep let go and that are needed again.")
    for reason in damaged:
        click.echo(f"\nnote: would be made again: {reason}")
    for sentence in notes:
        click.echo(f"\nnote: {sentence}")


def reasons_by_stage(jobs: list[Event]) -> dict[str, Counter[str]]:
    """How many results the jobs of a dry run make, by stage in pipeline order and by reason."""
    from compgraph.cli.workflow import stage_of

    stages: dict[str, Counter[str]] = {}
    for job in jobs:
        stages.setdefault(stage_of(job["rule_name"]), Counter())[why(job)] += results_of(job)
    return {stage: stages[stage] for stage in sorted(stages, key=stage_order)}


def describe(jobs: list[Event], total: int, name: str) -> list[str]:
    """The plan, one line a stage.

    Parameters
    ----------
    jobs : list of events
        The jobs of a dry run.
    total : int
        Results of the whole study, parts of functional statistics and the report included.
    name : str
        The config file.
    """
    stages = reasons_by_stage(jobs)
    made = sum(reasons.total() for reasons in stages.values())
    if not made:
        return [f"{name}: nothing to do, all {total} results are up to date."]
    lines = [f"{name}: {made} of {total} results would be made.", ""]
    width = max(13, *(len(stage) + 1 for stage in stages))
    for stage, reasons in stages.items():
        listed = "; ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        lines.append(f"  {stage:<{width}}{reasons.total():>5}   {listed}")
    return lines


def batches_in_words(jobs: list[Event], size: int) -> list[str]:
    """How the jobs of a plan share processes: one sentence, or none where nothing is shared.

    Parameters
    ----------
    jobs : list of events
        The jobs of a dry run.
    size : int
        ``run.batch``.
    """
    from compgraph.cli.workflow import model_of

    if size == 1 or len(jobs) < 2:
        return []
    alike = Counter((job["rule_name"], model_of(job)) for job in jobs)
    number = sum(-(-count // size) for count in alike.values())
    return [
        f"They share processes, up to {size} in a row in each (run.batch): libraries and networks are loaded once for "
        f"these. On a cluster, with one stage of one model in each, that is {number} jobs or some more."
    ]


def results_of(job: Event) -> int:
    """How many results a job makes: its manifests, or the report."""
    outputs: list[str] = job.get("output") or []
    return max(1, sum(path.endswith(".json") for path in outputs))


def why(job: Event) -> str:
    """Why a job would run, in plain words."""
    reason = job.get("reason") or ""
    if "Missing output files" in reason:
        return "missing" if _was_made(job) else "new"
    if "Incomplete output files" in reason:
        return "interrupted"
    causes = []
    if "Params have changed" in reason:
        causes += _changed(reason)
    if "Code has changed" in reason:
        causes.append("rule changed")
    if "nput files" in reason:
        causes.append("input changed")
    if "Forced" in reason:
        causes.append("forced")
    return " and ".join(causes) or reason or "for an unknown reason"


def _was_made(job: Event) -> bool:
    """Whether missing outputs existed before: only a job that ended well leaves a record of its cost."""
    record = job.get("benchmark")
    return record is not None and Path(record).is_file()


def _changed(reason: str) -> list[str]:
    """Which of code and parameters changed, and the parameters' old and new values."""
    found = re.search(r"before: (.*?) now: (.*?)\s*(?:;|$)", reason, re.DOTALL)
    before, now = found.groups() if found else ("", "")
    causes = []
    if CODE.search(before) or CODE.search(now):
        causes.append("code changed")
    details = _difference(_options(before), _options(now))
    if details or not causes:
        causes.append(f"parameters changed ({', '.join(details)})" if details else "parameters changed")
    return causes


def _options(text: str) -> dict[str, str]:
    """The options in the text of some parameters, without the code digest."""
    text = CODE.sub("", text).replace("<nothing exclusive>", "")
    # Values are shown as Python strings of shell words: quotes of both kinds are only wrapping.
    words = re.sub(r"[\\'\"]", " ", text).split()
    options: dict[str, str] = {}
    for word in (word.strip(",") for word in words):
        if word.startswith("--"):
            options[word] = ""
        elif options and word:
            options[next(reversed(options))] += word
    return options


def _difference(before: dict[str, str], now: dict[str, str]) -> list[str]:
    details = []
    for option in dict.fromkeys([*before, *now]):
        if option not in now:
            details.append(f"without {option}")
        elif option not in before:
            details.append(f"{option} {now[option]}".strip())
        elif before[option] != now[option]:
            details.append(f"{option} {before[option]} → {now[option]}")
    return details


def stage_order(stage: str) -> int:
    """Where a stage stands in the pipeline."""
    from compgraph import catalogue

    order = [*catalogue.STAGES]
    return order.index(stage) if stage in order else len(order)
