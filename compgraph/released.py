"""Payloads that are removed on purpose, as they can be made again; their manifests stay, with a mark beside each."""

from __future__ import annotations

import os
from pathlib import Path

from compgraph.disk import explained, flush, lock, remove
from compgraph.errors import StoreError
from compgraph.manifests import read_manifest, released_mark
from compgraph.store import Result

__all__ = ["describe", "is_released", "release"]


def describe(manifest_path: str | os.PathLike[str]) -> Result:
    """A result by its manifest alone: its payload may have been removed on purpose (`release`).

    Raises
    ------
    StoreError
        If the manifest is missing, torn or of another format.
    """
    return Result(Path(manifest_path), read_manifest(Path(manifest_path)))


def release(result: Result) -> None:
    """Remove the payload of a result that can be made again, and keep its manifest with a mark beside it."""
    manifest, final = result.manifest_path, result.path
    with lock(manifest.with_name(f".{manifest.name}.lock")), explained(manifest):
        released_mark(manifest).write_text(result.digest, encoding="utf-8")
        flush(released_mark(manifest))
        old = final.with_name(final.name + ".old")
        remove(old)
        os.rename(final, old)
        flush(final.parent)
        remove(old)


def is_released(manifest_path: str | os.PathLike[str]) -> bool:
    """Whether the payload of a result was removed on purpose."""
    try:
        result = describe(manifest_path)
        marked = released_mark(result.manifest_path).read_text(encoding="utf-8")
    except (StoreError, OSError, UnicodeDecodeError):
        return False
    return marked == result.digest and not result.path.exists()
