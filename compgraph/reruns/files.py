"""Digests of files outside the results, read again only if their date or size changed."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from compgraph.provenance import bytes_digest, combined_digest

SETTLED = 2_000_000_000
"""Nanoseconds after which a file that is written again has another date, on any file system."""


def digest_of_files(paths: Sequence[str], known: Digests | None = None) -> str | None:
    """Digest of the bytes of some files and of their names within the folder that holds all; None without files."""
    if not paths:
        return None
    folder = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
    read = bytes_digest if known is None else known.of
    return combined_digest({os.path.relpath(path, folder): read(Path(path)) for path in paths})


class Digests:
    """Digests of files by path, size and date, kept in a file.

    Parameters
    ----------
    record : Path
        Where they are kept; it may be missing, damaged, or on a disk that cannot be written.
    """

    def __init__(self, record: Path) -> None:
        self.record = record
        self._new = False
        self._known: dict[str, list[object]] = {}
        with contextlib.suppress(OSError, ValueError, AttributeError):
            self._known = dict(json.loads(record.read_text(encoding="utf-8")).items())

    def of(self, path: Path) -> str:
        """The digest of a file's bytes."""
        name, found = os.path.abspath(path), path.stat()
        state: list[object] = [found.st_size, found.st_mtime_ns, found.st_ino]
        known = self._known.get(name)
        if isinstance(known, list) and known[:3] == state and len(known) == 4:
            return str(known[3])
        digest = bytes_digest(path)
        if time.time_ns() - found.st_mtime_ns > SETTLED:
            self._known[name] = [*state, digest]
            self._new = True
        return digest

    def keep(self) -> None:
        """Write what was found out, if the disk allows it."""
        if not self._new:
            return
        with contextlib.suppress(OSError):
            self.record.parent.mkdir(parents=True, exist_ok=True)
            aside = self.record.with_name(f"{self.record.name}.{os.getpid()}.tmp")
            aside.write_text(json.dumps(self._known), encoding="utf-8")
            os.replace(aside, self.record)
            self._new = False
