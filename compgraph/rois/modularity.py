"""ROIs by modularity: Louvain and Leiden on a graph of the units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from compgraph.communities.agreement import n_parts
from compgraph.communities.louvain import search
from compgraph.communities.modularity import modularity_matrix, quality, signed_matrix
from compgraph.communities.optimise import leiden, run_seeds
from compgraph.errors import DataError
from compgraph.rois.graphs import unit_graph
from compgraph.rois.number import Number, bounds
from compgraph.rois.signals import Floats, Units

Search = Callable[[Floats, Floats, float, int], npt.NDArray[np.int32]]
"""Weights, their modularity matrix, resolution, seed -> labels."""

BISECTIONS = 40
FINEST = 1e4
"""Largest resolution that is tried."""


def by_louvain(units: Units, n_rois: Number, seed: int, **options: Any) -> npt.NDArray[np.int32]:
    """Louvain (Blondel et al. 2008), see `divide`."""
    return divide(units, n_rois, seed, search, "louvain", **options)


def by_leiden(units: Units, n_rois: Number, seed: int, **options: Any) -> npt.NDArray[np.int32]:
    """Leiden (Traag et al. 2019), see `divide`: parts are connected."""
    return divide(units, n_rois, seed, lambda _, matrix, __, own: leiden(matrix, own), "leiden", **options)


def divide(
    units: Units,
    n_rois: Number,
    seed: int,
    search_once: Search,
    method: str,
    *,
    graph: str = "correlation",
    resolution: float = 1.0,
    n_runs: int = 3,
    **of_graph: Any,
) -> npt.NDArray[np.int32]:
    """The division of largest modularity, signed where weights are (Gomez, Jensen & Arenas 2009).

    Parameters
    ----------
    units
        What is divided.
    n_rois
        None: what modularity finds at this resolution. Else the resolution, starting from this one, is bisected until
        the number is met.
    seed, n_runs
        Runs from different seeds, of which the best is kept.
    graph, of_graph
        `compgraph.rois.graphs.unit_graph`.
    resolution
        Above 1 finds smaller parts.

    Returns
    -------
    int32 [n]
        A unit without any weight is a part by itself.

    Raises
    ------
    DataError
        No resolution gives the number that is asked for.
    """
    if units.n == 1:
        return np.zeros(1, np.int32)
    weights = unit_graph(units, graph, **of_graph).matrix()
    seeds = run_seeds(seed, n_runs)
    build = signed_matrix if (weights < 0).any() else modularity_matrix

    def at(value: float) -> npt.NDArray[np.int32]:
        matrix = build(weights, value)
        found = [search_once(weights, matrix, value, own) for own in seeds]
        return max(found, key=lambda labels: quality(matrix, labels))

    limits = bounds(n_rois)
    return at(resolution) if limits is None else _bisected(at, limits, resolution, method, units.name)


def _bisected(
    at: Callable[[float], npt.NDArray[np.int32]], limits: tuple[int, int], start: float, method: str, name: str
) -> npt.NDArray[np.int32]:
    """Labels whose number of parts lies in a range: more parts at larger resolutions."""
    low, high, value, met = 0.0, FINEST, start, set()
    for _ in range(BISECTIONS):
        labels = at(value)
        found = n_parts(labels)
        met.add(found)
        if limits[0] <= found <= limits[1]:
            return labels
        low, high = (value, high) if found < limits[0] else (low, value)
        value = 2 * low if high == FINEST and low else (low + high) / 2
    near = ", ".join(map(str, sorted(met, key=lambda k: min(abs(k - limits[0]), abs(k - limits[1])))[:2]))
    raise DataError(
        f"rois: {method} finds no {' to '.join(map(str, dict.fromkeys(limits)))} ROIs in {name} at any resolution; "
        f"the nearest numbers are {near}: give a range (n_rois: [low, high]), or another method"
    )
