"""A process that makes several results one after another: Python, its libraries and the network are loaded once.

It reads one JSON object a line, ``{"arguments": ["effective", …]}``, calls the verb, and answers each with a line:
``{"code": 0, "seconds": …, "cpu_seconds": …, "peak_bytes": …}``. It ends where its input ends. Results are those of
a process each: verbs draw from generators of their own, and what outlives one on purpose is in
:mod:`compgraph.cli.kept`.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import Any, TextIO

MEMORY = Path("/proc/self/status")
RESET_PEAK = Path("/proc/self/clear_refs")
KIBIBYTE = 1024


def main() -> None:
    """Answer until the input ends."""
    requests, replies = _private_streams()
    try:
        for line in requests:
            cost = made(json.loads(line)["arguments"])
            replies.write(json.dumps(cost) + "\n")
            replies.flush()
    except (KeyboardInterrupt, BrokenPipeError):
        # Whoever asked is gone, or stops as well; nobody reads what could be said here.
        os._exit(130)


def made(arguments: list[str]) -> dict[str, Any]:
    """Call a verb; its exit code and what it cost, the memory with whatever the process held before."""
    _forget_peak()
    begun, spent = time.perf_counter(), _cpu_seconds()
    code = call(arguments)
    return {
        "code": code,
        "seconds": time.perf_counter() - begun,
        "cpu_seconds": _cpu_seconds() - spent,
        "peak_bytes": _peak_bytes(),
    }


def call(arguments: list[str]) -> int:
    """The exit code of a verb that is called in this process."""
    from compgraph.cli import kept
    from compgraph.cli.main import main as compgraph

    sys.argv = ["compgraph", *arguments]
    try:
        with kept.over_results():
            compgraph(arguments, prog_name="compgraph")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def _private_streams() -> tuple[TextIO, TextIO]:
    """The two ends of the conversation; what a verb prints goes to standard error, and it has nothing to read."""
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, replies


def _cpu_seconds() -> float:
    """CPU time of this process and of those that it started and waited for."""
    return sum(os.times()[:4])


def _forget_peak() -> None:
    """Let the peak of the memory begin anew, where the system can (Linux); elsewhere it is that of the process."""
    try:
        RESET_PEAK.write_text("5")
    except OSError:
        return


def _peak_bytes() -> int:
    """Largest resident memory since it was last forgotten."""
    try:
        lines = MEMORY.read_text().splitlines()
        return KIBIBYTE * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return largest if sys.platform == "darwin" else KIBIBYTE * largest


if __name__ == "__main__":
    main()
