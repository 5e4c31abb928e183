"""igraph copies of a graph for its community methods: |w|, one edge a pair, nodes with weight only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from compgraph.communities.agreement import Labels, canonical
from compgraph.communities.pairs import Integers, node_pairs
from compgraph.graph import ComputationalGraph

if TYPE_CHECKING:
    import igraph


@dataclass(frozen=True)
class Copy:
    """A copy without the nodes that have no weight.

    Attributes
    ----------
    graph
        igraph's, with the edge attribute `weight` > 0.
    live
        Node numbers of its vertices, int64.
    n_nodes
        Number of nodes of the given graph.
    """

    graph: igraph.Graph
    live: Integers
    n_nodes: int

    def spread(self, membership: list[int]) -> Labels:
        """Labels of all nodes of the given graph; -1 for those without weight."""
        labels = np.full(self.n_nodes, -1, np.int32)
        labels[self.live] = membership
        return canonical(labels)


def copy(graph: ComputationalGraph) -> Copy:
    """Copy a graph without its directions: edges in both directions are added up."""
    import igraph

    pairs = node_pairs(graph)
    keep = pairs.magnitude > 0
    u, v, weight = pairs.source[keep], pairs.target[keep], pairs.magnitude[keep]
    live, ends = np.unique(np.concatenate([u, v]), return_inverse=True)
    ends = np.stack([ends[: len(u)], ends[len(u) :]], axis=1)
    made = igraph.Graph(n=len(live), edges=ends, directed=graph.directed)
    made.es["weight"] = weight.tolist()
    if graph.directed:
        made.to_undirected(mode="collapse", combine_edges={"weight": "sum"})
    return Copy(made, live.astype(np.int64), graph.n_nodes)
