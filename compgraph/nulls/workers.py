"""The same work for many seeds, in one process or shared among several, with the same results."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from compgraph.progress import track

T = TypeVar("T", covariant=True)

BATCH = 4
"""Seeds that a process takes at once."""

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Task(Protocol[T]):
    """What a process needs to work; it can be pickled."""

    def prepared(self) -> Callable[[int], T]:
        """Make what all seeds share; returns the work for one seed."""
        ...


def over_seeds(task: Task[T], seeds: Sequence[int], workers: int, what: str) -> list[T]:
    """Results in the order of the seeds, whichever process made them.

    Parameters
    ----------
    task
        The work.
    seeds
        One a result; the result depends on nothing else.
    workers
        Processes.
    what
        What is made, for the progress.
    """
    # Also with several processes: a task that cannot be done says so before they are started.
    work = task.prepared()
    if workers == 1 or len(seeds) <= BATCH:
        return [work(seed) for seed in track(seeds, what)]
    with _one_thread_each(), multiprocessing.get_context("spawn").Pool(workers, _start, (task,)) as pool:
        return list(track(pool.imap(_work, seeds, chunksize=BATCH), what, total=len(seeds)))


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let new processes compute with one thread each: the processes are the parallelism."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


_prepared: Callable[[int], Any] | None = None


def _start(task: Task[Any]) -> None:
    global _prepared
    _prepared = task.prepared()


def _work(seed: int) -> Any:
    if _prepared is None:
        raise RuntimeError("a process that works for many seeds was not prepared")
    return _prepared(seed)
