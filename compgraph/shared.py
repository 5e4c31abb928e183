"""Results that studies share: a folder of copies, each named by the digest of all that determines it.

An entry is written aside and renamed, so it is whole or not there; two writers of one entry write the same, and the
first stays. Whoever takes one compares every byte. Nothing in the folder is ever changed, so it can be read-only.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compgraph import store
from compgraph.checksums import payload_files, scan
from compgraph.disk import clone, flush_tree, remove
from compgraph.errors import StoreError
from compgraph.manifests import is_inside
from compgraph.provenance import combined_digest, json_digest, json_text

__all__ = ["Entry", "Shared"]

ASKED, RESULTS, ASIDE = "asked.json", "results", ".partial"


@dataclass(frozen=True)
class Entry:
    """What one call made.

    Attributes
    ----------
    path : Path
        Its folder.
    stage : str
        The stage that made it; empty if that cannot be read.
    size : int
        Bytes of all its files.
    used : float
        When it was last written or taken, as far as that could be noted.
    """

    path: Path
    stage: str
    size: int
    used: float


class Shared:
    """A folder of shared results.

    Parameters
    ----------
    folder : Path
        Made when something is first put there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, asked: Mapping[str, Any]) -> Path:
        """The folder of an entry.

        Parameters
        ----------
        asked : mapping
            All that determines the results: plain data.
        """
        key = json_digest(asked).removeprefix("sha256:")
        return self.folder / key[:2] / key

    def take(self, asked: Mapping[str, Any], base: Path) -> list[Path] | None:
        """Copy what was asked for below a folder.

        Returns
        -------
        list of Path or None
            The manifests; None if there is no such entry.

        Raises
        ------
        StoreError
            If the entry is damaged, or is not what its name says, or if the copy cannot be written. What was copied
            by then is whole.
        """
        entry = self.place(asked)
        if not entry.is_dir():
            return None
        content = _content(entry)
        if json_digest(content["asked"]) != json_digest(asked):
            raise StoreError(f"{entry} is not what its name says")
        taken = []
        for name in content["manifests"]:
            if not is_inside(name):
                raise StoreError(f"{entry} names a result outside it: {name!r}")
            made = store.open(entry / RESULTS / name, lazy=True).provenance
            if (made.stage, made.code) != (asked["stage"], asked["code"]):
                raise StoreError(f"{entry} holds a result of other code or of another stage")
            taken.append(base / name)
            _adopt(entry / RESULTS / name, taken[-1])
        with suppress(OSError):
            os.utime(entry / ASKED)
        return taken

    def put(self, asked: Mapping[str, Any], base: Path, manifests: Sequence[Path], replace: bool = False) -> bool:
        """Add results, unless they are there or the folder cannot be written; whether they were added.

        Parameters
        ----------
        asked : mapping
            All that determines them.
        base : Path
            The folder that all of them lie in.
        manifests : sequence of Path
        replace : bool
            Whether an entry that is there is damaged.
        """
        entry = self.place(asked)
        if (entry.is_dir() and not replace) or not manifests:
            return False
        aside = entry.with_name(f".{entry.name}.{socket.gethostname()}.{os.getpid()}{ASIDE}")
        names = [manifest.relative_to(base).as_posix() for manifest in manifests]
        try:
            aside.mkdir(parents=True)
            for name, manifest in zip(names, manifests, strict=True):
                _adopt(manifest, aside / RESULTS / name)
            (aside / ASKED).write_text(json_text({"asked": asked, "manifests": names}), encoding="utf-8")
            flush_tree(aside)
            if replace and entry.is_dir():
                os.rename(entry, aside.with_name(aside.name.replace(ASIDE, f".old{ASIDE}")))
                remove(aside.with_name(aside.name.replace(ASIDE, f".old{ASIDE}")))
            os.rename(aside, entry)
        except (OSError, StoreError):
            with suppress(OSError):
                remove(aside)
            return False
        return True

    def entries(self) -> Iterator[Entry]:
        """What is there, without checking it."""
        for path in sorted(self.folder.glob("[0-9a-f][0-9a-f]/*")):
            if path.name.startswith(".") or not path.is_dir():
                continue
            try:
                stage = str(_content(path)["asked"]["stage"])
                used = (path / ASKED).stat().st_mtime
            except (OSError, StoreError):
                stage, used = "", 0.0
            yield Entry(path, stage, _size(path), used)

    def leftovers(self, older_than: float = 86400.0) -> list[Path]:
        """What interrupted writers left; younger ones may still be at work."""
        found = self.folder.glob(f"[0-9a-f][0-9a-f]/.*{ASIDE}")
        return sorted(path for path in found if time.time() - path.stat().st_mtime > older_than)


def _adopt(source: Path, manifest_path: Path) -> None:
    """Make a result by copying another one, every byte of which is compared with what its manifest says.

    The copy shares no byte with the original that a later write could change: where the file system can, its files
    are clones, never links.

    Parameters
    ----------
    source : path
        Manifest of the original.
    manifest_path : path
        Manifest of the copy; the payload keeps its name.

    Raises
    ------
    StoreError
        If the original is not whole, or the copy cannot be written.
    """
    original = store.open(source, lazy=True)
    payload = original.manifest["payload"]
    if payload is None and json_digest(original.summary) != original.digest:
        raise StoreError(f"{source} has been edited: its digest is not that of its content")
    with store.create(manifest_path, original.kind, payload, original.provenance) as draft:
        if payload is not None:
            folder = original.path.is_dir()
            scanned = {}
            payload_files(original.path)  # raises where links lead out of it
            for name in original.manifest["files"]:
                copy = draft.path / name if folder else draft.path
                copy.parent.mkdir(parents=True, exist_ok=True)
                clone(original.file(name), copy)
                scanned[name] = scan(copy)
                said = original.manifest["files"][name]
                if (scanned[name].size, scanned[name].crc32c) != (said["size"], said["crc32c"]):
                    raise StoreError(f"{original.file(name)} is damaged: its checksum is not that of its content")
            if combined_digest({name: one.sha256 for name, one in scanned.items()}) != original.digest:
                raise StoreError(f"{source} has been edited: its digest is not that of its content")
        draft.summary |= original.summary
        draft.warnings += original.warnings


def _content(entry: Path) -> dict[str, Any]:
    try:
        content = json.loads((entry / ASKED).read_text(encoding="utf-8"))
        named = isinstance(content["asked"]["stage"], str) and all(isinstance(one, str) for one in content["manifests"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{entry} is not whole: {ASKED} cannot be read ({error})") from error
    if not named:
        raise StoreError(f"{entry} is not whole: {ASKED} names no stage or results")
    return dict(content)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
