"""The compiled cases by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from compgraph.errors import ModelError
from compgraph.models.compiled.choosing import sort, two_branch
from compgraph.models.compiled.copying import induction, previous_token, reverse, two_back
from compgraph.models.compiled.counting import frac_prevs, occurrences
from compgraph.models.compiled.plan import CompiledCase, Options

CASES: dict[str, Callable[[Options], CompiledCase]] = {
    "previous-token": previous_token,
    "two-back": two_back,
    "reverse": reverse,
    "induction": induction,
    "frac-prevs": frac_prevs,
    "occurrences": occurrences,
    "sort": sort,
    "two-branch": two_branch,
}
"""Name -> what builds it."""


def compile_case(name: str, **options: Any) -> CompiledCase:
    """A network with known true edges.

    Parameters
    ----------
    name
        One of `CASES`.
    options
        Fields of `Options`: `norm`, `rotation`, `noise`, `seed`, `sharpness`, `decoys`, `dtype`.

    Returns
    -------
    CompiledCase
        `.net`, `.true_edges`, and `.examples(n, seed)`, which are arguments of `PromptPairs`.

    Raises
    ------
    ModelError
        An unknown case, option or norm; negative noise.
    """
    if name not in CASES:
        raise ModelError(f"compiled case {name!r} is not known; valid are {', '.join(CASES)}")
    valid = [field.name for field in fields(Options)]
    if unknown := sorted(set(options) - set(valid)):
        raise ModelError(f"a compiled case has no option {unknown[0]!r}; valid are {', '.join(valid)}")
    chosen = Options(**options)
    if chosen.norm not in ("none", "rms", "layer"):
        raise ModelError(f"norm {chosen.norm!r} is not known; valid are none, rms, layer")
    if not chosen.noise >= 0:
        raise ModelError(f"noise {chosen.noise} is out of range; it is a share of the weights' size, at least 0")
    return CASES[name](chosen)
