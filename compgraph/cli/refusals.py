"""Failures that would come again: a call that ended with an error of the package's own said what is wrong with its
input.

Whoever tries jobs again looks here first. Kills, timeouts, lost nodes and a lack of memory leave no such error.
"""

from __future__ import annotations

import re
from pathlib import Path

State = tuple[int, int] | None
OWN = re.compile(r"^compgraph(\.\w+)+: ", re.MULTILINE)
"""The last line of a traceback that ends with such an error."""
TRACEBACK = "Traceback (most recent call last):"


def state(log: Path) -> State:
    """What tells whether a log file was written since; None while there is none."""
    try:
        found = log.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def refused(log: Path, before: State) -> bool:
    """Whether the call that wrote a log file since then ended with an error of the package's own.

    Parameters
    ----------
    log : Path
        What a verb was given as ``--log-file``.
    before : tuple or None
        Its `state` before the call.
    """
    if state(log) in (None, before):
        return False
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    _, found, last = text.rpartition(TRACEBACK)
    return bool(found) and OWN.search(last) is not None
