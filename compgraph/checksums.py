"""Checksums of files, and the check that a folder of Zarr arrays is whole."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any

from compgraph.errors import StoreError

#: What to do about a result that is not what was written.
REMAKE = "compgraph run --verify makes it again, or delete it and run its stage"

_BLOCK = 1 << 20


FOREIGN = frozenset({".snakemake_timestamp"})
"""Files that Snakemake puts into the folders that its rules declare; they are no part of a result."""


@dataclass(frozen=True)
class Scan:
    size: int
    crc32c: str
    sha256: str


def scan(path: Path, *, whole: bool = True) -> Scan:
    """Read a file once for its size and checksums (`whole` = sha256 too)."""
    import google_crc32c

    crc, sha, size = 0, hashlib.sha256(), 0
    try:
        with path.open("rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                crc = google_crc32c.extend(crc, block)
                if whole:
                    sha.update(block)
                size += len(block)
    except FileNotFoundError:
        raise StoreError(f"{path} is missing; {REMAKE}") from None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    return Scan(size, f"{crc:08x}", sha.hexdigest() if whole else "")


def scan_all(paths: list[Path]) -> list[Scan]:
    if len(paths) < 2:
        return [scan(path) for path in paths]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # hashing releases the lock
        return list(pool.map(lambda path: scan(path), paths))


def payload_files(path: Path) -> list[str]:
    """Return the names of a payload's files, sorted; a single file has its own name."""
    if path.is_file() and not path.is_symlink():
        return [path.name]
    names = []
    for folder, folders, files in os.walk(path):
        for entry in [*files, *folders]:
            if os.path.islink(os.path.join(folder, entry)):
                link = os.path.join(folder, entry)
                raise StoreError(f"{link} is a symbolic link; a result holds real files only")
        names += [Path(folder, file).relative_to(path).as_posix() for file in files if file not in FOREIGN]
    return sorted(names)


def check_arrays(path: Path, names: set[str]) -> None:
    """Check that every Zarr array under `path` has every chunk of its grid and no other file.

    A reader takes a missing chunk for fill values without a word, so this is the moment to find one.
    """
    for name in sorted(names):
        if PurePosixPath(name).name in (".zarray", ".zgroup"):
            raise StoreError(f"{path / name} is of Zarr format 2; results hold format 3")
        if PurePosixPath(name).name != "zarr.json":
            continue
        node = json.loads((path / name).read_bytes())
        if node["node_type"] == "array":
            home = name[: -len("zarr.json")]
            expected = {home + key for key in _chunk_keys(node)}
            missing = sorted(expected - names)
            if missing:
                count = f"{len(missing)} of {len(expected)} are"
                raise StoreError(f"{path} is not whole: chunk {missing[0]} is missing ({count})")
            extra = sorted(n for n in names if n.startswith(home) and n != name and n not in expected)
            if extra:
                raise StoreError(f"{path} holds a file that belongs to no chunk: {extra[0]}")


def _chunk_keys(node: dict[str, Any]) -> Iterator[str]:
    """Yield the file names of an array's chunks (Zarr v3 specification, key encodings default and v2)."""
    steps = node["chunk_grid"]["configuration"]["chunk_shape"]
    counts = [-(-length // step) for length, step in zip(node["shape"], steps, strict=True)]
    encoding = node["chunk_key_encoding"]
    default = encoding["name"] == "default"
    separator = encoding.get("configuration", {}).get("separator", "/" if default else ".")
    for index in product(*map(range, counts)):
        key = separator.join(map(str, index))
        yield (separator.join(["c", key]) if key else "c") if default else (key or "0")
