"""ROIs by a stochastic block model of a graph of the units."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from compgraph.catalogue.units import SHARED, contradictions
from compgraph.communities.agreement import n_parts
from compgraph.communities.block_model import BlockModel
from compgraph.communities.sbm import fit_sbm
from compgraph.communities.sbm_engines import ALWAYS
from compgraph.errors import DataError
from compgraph.rois.graphs import unit_graph
from compgraph.rois.number import Number, bounds
from compgraph.rois.signals import Units

DEGREES = {"auto": None, "always": True, "never": False}


def find(
    units: Units,
    n_rois: Number,
    seed: int,
    *,
    graph: str = "knn",
    weights: str = "auto",
    degree_corrected: str = "auto",
    nested: bool = False,
    hierarchy_level: int = 0,
    n_runs: int = 3,
    engine: str = "auto",
    **of_graph: Any,
) -> npt.NDArray[np.int32]:
    """Group units by fitting blocks to a graph of them.

    Parameters
    ----------
    units
        What is divided.
    n_rois
        Number of ROIs; None for what describes the graph shortest (one, if nothing does better). A range: the same
        within the range, else the bound next to it; of a nested model the finest level within it.
    seed
        Of all runs.
    graph, of_graph
        `compgraph.rois.graphs.unit_graph`. `knn` tells which units belong together, whatever the size of their
        correlations; graphs of all correlations also tell units apart whose correlations differ in size.
    weights
        `none` (which pairs are joined) or a model of `fit_sbm`: `real-normal`, `real-exponential` (weights >= 0: `knn`
        and `shared-neighbours`), `discrete-geometric`, `discrete-poisson`, `discrete-binomial` (whole weights:
        `shared-neighbours`). `auto`: none for an unweighted graph, discrete-poisson for `shared-neighbours`, else
        real-normal.
    degree_corrected
        `always`, `never`; `auto`: always for an unweighted graph, else whichever describes it shorter.
    nested
        Fit a hierarchy.
    hierarchy_level
        Of a nested model: the level whose blocks are the ROIs, 0 for the finest.
    n_runs
        Fits from different seeds; the shortest description is kept.
    engine
        As in `fit_sbm`; `dense` serves flat models without graph-tool.

    Returns
    -------
    int32 [n]

    Raises
    ------
    MissingDependency
        If graph-tool is needed and not installed.
    DataError
        A level that the hierarchy does not have, or settings that contradict each other.
    """
    weighted = of_graph.get("weighted", False)
    for reason in contradictions(
        n_rois=n_rois, nested=nested, hierarchy_level=hierarchy_level, weights=weights, graph=graph, weighted=weighted
    ).values():
        raise DataError(f"rois: {reason}")
    if units.n == 1:
        return np.zeros(1, np.int32)
    joined = unit_graph(units, graph, **of_graph)
    plain = bool((joined.weight == 1).all())
    options: dict[str, Any] = {"n_runs": n_runs, "seed": seed, "engine": engine}
    usual = None if plain else "discrete-poisson" if graph == SHARED else "real-normal"
    options["weights"] = {"auto": usual, "none": None}.get(weights, weights)
    corrected = DEGREES[degree_corrected]
    options["degree_corrected"] = True if corrected is None and plain else corrected
    limits = bounds(n_rois)
    if nested:
        model = fit_sbm(joined, nested=ALWAYS, **options)
        return level_of(model, hierarchy_level, limits, units.name)
    if limits is None or limits[0] == limits[1]:
        return fit_sbm(joined, nested=False, n_blocks=limits and limits[0], **options).labels
    free = fit_sbm(joined, nested=False, **options)
    nearest = min(max(free.n_blocks, limits[0]), limits[1])
    return (
        free.labels if nearest == free.n_blocks else fit_sbm(joined, nested=False, n_blocks=nearest, **options).labels
    )


def level_of(model: BlockModel, level: int, limits: tuple[int, int] | None, name: str) -> npt.NDArray[np.int32]:
    """Labels of a level of a hierarchy, or of the finest level with a number of blocks within limits.

    Raises
    ------
    DataError
        There is no such level.
    """
    counts = [n_parts(labels) for labels in model.levels]
    if level >= len(counts):
        raise DataError(
            f"rois: the hierarchy of {name} has {len(counts)} levels ({', '.join(map(str, counts))} blocks); "
            f"hierarchy_level {level} is none of them"
        )
    if limits is None:
        return model.levels[level]
    fitting = [k for k, count in enumerate(counts) if limits[0] <= count <= limits[1]]
    if not fitting:
        raise DataError(
            f"rois: no level of the hierarchy of {name} has {limits[0]} to {limits[1]} blocks; they have "
            f"{', '.join(map(str, counts))}"
        )
    return model.levels[fitting[0]]
