"""``run.keep``: large buffers go when all that reads them is made, and come back only for a reader that runs again.

Snakemake runs all readers of what it makes again. So a buffer that is missing and needed is made first, in a run of its
own: its manifest is then the same, and in the run that follows nothing but the reader that needed it is out of date.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compgraph.config.run import bytes_of

if TYPE_CHECKING:
    from compgraph.cli.workflow import Event
    from compgraph.config.study import Study

BY_ANOTHER = re.compile(r"Input files updated by another job: ([^;]*)")
MISSING = re.compile(r"Missing output files: ([^;]*)")


def sorted_out(study: Study, jobs: Sequence[Event]) -> tuple[list[Event], list[str]]:
    """What of a dry run has to run, and which buffers that were let go are needed for it.

    Parameters
    ----------
    study : Study
    jobs : sequence of events
        The jobs of a dry run.

    Returns
    -------
    jobs : list of events
        Without those that Snakemake lists only because a buffer would be made again.
    again : list of str
        Payloads of the buffers that are made again.
    """
    from compgraph.released import is_released

    buffers = {study.path(one): study.payload(one) for one in study.passing_buffers() if is_released(study.path(one))}
    gone = {path: job for job in jobs for path in job.get("output") or [] if path in buffers and _only_missing(job)}
    if not gone:
        return list(jobs), []
    absent = [id(job) for job in gone.values()]
    left = [job for job in jobs if id(job) not in absent]
    true = [job for job in left if _other_reason(job)]
    while more := [job for job in left if job not in true and _updated_by(job) & _outputs(true)]:
        true += more
    read = {path for job in true for path in job.get("input") or []}
    again = [path for path in gone if path in read]
    running = [id(job) for job in [*true, *(gone[path] for path in again)]]
    return [job for job in jobs if id(job) in running], [buffers[path] for path in again]


def _only_missing(job: Event) -> bool:
    reason = job.get("reason") or ""
    return bool(MISSING.search(reason)) and not re.sub(r"[;\s]", "", MISSING.sub("", reason))


def _other_reason(job: Event) -> bool:
    return bool(re.sub(r"[;\s]", "", BY_ANOTHER.sub("", job.get("reason") or "")))


def _updated_by(job: Event) -> set[str]:
    found = BY_ANOTHER.search(job.get("reason") or "")
    return set(re.split(r",\s*", found.group(1).strip())) if found else set()


def _outputs(jobs: Iterable[Event]) -> set[str]:
    return {path for job in jobs for path in job.get("output") or []}


class Keeper:
    """Lets buffers go while a run goes on.

    Parameters
    ----------
    study : Study
    jobs : sequence of events
        All that has to run before the study is complete, as planned.
    made : collection of str
        Payloads of buffers that have been made since.
    say : callable
        Is told what is removed.
    """

    def __init__(self, study: Study, jobs: Sequence[Event], made: Collection[str], say: Callable[[str], None]) -> None:
        self.limit, self.say = bytes_of(study.config.run.keep) or 0.0, say
        self.cache = study.root / "cache"
        self._started: dict[int, tuple[str, ...]] = {}
        self._waiting: dict[str, set[str]] = {study.path(one): set() for one in study.passing_buffers()}
        for job in jobs:
            outputs = job.get("output") or []
            if not set(outputs).isdisjoint(made):
                continue
            for path in {*(job.get("input") or []), *outputs} & self._waiting.keys():
                self._waiting[path] |= set(outputs)
        self._let_go()

    def see(self, event: Event | None) -> None:
        """Take note of an event of the run."""
        if event is None:
            return
        if event["event"] == "job_info":
            self._started[event["jobid"]] = tuple(event.get("output") or ())
        elif event["event"] == "job_finished":
            number: Any = event["job_id"] if "job_id" in event else event.get("jobid")
            made = self._started.pop(number, ())
            for waiting in self._waiting.values():
                waiting.difference_update(made)
            self._let_go()

    def end(self) -> None:
        """After a run that made everything: the cache of single runs goes too, if it is larger."""
        from compgraph.disk import format_bytes, remove

        if self.cache.is_dir():
            size = sum(path.stat().st_size for path in self.cache.rglob("*") if path.is_file())
            if size > self.limit:
                remove(self.cache)
                self.say(f"note: removed {self.cache} ({format_bytes(size)}), as run.keep says")

    def _let_go(self) -> None:
        from compgraph import store
        from compgraph.errors import StoreError
        from compgraph.released import is_released, release

        for path in [path for path, waiting in self._waiting.items() if not waiting]:
            del self._waiting[path]
            if not Path(path).exists() or is_released(path):
                continue
            try:
                result = store.open(path, lazy=True)
            except StoreError:
                continue  # damaged, and made again
            if result.size > self.limit:
                release(result)
                size = store.format_bytes(result.size)
                self.say(f"note: removed {result.path} ({size}), as run.keep says: all that reads it is made")
