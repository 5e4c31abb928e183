"""Graphs of units, by name: what the methods that read a graph are given.

Edges are those of functional connectivity between single units, thinned by the rules of `compgraph.circuits.sparsify`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from compgraph.circuits.sparsify import sparsify
from compgraph.connectivity.functional import coactivation, covariance, partial, pearson
from compgraph.connectivity.functional.setting import Setting
from compgraph.errors import DataError
from compgraph.graph import ComputationalGraph
from compgraph.rois.signals import Floats, Units

MOST_NEIGHBOURS, FEWEST_NEIGHBOURS = 10, 3

GRAPHS = ("correlation", "covariance", "partial", "knn", "shared-neighbours", "significant", "coactivation")


def unit_graph(
    units: Units,
    graph: str,
    *,
    neighbours: int = 0,
    weighted: bool = False,
    mutual: bool = False,
    level: float = 0.05,
    active_above: float = 0.0,
) -> ComputationalGraph:
    """A graph whose nodes are the live units, in order.

    Parameters
    ----------
    units
        What is divided.
    graph
        `correlation`: every pair, signed. `covariance`: the same in the units of the recorded numbers, so that what
        varies more counts more. `partial`: correlation given all other units (Ledoit-Wolf): who goes together
        directly. `knn`: each unit and those it correlates with most. `shared-neighbours`: how many of their nearest
        two units have in common, themselves among these (Jarvis & Patrick 1973), a whole number. `significant`:
        correlations whose adjusted p-value is at most `level` (Benjamini-Hochberg, rows along a text corrected for
        autocorrelation). `coactivation`: phi of being active (above `active_above`) together, for sparse features;
        signals must be activations.
    neighbours
        `knn`, `shared-neighbours`: how many of each unit; 0 for the root of the number of units, between 3 and 10.
    weighted
        `knn`: weights are correlations, negative ones 0; else all are 1.
    mutual
        `knn`: join two units only if each is among the other's nearest; else one of them is enough.

    Raises
    ------
    DataError
        An unknown graph, a single unit, or a graph that these signals do not allow.
    """
    if graph not in GRAPHS:
        raise DataError(f"rois: graph {graph!r} is not known; valid are {', '.join(GRAPHS)}")
    if units.n < 2:
        raise DataError(f"rois: {units.name} has one live unit, and a graph needs at least 2")
    if graph == "correlation":
        return ComputationalGraph.from_matrix(units.correlation)
    if graph == "knn":
        return nearest_neighbours(units.correlation, neighbours, weighted=weighted, mutual=mutual)
    if graph == "shared-neighbours":
        return shared_neighbours(units.correlation, neighbours)
    if graph == "significant":
        found = pearson.compute(_setting(units, samples="autocorrelation", level=level))
        return _all_nodes(units, sparsify(found, "significance", level=level))
    plain = _setting(units, samples="none")
    if graph == "coactivation":
        return _all_nodes(units, coactivation.compute(plain, active_above=active_above))
    return _all_nodes(units, (covariance if graph == "covariance" else partial).compute(plain))


def nearest_neighbours(
    correlation: Floats, neighbours: int = 0, *, weighted: bool = False, mutual: bool = False
) -> ComputationalGraph:
    """Graph that joins units to those with the largest r; of equally near ones the first.

    Parameters as for `unit_graph`, of a matrix of correlations, float64 [n, n].
    """
    count = _count(len(correlation), neighbours)
    # Shifted, so that the largest in size is the largest: of negative correlations the weakest is the nearest.
    near = sparsify(ComputationalGraph.from_matrix(1 + correlation), "nearest", k=count, mutual=mutual)
    source, target = near.source, near.target
    weight = np.maximum(correlation[source, target], 0) if weighted else np.ones(len(source))
    kept = weight > 0
    return ComputationalGraph(near.node_names, source[kept], target[kept], None, weight[kept], directed=False)


def shared_neighbours(correlation: Floats, neighbours: int = 0) -> ComputationalGraph:
    """Graph that joins units by how many nearest units they share, each unit among its own.

    Parameters as for `nearest_neighbours`.
    """
    n = len(correlation)
    shifted = np.array(correlation)
    np.fill_diagonal(shifted, np.inf)
    nearest = np.argsort(-shifted, axis=1, kind="stable")[:, : _count(n, neighbours) + 1]
    among = np.zeros((n, n), np.float32)
    among[np.arange(n)[:, None], nearest] = 1
    return ComputationalGraph.from_matrix((among @ among.T).astype(np.float64), drop_zeros=True)


def _count(n: int, neighbours: int) -> int:
    """Neighbours of each of n units: as many as asked for, or about the root of n."""
    return min(neighbours or min(MOST_NEIGHBOURS, max(FEWEST_NEIGHBOURS, math.isqrt(n))), n - 1)


def _setting(units: Units, **options: Any) -> Setting:
    return Setting(units.recording, units.partition, sites=list(units.sites), **options)


def _all_nodes(units: Units, graph: ComputationalGraph) -> ComputationalGraph:
    """The same edges over all live units: functional graphs leave out nodes that nothing is known of."""
    number = {name: k for k, name in enumerate(units.partition.node_names)}
    place = np.array([number[name] for name in graph.node_names])
    return ComputationalGraph(
        units.partition.node_names, place[graph.source], place[graph.target], None, graph.weight, directed=False
    )
