"""Which modules make a result: its verb and whatever its entry names in the catalogue."""

from __future__ import annotations

from functools import cache
from typing import Any

from compgraph import catalogue
from compgraph.sources import code_digest

DIGITS = 16
"""Hexadecimal digits of a code digest on a command line."""

_NAMED_BY: dict[str, catalogue.Table] = {
    "task": catalogue.TASKS,
    "tasks": catalogue.TASKS,
    "metric": catalogue.METRICS,
    "metrics": catalogue.METRICS,
    "baseline": catalogue.BASELINES,
    "measures": catalogue.STATISTICS,
}


def code_roots(stage: str, entry: Any = None) -> tuple[str, ...]:
    """Modules whose code, with all that they import from the package, makes a stage's result.

    A new method, task or metric is a new module, so it changes the roots of no other entry.

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
        table = methods if name == "method" else _NAMED_BY.get(name, {})
        value = getattr(entry, name) if table else None
        roots |= {table[word].module for word in ([value] if isinstance(value, str) else value or ())}
    return tuple(sorted(roots))


@cache
def code_of(roots: tuple[str, ...]) -> str:
    """The shortened code digest of some modules."""
    return code_digest(roots)[:DIGITS]
