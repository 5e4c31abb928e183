"""Values of measures on null graphs, drawn in one process or several."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from compgraph import catalogue
from compgraph.communities.optimise import run_seeds
from compgraph.progress import track
from compgraph.statistics.measures.kinds import Measure, value_of
from compgraph.statistics.nulls.sampling import Null, Sampler
from compgraph.statistics.view import View

Values = dict[str, npt.NDArray[np.float64]]

BATCH = 4
"""Null graphs that a process measures before it asks for more."""

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


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
    elif workers == 1 or n_nulls <= BATCH:
        sampler = drawing.sampler()
        rows = [drawing.measured(drawing.drawn(sampler, one)) for one in track(drawing.seeds(n_nulls), "null graphs")]
    else:
        drawing.sampler()  # a null that cannot serve the graph says so before processes are started
        rows = _shared(drawing, n_nulls, workers)
    return {name: np.array(column) for name, column in zip(measures, zip(*rows, strict=True), strict=True)}


@dataclass(frozen=True)
class _Drawing:
    """What a process needs to draw and measure null graphs."""

    seen: View
    measures: tuple[str, ...]
    null: str
    seed: int

    def sampler(self) -> Sampler:
        return cast(Null, catalogue.load(catalogue.NULLS[self.null]))(self.seen, self.seed)

    def seeds(self, n_nulls: int) -> list[int]:
        return run_seeds(self.seed + 1, n_nulls)

    def drawn(self, sampler: Sampler, null_seed: int) -> View:
        return sampler(np.random.default_rng(null_seed))

    def measured(self, drawn: View) -> list[float]:
        functions = (cast(Measure, catalogue.load(catalogue.STATISTICS[name])) for name in self.measures)
        return [value_of(function, drawn, self.seed)[0] for function in functions]


def _shared(drawing: _Drawing, n_nulls: int, workers: int) -> list[list[float]]:
    """Rows in the order of the seeds, whichever process made them."""
    seeds = drawing.seeds(n_nulls)
    with _one_thread_each(), multiprocessing.get_context("spawn").Pool(workers, _start, (drawing,)) as pool:
        return list(track(pool.imap(_row, seeds, chunksize=BATCH), "null graphs", total=len(seeds)))


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let new processes compute with one thread each: the processes are the parallelism."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


_worker: tuple[_Drawing, Sampler] | None = None


def _start(drawing: _Drawing) -> None:
    global _worker
    _worker = drawing, drawing.sampler()


def _row(null_seed: int) -> list[float]:
    if _worker is None:
        raise RuntimeError("a process that draws null graphs was not prepared")
    drawing, sampler = _worker
    return drawing.measured(drawing.drawn(sampler, null_seed))
