"""Which modules make a result: its verb and whatever its entry names, in the catalogue or by import path."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any

from compgraph import catalogue
from compgraph.config.metrics import metric_entry, named_metrics
from compgraph.sources import code_digest, in_package, own_modules

DIGITS = 16
"""Hexadecimal digits of a code digest on a command line."""

_NAMED_BY: dict[str, catalogue.Table] = {
    "task": catalogue.TASKS,
    "tasks": catalogue.TASKS,
    "baseline": catalogue.BASELINES,
    "measures": catalogue.STATISTICS,
    "methods": catalogue.EFFECTIVE,
    "null_model": catalogue.NULLS,
}


OWN_NULLS = ("communities", "null_model")
"""Null models with names of the section's own, whose code its verb imports."""


def code_roots(stage: str, entry: Any = None) -> tuple[str, ...]:
    """Modules whose code, with all that they import from the package, makes a stage's result.

    A new method, task or metric is a new module, so it changes the roots of no other entry. A metric of the user's
    own brings the module that it is in.

    Parameters
    ----------
    stage : str
        A verb of the catalogue.
    entry : Section, optional
        The validated entry.
    """
    roots = {catalogue.STAGES[stage].module}
    methods = catalogue.SECTIONS.get(stage, {})
    for name in type(entry).model_fields if entry is not None else ():
        table = methods if name == "method" else _NAMED_BY.get(name, {}) if (stage, name) != OWN_NULLS else {}
        value = getattr(entry, name) if table else None
        words = table if value in ("all", "auto") else [value] if isinstance(value, str) else value or ()
        roots |= {table[word].module for word in words}
    for metric in named_metrics(entry):
        roots |= {"compgraph.metrics", metric_entry(metric).module}
    return tuple(sorted(roots))


def code_of(roots: tuple[str, ...]) -> str:
    """The shortened code digest of some modules, of the package or the user's own.

    Raises
    ------
    DataError
        A module of the user's own that is not there, or is no Python source.
    """
    modules, used = own_modules(root for root in roots if not in_package(root))
    digest = _package_digest(tuple(sorted({*(root for root in roots if in_package(root)), *used})))
    if modules:
        lines = [f"{name}\0{one}\n" for name, one in sorted(modules.items())]
        digest = hashlib.sha256("".join([digest, *lines]).encode()).hexdigest()
    return digest[:DIGITS]


@cache
def _package_digest(roots: tuple[str, ...]) -> str:
    """The package does not change while a process runs; modules of the user's own may."""
    return code_digest(roots)
