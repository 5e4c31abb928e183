"""Communities of tiny graphs by removing the edge between them, one at a time."""

from __future__ import annotations

from compgraph.communities.copies import copy
from compgraph.communities.dendrogram import best_cut
from compgraph.communities.judge import judge, size_notes
from compgraph.communities.optimise import run_seeds
from compgraph.communities.result import Communities, best_of_runs
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph

MOST_NODES, MOST_EDGES = 100, 1000
"""Beyond, edges squared times nodes take minutes, and a null graph takes as long each time."""


def find(graph: ComputationalGraph, *, seed: int = 0) -> Communities:
    """Girvan & Newman (2002), by igraph, cut where the modularity that fits the graph is largest.

    Parameters
    ----------
    graph
        At most 100 nodes and 1,000 pairs with weight. |w|, directions are added up. The edge with the largest
        ratio of betweenness to weight goes first (Newman 2004); shortest paths do not count weights.
    seed
        Nothing is drawn; taken for the common signature of methods.

    Raises
    ------
    GraphError
        If the graph is larger.
    """
    copied = copy(graph)
    n, m = len(copied.live), copied.graph.ecount()
    if n > MOST_NODES or m > MOST_EDGES:
        raise GraphError(
            f"girvan-newman takes edges squared times nodes steps, so it serves at most {MOST_NODES} nodes and "
            f"{MOST_EDGES} pairs with weight, not {n} and {m}; use leiden"
        )
    judged = judge(graph)
    tree = copied.graph.community_edge_betweenness(directed=False, weights="weight") if n else None
    return best_of_runs(
        graph,
        judged.quality,
        judged.idle,
        lambda _: best_cut(tree, copied, judged),
        run_seeds(seed, 1),
        "girvan-newman",
        {"modularity": judged.name},
        size_notes(graph),
    )
