"""Why a result is to be made: what its manifest says, against what would make it now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from compgraph.provenance import library_versions
from compgraph.sources import imported_libraries, in_package

WORDS = {
    "new": "new",
    "missing": "missing",
    "damaged": "damaged",
    "parameters": "parameters changed",
    "code": "code changed",
    "files": "files changed",
    "reader": "tokenizer or preparation of images changed",
    "input": "input changed",
    "again": "input made again",
    "versions": "library changed",
    "together": "made with another",
    "needed": "deleted, and needed again",
}
"""Kinds of reasons, in words."""

IMPORTED_AS = {"scikit-learn": "sklearn", "graph-tool": "graph_tool"}
"""Libraries that are imported by another name than theirs."""


@dataclass(frozen=True)
class Reason:
    """A reason to make a result.

    Attributes
    ----------
    kind : str
        A key of `WORDS`.
    details : tuple of str
        What changed, one entry a change: ``"n_bootstrap 20 → 30"``, a module, a path.
    """

    kind: str
    details: tuple[str, ...] = field(default=())

    @property
    def text(self) -> str:
        """The reason as words."""
        return WORDS[self.kind] + (f" ({', '.join(self.details)})" if self.details else "")


def changed_parameters(made: Mapping[str, Any], wanted: Mapping[str, Any]) -> tuple[str, ...]:
    """Parameters whose values differ, with both values; both sides are plain data."""
    found = []
    for name in dict.fromkeys([*made, *wanted]):
        if name not in made:
            found.append(f"{name} {_said(wanted[name])}, not recorded before")
        elif name not in wanted:
            found.append(f"without {name}")
        elif made[name] != wanted[name]:
            found.append(f"{name} {_said(made[name])} → {_said(wanted[name])}")
    return tuple(found)


def _said(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def changed_modules(made: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """Modules that differ: edited, new among those that are used, or not used any more."""
    edited = [name for name in sorted(made.keys() & now.keys()) if made[name] != now[name]]
    added = [f"now with {name}" for name in sorted(now.keys() - made.keys())]
    return (*edited, *added, *(f"without {name}" for name in sorted(made.keys() - now.keys())))


def changed_versions(made: Mapping[str, str], roots: tuple[str, ...]) -> tuple[str, ...]:
    """Libraries that the code behind a result imports, and Python, whose versions are not those that made it."""
    used = imported_libraries(root for root in roots if in_package(root))
    now = library_versions()
    return tuple(
        f"{name} {made.get(name, 'none')} → {now.get(name, 'none')}"
        for name in sorted(made.keys() | now.keys())
        if made.get(name) != now.get(name) and (name == "python" or IMPORTED_AS.get(name, name) in used)
    )
