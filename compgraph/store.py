"""Results on disk: written whole or not at all, and checked before they are believed.

A result is a payload (one file, or one folder such as a Zarr store) and a manifest, a small JSON file that
says what the payload is, how it was made, and the size and checksum of every file in it. The payload is
written under ``<payload>.partial``, checked, flushed to the disk and renamed; the manifest comes last. While
a result is replaced, its old manifest goes first. So at every moment, also after a kill or a power cut, a
manifest means a whole result.

Only this module writes manifests and renames payloads; the rest of the package writes where a `Draft` points.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from compgraph.checksums import REMAKE, Scan, check_arrays, payload_files, scan, scan_all
from compgraph.disk import (
    explained,
    flush,
    flush_tree,
    format_bytes,
    free_space,
    lock,
    partial_path,
    prepared,
    remove,
    require_space,
)
from compgraph.errors import StoreError
from compgraph.manifests import FORMAT, is_inside, read_manifest, released_mark, seal_of
from compgraph.provenance import Provenance, combined_digest, json_digest, json_text
from compgraph.tables import read_table, write_table

__all__ = [
    "FORMAT",
    "Draft",
    "Result",
    "create",
    "discard",
    "format_bytes",
    "free_space",
    "open",
    "read_table",
    "require_space",
    "verify",
    "write_table",
]


@dataclass(frozen=True)
class Result:
    """A whole result on disk, as its manifest describes it.

    Attributes
    ----------
    manifest_path : Path
        The manifest.
    manifest : dict
        Its content.
    path : Path
        The payload (file or folder); the manifest itself where a result has no payload.
    """

    manifest_path: Path
    manifest: dict[str, Any]

    @property
    def path(self) -> Path:
        payload = self.manifest["payload"]
        return self.manifest_path if payload is None else self.manifest_path.parent / payload

    @property
    def kind(self) -> str:
        """What sort of result it is (``"graph"``)."""
        return str(self.manifest["kind"])

    @property
    def digest(self) -> str:
        """Digest of the payload's names and bytes (of the summary, where there is no payload)."""
        return str(self.manifest["digest"])

    @property
    def summary(self) -> dict[str, Any]:
        """Shapes and numbers to show to a person."""
        return dict(self.manifest["summary"])

    @cached_property
    def provenance(self) -> Provenance:
        """How it was made."""
        try:
            return Provenance.from_dict(self.manifest["provenance"])
        except ValueError as error:
            raise StoreError(f"{self.manifest_path} is not a whole manifest: {error}") from error

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that made it."""
        return self.provenance.parameters

    @property
    def warnings(self) -> list[str]:
        """What the reader of the result should know."""
        return list(self.manifest["warnings"])

    @property
    def size(self) -> int:
        """Bytes of the payload."""
        return sum(entry["size"] for entry in self.manifest["files"].values())

    def file(self, name: str) -> Path:
        """Return the path of one file of the payload (a name in ``manifest["files"]``)."""
        return self.path / name if self.path.is_dir() else self.path

    def check(self, *names: str) -> None:
        """Re-read the named files of the payload and compare their checksums.

        Raises
        ------
        StoreError
            Naming the first file that is missing, unreadable or not what was written.
        """
        for name in names:
            _compare(self, name, scan(self.file(name), whole=False))


def open(manifest_path: str | os.PathLike[str], kind: str | None = None, *, lazy: bool = False) -> Result:
    """Open a result after comparing the size and the checksum of every file of its payload.

    Parameters
    ----------
    manifest_path : path
        The manifest (``….json``).
    kind : str, optional
        The kind that the caller can use.
    lazy : bool
        Compare sizes only: for a caller that checks what it reads when it reads it, or that reads none of it.

    Raises
    ------
    StoreError
        If the manifest is missing, torn or of another format, if the result is of another kind, or if a file
        of the payload is missing or is not what was written.
    """
    path = Path(manifest_path)
    result = Result(path, read_manifest(path))
    if kind is not None and result.kind != kind:
        raise StoreError(f"{path} holds a result of kind {result.kind!r}; expected {kind!r}")
    _refuse_links(result)
    for name, entry in result.manifest["files"].items():
        _compare_size(result, name, entry["size"])
    if not lazy:
        result.check(*result.manifest["files"])
    return result


def verify(manifest_path: str | os.PathLike[str]) -> Result:
    """Open a result after comparing its payload with the digest as well, and looking for files that do not belong.

    Raises
    ------
    StoreError
        As `open` does, or naming the file that its manifest does not know.
    """
    result = open(manifest_path, lazy=True)
    files = result.manifest["files"]
    if result.manifest["payload"] is None:
        digest = json_digest(result.summary)
    else:
        extra = sorted(set(payload_files(result.path)) - set(files))
        if extra:
            raise StoreError(f"{result.path} holds a file that its manifest does not know: {extra[0]}")
        scans = scan_all([result.file(name) for name in files])
        for name, scan in zip(files, scans, strict=True):
            _compare(result, name, scan)
        digest = combined_digest({name: scan.sha256 for name, scan in zip(files, scans, strict=True)})
    if digest != result.digest:
        raise StoreError(f"{manifest_path} has been edited: its digest is not that of its content; {REMAKE}")
    return result


def _refuse_links(result: Result) -> None:
    """A link inside a result could lead to any file of this machine; the folders above it may be links."""
    files = [result.file(name) for name in result.manifest["files"]]
    inside = {folder for file in files for folder in file.parents if folder.is_relative_to(result.path)}
    for path in sorted({result.path, *inside}) + files:
        if path.is_symlink():
            raise StoreError(f"{path} is a symbolic link; a result holds real files only")


def _compare_size(result: Result, name: str, size: int) -> None:
    file = result.file(name)
    try:
        found = file.stat().st_size
    except FileNotFoundError:
        if released_mark(result.manifest_path).exists() and not result.path.exists():
            raise StoreError(
                f"{result.path} was removed to save space (run.keep); compgraph run makes it again where it is needed"
            ) from None
        missing = file if result.path.exists() else result.path
        raise StoreError(f"{missing} is missing, which {result.manifest_path} lists; {REMAKE}") from None
    except OSError as error:
        raise StoreError(f"cannot read {file}: {error.strerror}") from error
    if found != size:
        raise StoreError(f"{file} has {found} bytes instead of the {size} that were written; {REMAKE}")


def _compare(result: Result, name: str, scan: Scan) -> None:
    entry = result.manifest["files"][name]
    _compare_size(result, name, entry["size"])
    if scan.crc32c != entry["crc32c"]:
        raise StoreError(f"{result.file(name)} is damaged: its checksum is not that of its content; {REMAKE}")


@dataclass
class Draft:
    """A result being written.

    Attributes
    ----------
    path : Path
        Where to write the payload (file or folder; the writer makes it).
    summary : dict
        Shapes and numbers to keep in the manifest.
    resumed : bool
        True if an interrupted attempt lies at `path`. The writer decides whether it can go on from there.
    """

    path: Path
    summary: dict[str, Any] = field(default_factory=dict)
    resumed: bool = False
    warnings: list[str] = field(default_factory=list)

    def warn(self, text: str) -> None:
        """Keep a warning in the manifest."""
        self.warnings.append(text)


@contextmanager
def create(
    manifest_path: str | os.PathLike[str],
    kind: str,
    payload: str | None,
    provenance: Provenance,
    resume: bool = False,
) -> Iterator[Draft]:
    """Write a result: the body of the ``with`` fills ``draft.path``, the exit seals it.

    Parameters
    ----------
    manifest_path : path
        The manifest to write; its folder is made where missing.
    kind : str
        What sort of result it is.
    payload : str or None
        Name of the payload beside the manifest; None for a result that is its summary.
    provenance : Provenance
        How the result is made.
    resume : bool
        Keep the partial payload when the body fails or is killed, and hand it to the next attempt. Only one
        process at a time may write such a result.

    Yields
    ------
    Draft

    Raises
    ------
    StoreError
        If the disk is full or the folder may not be written, if another process is writing the same resumable
        result, or if the payload is not whole at the end (nothing written, or a Zarr array without one of its
        chunks). What was there before stays as it was, except when the failure strikes during the final
        renaming.
    """
    manifest = Path(manifest_path)
    if payload is not None and not is_inside(payload):
        raise ValueError(f"payload {payload!r} is not a name inside the manifest's folder")
    final = manifest.parent / payload if payload is not None else manifest
    with explained(manifest):
        final.parent.mkdir(parents=True, exist_ok=True)
        manifest.parent.mkdir(parents=True, exist_ok=True)
    with partial_path(final, resume) as partial:
        if not resume:
            remove(partial)
        draft = Draft(partial, resumed=partial.exists())
        try:
            with explained(partial):
                yield draft
                _seal(manifest, final if payload is not None else None, draft, kind, payload, provenance)
        except BaseException:
            if not resume:
                remove(partial)
            raise


def _seal(
    manifest: Path, final: Path | None, draft: Draft, kind: str, payload: str | None, provenance: Provenance
) -> None:
    """Check, flush and name a finished payload, then write its manifest."""
    content: dict[str, Any] = {"format": FORMAT, "kind": kind, "payload": payload, "files": {}}
    if final is None:
        content["digest"] = json_digest(draft.summary)
    else:
        names = _checked_files(draft.path)
        paths = [draft.path / name if draft.path.is_dir() else draft.path for name in names]
        flush_tree(draft.path)
        scans = scan_all(paths)
        if not draft.path.is_dir():
            names = [final.name]
        files = dict(zip(names, scans, strict=True))
        content["files"] = {name: {"size": s.size, "crc32c": s.crc32c} for name, s in files.items()}
        content["digest"] = combined_digest({name: s.sha256 for name, s in files.items()})
    content |= {"summary": draft.summary, "provenance": provenance.to_dict(), "warnings": draft.warnings}
    content["seal"] = seal_of(content)
    text = json_text(content)  # before anything is replaced: it may fail
    # Two writers may finish at once. Each swap is whole under this lock, so that the last one wins entirely.
    with lock(manifest.with_name(f".{manifest.name}.lock")), prepared(manifest, text) as new_manifest:
        if final is not None:
            manifest.unlink(missing_ok=True)  # first: from here on nothing looks whole
            flush(manifest.parent)
            old = final.with_name(final.name + ".old")
            remove(old)
            if final.exists():
                os.rename(final, old)
            os.rename(draft.path, final)
            flush(final.parent)
        os.replace(new_manifest, manifest)
        flush(manifest.parent)
        if final is not None:
            remove(old)


def discard(result: Result) -> None:
    """Remove a result, its manifest first."""
    with lock(result.manifest_path.with_name(f".{result.manifest_path.name}.lock")), explained(result.manifest_path):
        result.manifest_path.unlink(missing_ok=True)
        released_mark(result.manifest_path).unlink(missing_ok=True)
        flush(result.manifest_path.parent)
        remove(result.path)


def _checked_files(path: Path) -> list[str]:
    if not path.exists():
        raise StoreError(f"nothing was written at {path}")
    names = payload_files(path)
    if not names:
        raise StoreError(f"{path} is an empty folder; a result holds at least one file")
    if path.is_dir():
        check_arrays(path, set(names))
    return names
