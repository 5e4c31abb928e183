"""Processes that make several results each (:mod:`compgraph.cli.worker`), and who makes which."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass

COMMAND = (sys.executable, "-P", "-m", "compgraph.cli.worker")
"""As the command `compgraph` does, without the folder that one stands in among those that are imported from."""


@dataclass(frozen=True)
class Made:
    """How a result was made.

    Attributes
    ----------
    code : int
        Exit code of the verb; that of the process where it died of it.
    seconds, cpu_seconds : float
        What it took.
    peak_bytes : int
        Largest resident memory of the process meanwhile.
    """

    code: int
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0


class Worker:
    """One such process.

    Parameters
    ----------
    threads : int
        Threads of the number libraries, which a process cannot change once they are loaded.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.place = ""
        self.count = 0
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
        self._process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | dict.fromkeys(names, str(threads)),
        )

    def make(self, arguments: Sequence[str], place: str) -> Made:
        """Make one result and wait for it."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self.place, self.count = place, self.count + 1
        try:
            self._process.stdin.write(json.dumps({"arguments": list(arguments)}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return Made(self._process.wait() or 1)
        reply = self._process.stdout.readline()
        return Made(**json.loads(reply)) if reply.endswith("\n") else Made(self._process.wait() or 1)

    def stop(self) -> None:
        """Let it end; what it is at is finished first."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


class Workers:
    """As many processes as results are made at a time.

    Parameters
    ----------
    batch : int
        Results that a process makes before another takes its place.
    """

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self._idle: list[Worker] = []
        self._lock = threading.Lock()

    def make(self, arguments: Sequence[str], *, place: str = "", threads: int = 1) -> Made:
        """Make a result, in the process that made the last one of this place if it is free.

        Parameters
        ----------
        arguments : sequence of str
            Those of `compgraph`, the verb first.
        place : str
            What results that load the same network have in common.
        threads : int
            Threads of the number libraries.
        """
        worker = self._take(place, threads)
        made = worker.make(arguments, place)
        # One that failed is not trusted with another result.
        if made.code or worker.count >= self.batch:
            worker.stop()
        else:
            with self._lock:
                self._idle.append(worker)
        return made

    def stop(self) -> None:
        """End all processes that are idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.stop()

    def _take(self, place: str, threads: int) -> Worker:
        """An idle process, else a new one; never more than results were made at once."""
        with self._lock:
            fitting = [worker for worker in self._idle if worker.threads == threads]
            found = next((worker for worker in fitting if worker.place == place), fitting[0] if fitting else None)
            other = self._idle[0] if found is None and self._idle else None
            for taken in (found, other):
                if taken is not None:
                    self._idle.remove(taken)
        if other is not None:
            other.stop()
        return found or Worker(threads)
