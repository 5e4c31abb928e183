"""What makes a function a measure: the kinds of graph that it refuses, and why."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Protocol, cast

from compgraph.statistics.view import UndefinedError, View

NO_LEVELS = "needs the levels of an architecture"
NO_ARROWS = "needs directed edges"
TWO_STRENGTHS = "its nodes have one strength, so there is one kind of assortativity"
NO_UNDIRECTED_LOOPS = "a feed-forward loop needs directed edges; see clustering"
TRIANGLES = "directed triangles on a layered graph count what the architecture allows; see feedforward_loops"
UNDIRECTED_ONLY = "is defined here for undirected edges"


class Measure(Protocol):
    """A function that measures, and the kinds of graph on which it does not, with the reason."""

    refused: Mapping[str, str]

    def __call__(self, view: View, seed: int) -> float:
        """Value of the measure."""
        ...


def measure(**refused: str) -> Callable[[Callable[[View, int], float]], Measure]:
    """Mark a function as a measure; `kind="reason"` refuses graphs of that kind."""

    def mark(function: Callable[[View, int], float]) -> Measure:
        function.refused = refused  # type: ignore[attr-defined]
        return cast(Measure, function)

    return mark


def value_of(measure: Measure, view: View, seed: int) -> tuple[float, str]:
    """A measure's value, or NaN and the reason."""
    if view.kind in measure.refused:
        return math.nan, f"{view.kind} graph: {measure.refused[view.kind]}"
    if view.n_edges == 0:
        return math.nan, "the graph has no edge with weight"
    try:
        return measure(view, seed), ""
    except UndefinedError as undefined:
        return math.nan, str(undefined)
