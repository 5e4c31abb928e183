"""``compgraph costs``: what a study's results took, and what a run would take."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compgraph.cli.console import TO_BE_GIVEN, Call, verb
from compgraph.cli.plan import stage_order
from compgraph.cli.run import find_study

if TYPE_CHECKING:
    from compgraph.cli.prediction import Planned
    from compgraph.config.study import Study
    from compgraph.report.costs import StageCost
    from compgraph.report.items import Cost


@verb("costs")
@click.option("--config", "-c", type=TO_BE_GIVEN, help="The study; config.yaml if not given.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: seconds and bytes.")
@click.option("--plan/--no-plan", default=True, help="Also predict what `compgraph run` would take now.")
def command(call: Call, config: Path | None, as_json: bool, plan: bool) -> None:
    """What a study's results took, stage by stage, and what those that are missing or out of date will likely take.

    Measured: wall-clock and CPU time summed over jobs, memory of the largest, bytes on disk. Results share processes:
    the first of a process pays for loading, and memory counts what the process held before. Cluster jobs take about
    4 CPU-seconds more each, which is not counted.
    """
    from compgraph.cli.keeping import sorted_out
    from compgraph.cli.prediction import Experience, predict
    from compgraph.cli.workflow import dry_run
    from compgraph.report.costs import by_stage

    root, path, study = find_study(call, config)
    costs, sizes = measured(study)
    jobs, _ = sorted_out(study, dry_run(root, path) if plan else [])
    stages = Counter[str]()
    for name, size in sizes.items():
        stages[stage_of_job(name)] += size
    rows = sorted(by_stage(costs, stages), key=lambda row: stage_order(row.stage))
    planned = predict(jobs, Experience(study, costs, sizes), study.root / "benchmarks")
    planned.sort(key=lambda row: stage_order(row.stage))
    if as_json:
        click.echo(json.dumps({"measured": [asdict(row) for row in rows], "planned": [asdict(row) for row in planned]}))
        return
    made = len(study.results()) + len(study.all_parts())
    there = sum(Path(path).exists() for path in [*study.paths(), *study.all_parts()])
    click.echo("\n".join(measured_table(rows, there, made)))
    if plan:
        click.echo("\n".join(["", *planned_table(planned)]))


def measured(study: Study) -> tuple[list[Cost], dict[str, int]]:
    """Costs of the jobs that a study asks for, and the bytes of its results by the name of the job that made them.

    A job's name is where its benchmark file lies; that of a trained model makes all its checkpoints.
    """
    from compgraph.errors import StoreError
    from compgraph.report.costs import read_costs
    from compgraph.store import open as open_result

    trained = set(study.trained())
    manifests = {study.path(result): result.path.removesuffix(".json") for result in study.results()}
    for result in study.results():
        if result.stage == "model":
            name = "train" if result.model in trained else f"{result.checkpoint}/import-model"
            manifests[study.path(result)] = f"{result.model}/{name}"
    for part in study.all_parts():
        manifests[part] = Path(part).relative_to(study.root).with_suffix("").as_posix()
    sizes = Counter[str]()
    for manifest, name in manifests.items():
        if Path(manifest).exists():
            try:
                sizes[name] += open_result(manifest, lazy=True).size  # not of a buffer that was let go
            except StoreError:
                continue  # the plan says that it is made again
    page = study.root / "report" / "index.html"
    if page.exists():
        sizes["report"] = page.stat().st_size
    asked = {*manifests.values(), "report"}
    return [cost for cost in read_costs(study.root / "benchmarks") if cost.name in asked], dict(sizes)


def stage_of_job(name: str) -> str:
    """The stage of a job, by its name."""
    from compgraph.report.costs import job_of

    return job_of(Path(f"{name}.tsv"), Path())[0]


def measured_table(rows: Sequence[StageCost], there: int, asked: int) -> list[str]:
    """What was measured, one line a stage and one for all of them."""
    from compgraph.disk import format_bytes
    from compgraph.progress import format_seconds

    if not rows:
        return ["Nothing was measured yet."]
    cells = [
        {
            "stage": row.stage,
            "jobs": str(row.jobs),
            "time": format_seconds(row.seconds),
            "CPU time": "" if row.cpu_seconds is None else format_seconds(row.cpu_seconds),
            "memory": "" if row.peak_bytes is None else format_bytes(row.peak_bytes),
            "on disk": "" if row.size is None else format_bytes(row.size),
        }
        for row in rows
    ]
    peaks = [row.peak_bytes for row in rows if row.peak_bytes is not None]
    total = {
        "stage": "all",
        "jobs": str(sum(row.jobs for row in rows)),
        "time": format_seconds(sum(row.seconds for row in rows)),
        "CPU time": format_seconds(sum(row.cpu_seconds or 0 for row in rows)),
        "memory": format_bytes(max(peaks)) if peaks else "",
        "on disk": format_bytes(sum(row.size or 0 for row in rows)),
    }
    return [f"Measured, {there} of the study's {asked} results are there:", "", *table([*cells, total])]


def planned_table(rows: Sequence[Planned]) -> list[str]:
    """What a run will likely take, one line a stage and one for all of them."""
    from compgraph.disk import format_bytes
    from compgraph.progress import format_seconds

    if not rows:
        return ["A run has nothing to do."]
    cells = [
        {
            "stage": row.stage,
            "jobs": str(row.jobs),
            "CPU time": format_seconds(row.cpu_seconds),
            "memory": format_bytes(row.peak_bytes),
            "on disk": format_bytes(row.size),
            "measured before": f"{row.measured} of {row.jobs}",
        }
        for row in rows
    ]
    jobs, measured_before = sum(row.jobs for row in rows), sum(row.measured for row in rows)
    total = {
        "stage": "all",
        "jobs": str(jobs),
        "CPU time": format_seconds(sum(row.cpu_seconds for row in rows)),
        "memory": format_bytes(max(row.peak_bytes for row in rows)),
        "on disk": format_bytes(sum(row.size for row in rows)),
        "measured before": f"{measured_before} of {jobs}",
    }
    note = "An estimate; docs/running.md says how far off it can be. Each of a run's processes also loads libraries."
    return ["Predicted for a run now:", "", *table([*cells, total]), "", note]


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows with the same keys as lines of text: words to the left, numbers to the right."""
    heads = list(rows[0])
    wide = {head: max(len(head), *(len(row[head]) for row in rows)) for head in heads}
    lines = [dict(zip(heads, heads, strict=True)), *rows]
    pad = {head: str.rjust if head != heads[0] else str.ljust for head in heads}
    return ["  " + "  ".join(pad[head](line[head], wide[head]) for head in heads) for line in lines]
