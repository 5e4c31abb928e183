"""ROIs by a stochastic block model of units' correlations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from compgraph.communities.sbm import fit_sbm
from compgraph.errors import DataError
from compgraph.graph import ComputationalGraph

MOST_NEIGHBOURS, FEWEST_NEIGHBOURS = 10, 3


def find(
    matrix: npt.NDArray[np.float64],
    n_rois: int | None,
    seed: int,
    *,
    graph: str = "knn",
    neighbours: int = 0,
    n_runs: int = 3,
    engine: str = "auto",
) -> npt.NDArray[np.int32]:
    """Group units by fitting blocks to a graph of their correlations.

    Parameters
    ----------
    matrix
        Correlation of the units, float64 [n, n].
    n_rois
        Number of ROIs, or None for what describes the graph shortest (one, if nothing does better).
    seed
        Of all runs.
    graph
        `knn`: which units are each other's nearest neighbours, unweighted, degree-corrected: which units
        belong together, whatever the size of their correlations. `correlation`: all correlations as weights,
        which also tells units apart whose correlations differ in size.
    neighbours
        `knn`: neighbours of each unit with the largest r; 0 for the square root of the number of units, between
        3 and 10.
    n_runs
        Fits from different seeds; the shortest description is kept.
    engine
        As in `fit_sbm`; `dense` serves both graphs without graph-tool.

    Returns
    -------
    int32 [n]
        Labels, numbered by their first unit.

    Raises
    ------
    MissingDependency
        If graph-tool was asked for and is not installed.
    """
    if graph not in ("knn", "correlation"):
        raise DataError(f"rois: graph {graph!r} is not known; valid are knn, correlation")
    if len(matrix) == 1:
        return np.zeros(1, np.int32)
    options: dict[str, Any] = {"nested": False, "n_runs": n_runs, "seed": seed, "n_blocks": n_rois, "engine": engine}
    if graph == "knn":
        fit = fit_sbm(nearest_neighbours(matrix, neighbours), weights=None, degree_corrected=True, **options)
    else:
        fit = fit_sbm(ComputationalGraph.from_matrix(matrix), **options)
    return fit.labels


def nearest_neighbours(matrix: npt.NDArray[np.float64], neighbours: int = 0) -> ComputationalGraph:
    """Unweighted graph that joins two units if either is among the other's nearest.

    Parameters
    ----------
    matrix
        Correlation, float64 [n, n].
    neighbours
        How many of each unit; 0: see `find`. Of equally near units the first are taken.
    """
    n = len(matrix)
    count = neighbours or min(MOST_NEIGHBOURS, max(FEWEST_NEIGHBOURS, math.isqrt(n)))
    near = np.array(matrix)
    np.fill_diagonal(near, -np.inf)
    nearest = np.argsort(-near, axis=1, kind="stable")[:, : min(count, n - 1)]
    joined = np.zeros((n, n))
    joined[np.arange(n)[:, None], nearest] = 1
    return ComputationalGraph.from_matrix(np.maximum(joined, joined.T), drop_zeros=True)
