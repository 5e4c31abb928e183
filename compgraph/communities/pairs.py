"""A graph as one weight per pair of nodes, and the pairs that could have one.

Channels (`q`, `k`, `v`) are ways in which the same two nodes are tied, so structure is sought in their sum:
`weight` keeps the signs, `magnitude` sums absolute values. An attribution's sign is the direction of an
effect and not dislike, so membership is decided on magnitudes; correlations keep their signs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compgraph.graph import ComputationalGraph
from compgraph.nulls.allowed import Allowed

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Pairs:
    """Each pair of nodes that has an edge, once, sorted by (source, target).

    Attributes
    ----------
    n_nodes
        Number of nodes of the graph.
    source, target
        int64 [P]; source < target where edges have no direction.
    weight
        Sum of the weights over channels, float64 [P].
    magnitude
        Sum of the absolute weights over channels, float64 [P].
    edges
        Number of edges (channels) of the pair, int64 [P].
    directed
        Whether (source, target) is ordered.
    """

    n_nodes: int
    source: Integers
    target: Integers
    weight: Floats
    magnitude: Floats
    edges: Integers
    directed: bool

    def matrix(self, signed: bool = False) -> Floats:
        """Dense [n, n]: `[u, v]` of the pair u -> v; symmetric where edges have no direction."""
        dense = np.zeros((self.n_nodes, self.n_nodes))
        dense[self.source, self.target] = self.weight if signed else self.magnitude
        return dense if self.directed else dense + dense.T


def node_pairs(graph: ComputationalGraph) -> Pairs:
    """One weight per pair of nodes, summed over channels."""
    n = graph.n_nodes
    cells = graph.source.astype(np.int64) * n + graph.target
    keys, inverse = np.unique(cells, return_inverse=True)
    weight = graph.weight.astype(np.float64)
    sums: list[Floats] = [
        np.bincount(inverse, weights=values, minlength=len(keys)).astype(np.float64)
        for values in (weight, np.abs(weight))
    ]
    return Pairs(
        n_nodes=n,
        source=keys // max(n, 1),
        target=keys % max(n, 1),
        weight=sums[0],
        magnitude=sums[1],
        edges=np.bincount(inverse, minlength=len(keys)),
        directed=graph.directed,
    )


def is_layered(graph: ComputationalGraph) -> bool:
    """Whether the graph's edges are limited by an architecture: a write before a read."""
    return graph.directed and graph.architecture is not None


def allowed_pairs(graph: ComputationalGraph) -> Mask:
    """Which ordered pairs of nodes could have an edge, bool [n, n].

    With an architecture: source before target as the architecture says (not merely by level: parallel blocks
    forbid attn.l -> mlp.l, chains allow neighbours only). Without one: all pairs of different nodes.

    Raises
    ------
    GraphError
        If the graph has an edge that its architecture forbids.
    """
    return Allowed.of(graph).matrix
