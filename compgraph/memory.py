"""How much memory there is, and how much of it this process takes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from compgraph.errors import StoreError


def available_memory() -> int | None:
    """Bytes that can be had without swapping; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def resident_memory() -> int | None:
    """Bytes that this process holds now; None where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def peak_memory() -> int | None:
    """Bytes that this process held at most since it began; None where the system does not say."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def require_memory(path: Path, size: int) -> None:
    """Refuse to read what does not fit.

    Parameters
    ----------
    path : Path
        The file, for the message.
    size : int
        Bytes that reading it takes, as its header claims: a small file can claim any size.

    Raises
    ------
    StoreError
        If there is less memory.
    """
    free = available_memory()
    if free is not None and size > free:
        raise StoreError(f"{path} would need {size / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free")
