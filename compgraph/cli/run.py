"""``compgraph run``: make whatever of a study is missing or out of date."""

from __future__ import annotations

import os
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compgraph.cli.console import TO_BE_GIVEN, Call, fail, verb

if TYPE_CHECKING:
    from compgraph.cli.workflow import Event
    from compgraph.config.study import Study

DEFAULT_CONFIG = Path("config.yaml")


@verb("run")
@click.option("--config", "-c", type=TO_BE_GIVEN, help="The study; config.yaml if not given.")
@click.option("--cores", help="Jobs at a time: a number, or all; by default what the config says.")
@click.option("--slurm", is_flag=True, help="Make results in jobs of this Slurm cluster; run.slurm says how.")
@click.option("--verify", is_flag=True, help="Read every byte of earlier results first; what is damaged is made again.")
@click.option("--open/--no-open", "open_report", default=None, help="Open the report at the end.")
@click.argument("targets", nargs=-1)
def command(
    call: Call,
    config: Path | None,
    cores: str | None,
    slurm: bool,
    verify: bool,
    open_report: bool | None,
    targets: tuple[str, ...],
) -> None:
    """Run a study: make whatever is missing or out of date.

    TARGETS are stages (effective) or files below the results folder; everything if none is given. A run that was
    stopped or killed is continued by running again.
    """
    from compgraph.cli.keeping import Keeper, sorted_out
    from compgraph.cli.slurm import slurm_arguments
    from compgraph.cli.workflow import claimed, dry_run, results_held, snakemake
    from compgraph.config.metrics import own_code
    from compgraph.verification import settle_dates

    root, path, study = find_study(call, config)
    log = study.root / "logs" / "run.log"
    report = study.root / "report" / "index.html"
    settings = study.config.run
    if slurm and cores:
        fail("compgraph run: --cores is of runs on this machine; with --slurm, run.slurm.jobs is how many at a time")
    if slurm:
        how, profile = slurm_arguments(settings), "slurm"
    else:
        how, profile = ["--cores", str(cores or settings.cores), "--compgraph-batch", str(settings.batch)], "default"
    arguments = [*how, *expand_targets(study, targets)]
    for sentence in [*own_code(study.config), *study.left_out()]:
        call.say(f"note: {sentence}")
    watch = Watch(call.quiet)
    with interrupted_by_termination(), claimed(root, path) as claim, results_held(study.root, call.say) as held:
        for manifest, reason in find_damaged(study, verify).items():
            call.say(f"note: made again: {reason}")
            manifest.unlink()
        if settled := settle_dates([*study.paths(), *study.payloads()]):
            call.say(f"note: {settled} files of the results were dated in the future; they now have the date of today")
        keeper = None
        if study.passing_buffers():
            planned, again = sorted_out(study, dry_run(root, path, targets and expand_targets(study, targets)))
            if again:
                call.say(f"note: {len(again)} buffers that run.keep let go are needed again, and made first")
                with snakemake(root, path, [*how, *again], log, [held], profile) as process:
                    claim(process.process.pid)
                    for _ in process:
                        pass
            # What a part of the study does not make may still be read by the rest.
            keeper = None if targets else Keeper(study, planned, again, call.say)
        with snakemake(root, path, arguments, log, [held], profile) as process:
            claim(process.process.pid)
            with watch.shown():
                for event in process:
                    watch.see(event)
                    if keeper is not None:
                        keeper.see(event)
        code = process.code
        if keeper is not None and not code:
            keeper.end()
    watch.conclude(call, code, log)
    if code:
        fail(f"compgraph run: stopped; everything that is finished is kept, run again to go on. Full log: {log}")
    if targets:
        return
    click.echo(str(report.resolve()))
    if study.config.run.open if open_report is None else open_report:
        _open(report)


def find_study(call: Call, given: Path | None) -> tuple[Path, Path, Study]:
    """The folder of the workflow, the config file of a call and its study; the embedded one is named."""
    from compgraph.cli.workflow import workflow_root

    root = workflow_root()
    path = find_config(root, given)
    if given is None and path != DEFAULT_CONFIG:
        call.say(f"there is no {DEFAULT_CONFIG} here: this is the study of {path}; compgraph init writes it here")
    return root, path, load_study(path)


def find_config(root: Path, given: Path | None) -> Path:
    """The config file of a call: the one given, the one of this folder, or the workflow's own."""
    if given is not None:
        return given
    return DEFAULT_CONFIG if DEFAULT_CONFIG.is_file() else root / DEFAULT_CONFIG


def find_damaged(study: Study, every_byte: bool = False) -> dict[Path, str]:
    """Manifests of the study's results that are not as they were written, with the reason."""
    from compgraph.verification import damaged

    return damaged([*study.paths(), *study.all_parts()], every_byte)


def load_study(path: Path) -> Study:
    """The validated study of a config file."""
    from compgraph.config.config import load
    from compgraph.config.study import Study

    return Study(load(path), path)


def expand_targets(study: Study, targets: tuple[str, ...]) -> list[str]:
    """Targets as files: a stage's name means all its results.

    Raises
    ------
    ConfigError
        For a word that is neither a stage with results nor looks like a file.
    """
    from compgraph.config.base import describe_unknown
    from compgraph.errors import ConfigError

    stages: dict[str, list[str]] = {}
    for result in study.results():
        stages.setdefault(result.stage, []).extend([study.path(result), study.payload(result)])
    files: list[str] = []
    for target in targets:
        if target in stages:
            files += stages[target]
        elif "/" in target:
            files.append(target)
        else:
            raise ConfigError(describe_unknown("stage", target, list(stages)))
    return files


@contextmanager
def interrupted_by_termination() -> Iterator[None]:
    """Treat a request to terminate like Ctrl-C, so that Snakemake is stopped the safe way."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Watch:
    """What a run is doing, as one line on a terminal and as one line a finished job elsewhere."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.running: dict[int, str] = {}
        self.logs: dict[int, Path] = {}
        self.done, self.total, self.at_once = 0, 0, 1
        self.begun: dict[int, tuple[str, float]] = {}
        self.waiting: Counter[str] = Counter()
        self.took: dict[str, list[float]] = {}
        self.failed: list[Event] = []
        self.errors: list[str] = []
        self._status: Any = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the line while the body runs."""
        if self.quiet or not sys.stderr.isatty():
            yield
            return
        from rich.console import Console

        with Console(stderr=True).status("planning …") as status:
            self._status = status
            yield
        self._status = None

    def see(self, event: Event | None) -> None:
        """Take note of an event; None only lets time pass."""
        if event is not None:
            handler = getattr(self, f"_{event['event']}", None)
            if handler is not None:
                handler(event)
        if self._status is not None:
            self._status.update(self.line())

    def line(self) -> str:
        """What runs, how much is done and how much time is left."""
        if not self.total:
            return "planning …"
        names = ", ".join(self._inside(number, name) for number, name in self.running.items()) or "…"
        return f"{self.done}/{self.total} done{self._left()} · {names}"

    def _inside(self, number: int, name: str) -> str:
        """A job's name, and how far it is by the last line of its log."""
        from compgraph.cli.workflow import tail

        last = tail(self.logs[number], 1) if number in self.logs else []
        return f"{name} ({last[0][:60]})" if last and not last[0].startswith("$") else name

    def _left(self) -> str:
        from compgraph.progress import format_seconds

        seconds = self.seconds_left()
        return "" if seconds is None else f", about {format_seconds(seconds)} left"

    def seconds_left(self) -> float | None:
        """Time left, if the jobs to come take as long as those of their rule have, or else as all have."""
        if not self.done or self.done >= self.total:
            return None
        every = [seconds for times in self.took.values() for seconds in times]
        mean = {rule: sum(times) / len(times) for rule, times in self.took.items()}
        # The typical job, not the mean one: training takes many times as long as anything else.
        typical = statistics.median(every)
        left = sum(count * mean.get(rule, typical) for rule, count in self.waiting.items())
        now = time.monotonic()
        left += sum(max(mean.get(rule, typical) - (now - begun), 0.0) for rule, begun in self.begun.values())
        return left / self.at_once

    def _run_info(self, event: Event) -> None:
        stats = {rule: int(count) for rule, count in (event.get("stats") or {}).items() if rule not in ("total", "all")}
        if sum(stats.values()) > self.total:
            self.total, self.waiting = sum(stats.values()), Counter(stats)

    def _job_info(self, event: Event) -> None:
        from compgraph.cli.workflow import title

        if event["rule_name"] != "all":
            self.running[event["jobid"]] = title(event)
            self.begun[event["jobid"]] = (event["rule_name"], time.monotonic())
            self.waiting[event["rule_name"]] -= 1
            self.at_once = max(self.at_once, len(self.running))
            for name in event.get("log") or []:
                self.logs[event["jobid"]] = Path(name)

    def _job_finished(self, event: Event) -> None:
        number: int = event["job_id"] if "job_id" in event else event.get("jobid", -1)
        # On a cluster a job is tried again.
        self.failed = [failed for failed in self.failed if failed.get("jobid") != number]
        name = self.running.pop(number, None)
        if name is None:
            return
        rule, begun = self.begun.pop(number)
        self.took.setdefault(rule, []).append(time.monotonic() - begun)
        self.done += 1
        if not self.quiet and self._status is None:
            click.echo(f"{self.done}/{self.total} {name}{self._left()}", err=True)

    def _job_error(self, event: Event) -> None:
        name = self.running.pop(event.get("jobid", -1), None)
        begun = self.begun.pop(event.get("jobid", -1), None)
        if begun is not None:
            self.waiting[begun[0]] += 1
        self.failed.append({**event, "title": name or event.get("rule_name", "a job")})

    def _message(self, event: Event) -> None:
        self.errors.append(event["text"])

    _error = _message

    def conclude(self, call: Call, code: int | None, log: Path) -> None:
        """Say how the run ended; of every failed job the end of its log."""
        from compgraph.cli.workflow import tail

        for event in self.failed:
            logs = [Path(name) for name in event.get("log") or []]
            lines = [line for path in logs for line in what_went_wrong(tail(path))]
            click.echo(f"\nfailed: {event['title']}" + (f" ({logs[0]})" if logs else ""), err=True)
            click.echo("\n".join(f"  {line}" for line in lines), err=True)
        if code and not self.failed:
            click.echo("\n".join(self.errors or tail(log, 20)), err=True)
        if not code:
            text = (
                f"made {self.done} of {self.total} jobs' results" if self.total else "nothing to do: all is up to date"
            )
            call.say(text)


def what_went_wrong(lines: list[str]) -> list[str]:
    """The end of a job's log: the sentence that a verb ends with, if it ends with one, without the traceback before."""
    last = max((number for number, line in enumerate(lines) if line.startswith("compgraph ")), default=0)
    return lines[last:]


def _open(report: Path) -> None:
    """Open the report where there is a desktop and somebody to look at it."""
    desktop = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if desktop and sys.stdout.isatty() and not os.environ.get("CI"):
        import webbrowser

        webbrowser.open(report.resolve().as_uri())
