"""Growth of a circuit from the output, strongest edge first."""

from __future__ import annotations

import heapq

import numpy as np

from compgraph.circuits.choice import Choice
from compgraph.graph import ComputationalGraph
from compgraph.graph_select import Order, strength


def greedy(graph: ComputationalGraph, n_edges: int, *, by: Order = "abs") -> Choice:
    """Grow from the output as Dijkstra's algorithm does: always the strongest edge into what is reached.

    The circuit starts as the output nodes with their in-edges in a heap. n times the strongest edge leaves the heap and
    joins the circuit; a node that is thereby reached first puts its in-edges into the heap, those of a head in all of
    its channels (the EAP-IG package's greedy circuits; methods of Hanna et al. 2024, arXiv 2403.17806). So every kept
    edge lies on a path to the output, but not every path begins at the input: prune afterwards if that matters.

    Returns
    -------
    Choice
        Fewer than n edges only where fewer lead to the output.

    Raises
    ------
    GraphError
        The graph is undirected or has no architecture, so that no node is its output.
    """
    outputs = graph.outputs
    key = -strength(graph.weight, by)
    order = np.argsort(graph.target, kind="stable")
    bounds = np.searchsorted(graph.target[order], np.arange(graph.n_nodes + 1))
    # Within a node only the strongest edge not yet taken competes, so that the heap holds one entry a reached node.
    order = order[np.lexsort((order, key[order], graph.target[order]))]
    reached = np.zeros(graph.n_nodes, dtype=bool)
    heap: list[tuple[float, int, int]] = []

    def offer(place: int, node: int) -> None:
        if place < bounds[node + 1]:
            edge = int(order[place])
            heapq.heappush(heap, (float(key[edge]), edge, place))

    for node in outputs:
        reached[node] = True
        offer(int(bounds[node]), int(node))
    kept = np.zeros(graph.n_edges, dtype=bool)
    for _ in range(n_edges):
        if not heap:
            break
        _, edge, place = heapq.heappop(heap)
        kept[edge] = True
        offer(place + 1, int(graph.target[edge]))
        source = int(graph.source[edge])
        if not reached[source]:
            reached[source] = True
            offer(int(bounds[source]), source)
    return Choice(kept, {"reached": int(reached.sum())})
