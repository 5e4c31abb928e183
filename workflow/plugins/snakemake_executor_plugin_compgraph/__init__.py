"""A Snakemake executor for this machine whose jobs share processes: several results, one start of Python.

Each result stays a job of its own, with its log, its benchmark file and its record, so what is planned, resumed and
explained is the same with and without it. A job whose line is more than one call of `compgraph` runs in a shell.
"""

import shlex
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property

from snakemake.benchmark import BenchmarkRecord, write_benchmark_records
from snakemake.exceptions import SpawnedJobError
from snakemake.executors import local
from snakemake.logging import logger
from snakemake_interface_executor_plugins.settings import ExecutorSettingsBase

from compgraph.cli.workers import Made, Workers
from compgraph.reruns.reckoning import Reckoning

common_settings = local.common_settings

NEEDS_SHELL = set("|&;<>$`\\\n")
MEBIBYTE = 1024.0**2


@dataclass
class ExecutorSettings(ExecutorSettingsBase):
    """Settings of the executor."""

    batch: int = field(
        default=1,
        metadata={
            "help": "Results that a process makes before another takes its place.",
            "env_var": False,
            "type": int,
        },
    )


class Executor(local.Executor):
    """Runs each job in a process that has made others before."""

    def __post_init__(self):
        super().__post_init__()
        self.processes = Workers(self.workflow.executor_settings.batch)

    @cached_property
    def reckoning(self):
        """What the results of the study are and should be."""
        return Reckoning(self.workflow.globals["STUDY"])

    def run_single_job(self, job):
        """Start one job; the future is done when its result is.

        A result that is as it would be made stays: what it is made from may have been made again with the same bytes,
        and dates and records that are lost or another folder's say nothing.
        """
        if self.reckoning.is_up_to_date([str(path) for path in job.output]):
            logger.info(f"unchanged: {job}", extra={"event": "unchanged", "jobid": job.jobid})
            done = Future()
            done.set_result(None)
            return done
        arguments = None if job.is_run or job.shellcmd is None else arguments_of(job.shellcmd)
        if arguments is None:
            return super().run_single_job(job)
        self.workflow.async_run(job.prepare())
        return self.pool.submit(self.cached_or_run, job, self._make, job, arguments)

    def _make(self, job, arguments):
        made = self.processes.make(arguments, place=place_of(job), threads=job.threads)
        if made.code:
            raise SpawnedJobError()  # the verb has said why
        if job.benchmark is not None:
            write_benchmark_records([record_of(made)], str(job.benchmark), False)

    def shutdown(self):
        """Wait for what runs, then let the processes end."""
        super().shutdown()
        self.processes.stop()

    def cancel(self):
        """As shutdown: what was interrupted ends by itself."""
        self.shutdown()


def arguments_of(line: str) -> list[str] | None:
    """The arguments of a line that calls `compgraph` and does nothing else; None for any other."""
    if NEEDS_SHELL & set(line):
        return None
    words = shlex.split(line)
    return words[1:] if words[:1] == ["compgraph"] else None


def place_of(job) -> str:
    """Model and checkpoint of a job's result, as its wildcards name them."""
    named = job.wildcards_dict
    if "place" in named:
        return "/".join(named["place"].split("/")[:2])
    return "/".join(named[name] for name in ("model", "checkpoint") if name in named)


def record_of(made: Made) -> BenchmarkRecord:
    """What a result cost, as Snakemake writes it of any job."""
    record = BenchmarkRecord(running_time=max(made.seconds, 1e-4), cpu_time=made.cpu_seconds)
    record.max_rss = made.peak_bytes / MEBIBYTE
    record.cpu_usage = 100 * made.cpu_seconds
    record.data_collected = True
    return record
