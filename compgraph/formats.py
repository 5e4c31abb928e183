"""Versions of what lies on disk: each kind of folder says in which format it was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["other_format"]


def other_format(path: Path, kind: str, found: Any, known: int, anew: str) -> str:
    """Why what lies at `path` cannot be read, and what to do.

    Parameters
    ----------
    path
        The file or folder.
    kind
        What it holds, in a word or two.
    found, known
        The format it says it is in, and the one that the reader knows.
    anew
        What makes it anew, for one that is older.
    """
    newer = isinstance(found, int) and found > known
    what_to_do = "it was written by a newer compgraph; install that one" if newer else anew
    return f"{path} is in {kind} format {found!r}, and this version reads {known}: {what_to_do}"
