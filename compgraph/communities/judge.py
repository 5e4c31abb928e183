"""The modularity that fits a graph, for methods that optimise something else or nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from compgraph.communities.agreement import Labels
from compgraph.communities.factored import Factored, Signed, factored, signed_factored
from compgraph.communities.modularity import allowed_matrix, directed_matrix, modularity_matrix, quality, signed_matrix
from compgraph.communities.pairs import Floats, Mask, allowed_pairs, is_layered, node_pairs
from compgraph.graph import ComputationalGraph

DENSE = 3000
"""Graphs with more nodes are not held as matrices."""

BY_SIZE = "the method knows no negative weights: they count by their size"


@dataclass(frozen=True)
class Judge:
    """A modularity of one graph.

    Attributes
    ----------
    name
        `ordinary`, `signed`, `directed` or `allowed pairs`.
    quality
        Labels -> modularity.
    idle
        Nodes without weight, bool [n].
    matrix
        Modularity matrix, float [n, n]; None for large graphs.
    large
        What stands for it there.
    """

    name: str
    quality: Callable[[Labels], float]
    idle: Mask
    matrix: Floats | None
    large: Factored | Signed | None = None


def judge(
    graph: ComputationalGraph, resolution: float = 1.0, signed: bool = False, allowed: bool = True, most: int = DENSE
) -> Judge:
    """The modularity of a graph.

    Parameters
    ----------
    graph
        Any graph.
    resolution
        Factor of the expected weights.
    signed
        Whether negative weights of an undirected graph count as such; else |w|.
    allowed
        Whether a layered graph is compared with what its architecture allows; else as any directed graph.
    most
        Nodes up to which the graph is held as a matrix.
    """
    pairs = node_pairs(graph)
    idle = np.bincount(pairs.source, pairs.magnitude, minlength=graph.n_nodes) == 0
    idle &= np.bincount(pairs.target, pairs.magnitude, minlength=graph.n_nodes) == 0
    with_sign = signed and not graph.directed and bool((pairs.weight < 0).any())
    layered = is_layered(graph) and allowed
    name = "signed" if with_sign else "allowed pairs" if layered else "directed" if graph.directed else "ordinary"
    if graph.n_nodes > most:
        if with_sign:
            large: Factored | Signed = signed_factored(
                pairs.source, pairs.target, pairs.weight, graph.n_nodes, resolution
            )
        else:
            large = factored(graph, resolution, allowed)
        return Judge(name, large.quality, idle, None, large)
    weights = pairs.matrix(signed=with_sign)
    if layered:
        matrix = allowed_matrix(weights, allowed_pairs(graph), resolution)
    else:
        makers = {"signed": signed_matrix, "directed": directed_matrix, "ordinary": modularity_matrix}
        matrix = makers[name](weights, resolution)
    return Judge(name, lambda labels: quality(matrix, labels), idle, matrix)


def size_notes(graph: ComputationalGraph) -> tuple[str, ...]:
    """What a reader should know of a method that sees |w| alone."""
    negative = not graph.directed and bool((graph.weight < 0).any())
    return (BY_SIZE,) if negative else ()
