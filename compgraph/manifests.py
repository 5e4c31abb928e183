"""Manifests as they lie on disk: read in full, or refused with the reason. The store writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from compgraph.checksums import REMAKE
from compgraph.errors import StoreError
from compgraph.formats import other_format
from compgraph.provenance import json_digest

#: Version of the layout of manifests. Raise it when an older reader would misread a newer result.
FORMAT = 1

_FIELDS = {
    "kind": str,
    "digest": str,
    "files": dict,
    "summary": dict,
    "provenance": dict,
    "warnings": list,
    "seal": str,
}


def read_manifest(path: Path) -> dict[str, Any]:
    """The content of a manifest.

    Raises
    ------
    StoreError
        If it is missing, torn, of another format, lacks a field, or names a file outside its payload.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise StoreError(f"there is no result {path}: {_why_missing(path)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    try:
        manifest = json.loads(text)
    except json.JSONDecodeError as error:
        raise StoreError(f"{path} is not a manifest, or is torn ({error}); {REMAKE}") from error
    if not isinstance(manifest, dict) or "format" not in manifest or "payload" not in manifest:
        raise StoreError(f"{path} is not a manifest of compgraph: it has no format and payload")
    if manifest["format"] != FORMAT:
        anew = "move that results folder away and run again"
        said = other_format(path, "results", manifest["format"], FORMAT, anew)
        raise StoreError(f"{said} (written by {_writer(manifest)})")
    for name, kind in _FIELDS.items():
        if not isinstance(manifest.get(name), kind):
            raise StoreError(f"{path} is not a whole manifest: {name} is {manifest.get(name)!r}; {REMAKE}")
    _check_names(path, manifest)
    if manifest.pop("seal") != seal_of(manifest):
        raise StoreError(f"{path} has been edited, or is damaged; {REMAKE}")
    return manifest


def released_mark(path: Path) -> Path:
    """The file beside a manifest that says that its payload was removed on purpose, by its digest."""
    return path.with_name(f".{path.name}.released")


def seal_of(manifest: Mapping[str, Any]) -> str:
    """Digest of all that a manifest says."""
    return json_digest(manifest)


def _why_missing(path: Path) -> str:
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    if sorted(path.parent.glob(f"{path.stem}.*.partial")):
        return "its making was interrupted; run that stage again"
    return "run the stage that makes it first"


def _writer(manifest: dict[str, Any]) -> str:
    try:
        return f"compgraph {manifest['provenance']['versions']['compgraph']}"
    except (KeyError, TypeError):
        return "another version of compgraph"


def _check_names(path: Path, manifest: dict[str, Any]) -> None:
    """Refuse names that lead out of the folder, and entries without a size and a checksum."""
    payload = manifest["payload"]
    if payload is not None and not (isinstance(payload, str) and is_inside(payload)):
        raise StoreError(f"{path} names a payload outside its folder: {payload!r}")
    for name, entry in manifest["files"].items():
        if not is_inside(name):
            raise StoreError(f"{path} names a file outside its payload: {name!r}")
        if not (isinstance(entry, dict) and isinstance(entry.get("size"), int) and "crc32c" in entry):
            raise StoreError(f"{path} is not a whole manifest: no size and crc32c for {name}; {REMAKE}")


def is_inside(name: str) -> bool:
    """Whether a relative name stays within the folder it is relative to."""
    pure = PurePosixPath(name)
    return bool(pure.parts) and not pure.is_absolute() and ".." not in pure.parts and "\0" not in name
