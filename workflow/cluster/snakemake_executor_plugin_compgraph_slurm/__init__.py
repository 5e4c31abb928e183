"""The Slurm executor of Snakemake, whose cluster jobs make several results each.

What is ready at a time is cut into batches of one stage and model. A batch is one cluster job, in which Snakemake runs
once, with the executor of this machine: its results share a process. Each is still a job of its own to the Snakemake
that waits: what is whole when a cluster job fails counts as made, and only the rest is made again, without what
refused its input.
"""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import snakemake_executor_plugin_slurm as slurm
from snakemake.iocontainers import ResourceList
from snakemake.jobs import GroupJob

from compgraph.cli.refusals import refused, state

common_settings = slurm.common_settings
LONGEST = 12 * 60
"""Minutes that a batch of several results asks for at most: few partitions allow a job more than a day."""


@dataclass
class ExecutorSettings(slurm.ExecutorSettings):
    """Those of the Slurm executor, and the size of a batch."""

    batch: int = field(default=1, metadata={"help": "Results that a cluster job makes.", "env_var": False, "type": int})


class Batch(GroupJob):
    """Jobs of one rule that a cluster job runs one after another."""

    __slots__ = ()

    @property
    def resources(self):
        """Time adds up, of everything else the largest need counts; words are those of the first."""
        needed = {}
        for job in self:
            for name, value in job.resources.items():
                if not isinstance(value, int):
                    needed.setdefault(name, value)
                else:
                    before = needed.get(name, 0)
                    needed[name] = before + value if name == "runtime" else max(before, value)
        return ResourceList(fromdict=needed)


class Executor(slurm.Executor):
    """Submits batches."""

    def __post_init__(self):
        super().__post_init__()
        self._before, self._reported = {}, set()
        self._logs = {}

    def additional_general_args(self):
        """The Snakemake of a cluster job runs its results with the executor of this machine, one at a time."""
        size = self.workflow.executor_settings.batch
        return f"--executor compgraph --scheduler compgraph --compgraph-batch {size} --keep-going"

    def get_job_args(self, job, **kwargs):
        """As ever, with the cores of one result."""
        return super().get_job_args(job, **kwargs) + f" --cores {job.threads}"

    def get_account_arg(self, job):
        """The account that the study names, for Slurm to judge; none is guessed."""
        account = job.resources.get("slurm_account")
        yield f" -A {shlex.quote(str(account))}" if account else ""

    def run_jobs(self, jobs):
        """Submit the jobs that are ready."""
        for job in jobs:
            self.run_job_pre(job)
            self._logs[job] = {log: state(Path(log)) for log in job.log}
        super().run_jobs([self._submitted(batch) for batch in batches(jobs, self.workflow.executor_settings.batch)])

    def handle_job_error(self, job):
        """Leave no further attempt to a job whose input is refused: it would be again."""
        super().handle_job_error(job)
        if any(refused(Path(log), before) for log, before in self._logs.get(job, {}).items()):
            job._attempt = job.restart_times + 1  # not by its setter: what the job holds is given back by its resources

    async def check_active_jobs(self, active_jobs):
        """As ever, but what no answer told of is asked for again: else it is forgotten while the controller is away."""
        told = set()
        async for job_info in super().check_active_jobs(active_jobs):
            told.add(job_info.external_jobid)
            yield job_info
        for job_info in active_jobs:
            if job_info.external_jobid not in told | self._reported:
                yield job_info

    def report_job_success(self, job_info):
        """Report each result of a batch."""
        self._reported.add(job_info.external_jobid)
        for job in members(job_info.job):
            super().report_job_success(replace(job_info, job=job))

    def report_job_error(self, job_info, msg=None, **kwargs):
        """Report each result of a batch: those that were finished before it failed are made."""
        self._reported.add(job_info.external_jobid)
        for job in members(job_info.job):
            if job_info.job.is_group() and self._is_made(job):
                super().report_job_success(replace(job_info, job=job))
            else:
                super().report_job_error(replace(job_info, job=job), msg=msg, **kwargs)

    def _submitted(self, batch):
        if len(batch) == 1:
            return batch[0]
        self._before.update((job, seals(job)) for job in batch)
        whole = Batch(batch[0].rule.name, frozenset(batch), self.workflow.global_resources)
        whole.finalize()
        return whole

    def _is_made(self, job) -> bool:
        """Whether a result was written since its batch was submitted: a manifest is written last, and whole."""
        now = seals(job)
        return all(now[path] not in (None, before) for path, before in self._before[job].items())


def batches(jobs, size: int) -> Iterator[list]:
    """Jobs of one rule and model, one checkpoint after the other: at most `size`, and no longer than `LONGEST`.

    Parts of one result are apart, since they are there to be made at the same time.
    """
    kinds: dict[tuple[str, ...], list] = {}
    for job in sorted(jobs, key=lambda job: min(map(str, job.output), default="")):
        part = job.wildcards_dict.get("number", "")
        kinds.setdefault((job.rule.name, model_of(job), part), []).append(job)
    for alike in kinds.values():
        batch, minutes = [], 0
        for job in alike:
            needed = job.resources.get("runtime", 0)
            if batch and (len(batch) == size or minutes + needed > LONGEST):
                yield batch
                batch, minutes = [], 0
            batch.append(job)
            minutes += needed
        yield batch


def model_of(job) -> str:
    """The model that a job's result is of, by its wildcards."""
    named = job.wildcards_dict
    return named.get("model") or named.get("place", "").split("/")[0]


def members(job) -> list:
    """The jobs of a batch, or the one."""
    return list(job) if job.is_group() else [job]


def seals(job) -> dict[str, tuple[int, int] | None]:
    """Which manifests of a job are there, so that one can tell whether they were written anew."""
    found = {}
    for path in map(Path, job.output):
        if path.suffix == ".json":
            found[str(path)] = (path.stat().st_mtime_ns, path.stat().st_ino) if path.exists() else None
    return found
