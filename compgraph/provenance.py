"""How a result was made: parameters, seed, inputs, code and library versions, as digests and plain data."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from compgraph.errors import StoreError
from compgraph.sources import PACKAGE, PACKAGE_ROOT, code_digest

__all__ = [
    "EXTERNAL",
    "Provenance",
    "code_digest",
    "combined_digest",
    "file_digest",
    "graph_tool_version",
    "json_digest",
    "json_text",
    "library_versions",
    "plain",
]

#: Roles of inputs that are no results: weights and other files that lie elsewhere, and what writes prompts or images
#: for a model.
EXTERNAL = frozenset({"weights", "reader", "files"})

#: Distributions whose version can change a result.
LIBRARIES = (
    "numpy",
    "scipy",
    "torch",
    "transformers",
    "tokenizers",
    "zarr",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "igraph",
    "leidenalg",
    "networkx",
    "matplotlib",
)


def plain(value: Any) -> Any:
    """Return `value` as data that JSON can hold: dict with string keys, list, str, int, float, bool or None.

    NumPy scalars and arrays become numbers and lists, paths and enumeration members become strings, numbers
    that JSON lacks (not-a-number, infinities) become the strings ``"nan"``, ``"inf"`` and ``"-inf"``.

    Raises
    ------
    TypeError
        For anything else, and for sets, whose order is not defined.
    """
    if value is None or isinstance(value, (str, bool)):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist") and hasattr(value, "dtype"):  # numpy, without importing it
        return plain(value.tolist())
    raise TypeError(f"{type(value).__name__} cannot be kept in a manifest: {value!r}")


def json_text(value: Any) -> str:
    """Return the one JSON text of `value`: sorted keys, one space of indent, a final newline."""
    return json.dumps(plain(value), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def json_digest(value: Any) -> str:
    """Return ``"sha256:…"`` of the canonical JSON of `value` (the order of keys does not matter)."""
    text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return _label(hashlib.sha256(text.encode()))


def file_digest(path: str | os.PathLike[str]) -> str:
    """Return ``"sha256:…"`` over the names and bytes of a file, or of all the files under a folder.

    Parameters
    ----------
    path : path
        A file, or a folder (read recursively; links to files are followed, so a cache of links works).

    Raises
    ------
    StoreError
        If `path` does not exist or a file in it cannot be read.
    """
    path = Path(path)
    if path.is_file():
        return combined_digest({path.name: bytes_digest(path)})
    if not path.is_dir():
        raise StoreError(f"{path} does not exist")
    names = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
    return combined_digest({name: bytes_digest(path / name) for name in names})


def bytes_digest(path: Path) -> str:
    """Return the hexadecimal sha256 of one file's bytes."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error


def combined_digest(files: Mapping[str, str]) -> str:
    """Return ``"sha256:…"`` over file names (relative, slashes) and the sha256 of each file's bytes."""
    total = hashlib.sha256()
    for name in sorted(files):
        total.update(f"{name}\0{files[name]}\n".encode())
    return _label(total)


def _label(digest: hashlib._Hash) -> str:
    return "sha256:" + digest.hexdigest()


@lru_cache(maxsize=1)
def _versions() -> tuple[tuple[str, str], ...]:
    found = {"python": ".".join(map(str, sys.version_info[:3])), PACKAGE: _own_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    graph_tool = graph_tool_version()
    if graph_tool is not None:
        found["graph-tool"] = graph_tool
    return tuple(sorted(found.items()))


def library_versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of installed libraries that can change a result."""
    return dict(_versions())


def _own_version() -> str:
    source = (PACKAGE_ROOT / "__init__.py").read_text() if (PACKAGE_ROOT / "__init__.py").exists() else ""
    written = re.search(r"""^__version__(?:\s*:\s*str)?\s*=\s*["']([^"']+)["']""", source, re.MULTILINE)
    if written:
        return written.group(1)
    try:
        return metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        return "unknown"


def graph_tool_version() -> str | None:
    """Return graph-tool's version without importing it (seconds), or None where it is not installed.

    Neither Debian nor conda-forge installs Python metadata for it; the header it installs beside its modules
    names the version, and so does conda's own record.
    """
    spec = importlib.util.find_spec("graph_tool")
    if spec is None or spec.origin is None:
        return None
    header = Path(spec.origin).parent / "include" / "config.h"
    if header.is_file():
        text = header.read_text(errors="replace")
        if written := re.search(r'^#define PACKAGE_VERSION "([^"]+)"', text, re.MULTILINE):
            return written.group(1)
    for record in sorted(Path(sys.prefix, "conda-meta").glob("graph-tool*.json")):
        package = json.loads(record.read_text())
        if str(package.get("name", "")).startswith("graph-tool"):
            return str(package["version"])
    return "unknown"


@dataclass(frozen=True)
class Provenance:
    """Everything needed to say how a result was made, and to make it again.

    Attributes
    ----------
    stage : str
        The stage (``"effective"``) that made the result.
    parameters : dict
        Its parameters: plain data.
    seed : int or None
        Seed of every random choice, None where there is none.
    inputs : dict of str to str
        Digest of each input by its role (``{"model": "sha256:…"}``).
    code : str
        `code_digest` of the modules that made it.
    versions : dict of str to str
        Library versions; those of this process by default.
    """

    stage: str
    parameters: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    inputs: dict[str, str] = field(default_factory=dict)
    code: str = ""
    versions: dict[str, str] = field(default_factory=library_versions)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data; equal provenances give equal JSON."""
        return {
            "stage": self.stage,
            "parameters": plain(self.parameters),
            "seed": plain(self.seed),
            "inputs": plain(self.inputs),
            "code": self.code,
            "versions": dict(sorted(self.versions.items())),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Provenance:
        """Rebuild what `to_dict` gave.

        Raises
        ------
        ValueError
            If a field is missing.
        """
        missing = [name for name in cls.__dataclass_fields__ if name not in data]
        if missing:
            raise ValueError(f"provenance lacks {', '.join(missing)}")
        return cls(**{name: data[name] for name in cls.__dataclass_fields__})

    @property
    def digest(self) -> str:
        """Digest of the whole."""
        return json_digest(self.to_dict())
