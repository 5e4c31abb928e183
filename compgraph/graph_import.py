"""Graphs of other libraries as a ComputationalGraph: networkx, igraph, square matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph


def as_graph(given: Any, weight: str = "weight") -> ComputationalGraph:
    """The same graph as a `ComputationalGraph`.

    Parameters
    ----------
    given
        A `ComputationalGraph` (handed back as it is), a networkx graph of any kind, an igraph graph, or a
        square matrix (float [n, n]; undirected if symmetric, zeros are no edges).
    weight
        Edge attribute that holds the weights; an edge without it weighs 1.

    Returns
    -------
    ComputationalGraph
        Nodes in the order of the given graph, by their names (igraph: attribute `name`, else the number).
        Parallel edges are one edge with the sum of their weights, and self-loops are dropped;
        `attributes["converted"]` counts both.

    Raises
    ------
    GraphError
        If it is none of these, two nodes have the same name, or a weight is not a finite number.
    """
    if isinstance(given, ComputationalGraph):
        return given
    library = type(given).__module__.split(".")[0]
    if library == "igraph":
        return _from_igraph(given, weight)
    if hasattr(given, "is_directed") and hasattr(given, "adjacency"):
        return _from_networkx(given, weight)
    if isinstance(given, np.ndarray):
        return _from_matrix(given)
    raise GraphError(
        f"graph: a {type(given).__name__} is no graph; give a ComputationalGraph, a networkx or igraph graph, "
        "or a square numpy array"
    )


def _from_networkx(given: Any, weight: str) -> ComputationalGraph:
    number = {node: k for k, node in enumerate(given.nodes)}
    edges = [(number[u], number[v], data.get(weight, 1.0)) for u, v, data in given.edges(data=True)]
    source, target, values = (list(column) for column in zip(*edges, strict=True)) if edges else ([], [], [])
    return _made([str(node) for node in number], source, target, values, given.is_directed(), "networkx")


def _from_igraph(given: Any, weight: str) -> ComputationalGraph:
    named = "name" in given.vs.attributes()
    names = [str(name) for name in given.vs["name"]] if named else [str(k) for k in range(given.vcount())]
    ends = np.array(given.get_edgelist(), dtype=np.int64).reshape(-1, 2)
    values = given.es[weight] if weight in given.es.attributes() else np.ones(len(ends))
    return _made(names, ends[:, 0], ends[:, 1], values, given.is_directed(), "igraph")


def _from_matrix(given: npt.NDArray[Any]) -> ComputationalGraph:
    if given.ndim != 2 or given.shape[0] != given.shape[1]:
        raise GraphError(f"graph: a matrix must be square, not of shape {given.shape}")
    directed = not np.array_equal(given, given.T, equal_nan=True)
    source, target = np.nonzero(given if directed else np.triu(given))
    names = [f"node.{k}" for k in range(len(given))]
    return _made(names, source, target, given[source, target], directed, "numpy")


def _made(
    names: list[str], source: npt.ArrayLike, target: npt.ArrayLike, weight: Any, directed: bool, library: str
) -> ComputationalGraph:
    """Edges added up by pair of nodes, without those of a node to itself."""
    n = len(names)
    u, v = np.asarray(source, np.int64), np.asarray(target, np.int64)
    try:
        values = np.asarray(weight, np.float64)
    except (TypeError, ValueError) as error:
        raise GraphError(f"graph: the weights of the {library} graph are not all numbers ({error})") from error
    loops = u == v
    u, v, values = u[~loops], v[~loops], values[~loops]
    if not directed:
        u, v = np.minimum(u, v), np.maximum(u, v)
    cells, inverse = np.unique(u * n + v, return_inverse=True)
    record = {"from": library, "self_loops": int(loops.sum()), "parallel_edges": len(u) - len(cells)}
    return ComputationalGraph(
        names,
        cells // max(n, 1),
        cells % max(n, 1),
        None,
        np.bincount(inverse, weights=values, minlength=len(cells)),
        directed=directed,
        attributes={"converted": record},
    )
