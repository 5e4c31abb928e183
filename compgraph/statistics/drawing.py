"""Values of measures on null graphs, drawn in one process or several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from compgraph import catalogue
from compgraph.communities.optimise import run_seeds
from compgraph.nulls.workers import over_seeds
from compgraph.progress import track
from compgraph.statistics.measures.kinds import Measure, value_of
from compgraph.statistics.nulls.sampling import Null
from compgraph.statistics.view import View

Values = dict[str, npt.NDArray[np.float64]]


def null_values(
    seen: View,
    measures: Sequence[str],
    null: str,
    n_nulls: int,
    seed: int,
    workers: int = 1,
    given: Sequence[View] | None = None,
) -> Values:
    """Values of measures on every null graph, float [R] each; NaN where one is undefined.

    Parameters
    ----------
    seen
        The graph.
    measures
        Names of `catalogue.STATISTICS`.
    null
        Name of `catalogue.NULLS`.
    n_nulls, seed, workers
        As in `network_statistics`.
    given
        Null graphs made before; then `null` and `n_nulls` are not read.

    Raises
    ------
    UndefinedError
        If the null cannot serve the graph.
    """
    if not measures:
        return {}
    drawing = _Drawing(seen, tuple(measures), null, seed)
    if given is not None:
        rows = [drawing.measured(one) for one in track(given, "null graphs")]
    else:
        rows = over_seeds(drawing, run_seeds(seed + 1, n_nulls), workers, "null graphs")
    return {name: np.array(column) for name, column in zip(measures, zip(*rows, strict=True), strict=True)}


@dataclass(frozen=True)
class _Drawing:
    """What a process needs to draw and measure null graphs."""

    seen: View
    measures: tuple[str, ...]
    null: str
    seed: int

    def prepared(self) -> Callable[[int], list[float]]:
        """Measures the null graph of a seed."""
        sampler = cast(Null, catalogue.load(catalogue.NULLS[self.null]))(self.seen, self.seed)
        return lambda null_seed: self.measured(sampler(np.random.default_rng(null_seed)))

    def measured(self, drawn: View) -> list[float]:
        functions = (cast(Measure, catalogue.load(catalogue.STATISTICS[name])) for name in self.measures)
        return [value_of(function, drawn, self.seed)[0] for function in functions]
