"""Communities by short random walks: nodes from which walks end in the same places are merged."""

from __future__ import annotations

from compgraph.communities.copies import copy
from compgraph.communities.dendrogram import best_cut
from compgraph.communities.judge import judge, size_notes
from compgraph.communities.optimise import run_seeds
from compgraph.communities.result import Communities, best_of_runs
from compgraph.graph import ComputationalGraph


def find(graph: ComputationalGraph, *, seed: int = 0, steps: int = 4) -> Communities:
    """Walktrap (Pons & Latapy 2005), by igraph, cut where the modularity that fits the graph is largest.

    Parameters
    ----------
    graph
        Any graph; |w|, directions are added up.
    seed
        Nothing is drawn; taken for the common signature of methods.
    steps
        Length of the walks.

    Returns
    -------
    Communities
        `quality` is the modularity (of allowed pairs, directed, or ordinary).
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    copied, judged = copy(graph), judge(graph)
    made = copied.graph.community_walktrap(weights="weight", steps=steps) if len(copied.live) else None
    return best_of_runs(
        graph,
        judged.quality,
        judged.idle,
        lambda _: best_cut(made, copied, judged),
        run_seeds(seed, 1),
        "walktrap",
        {"steps": steps, "modularity": judged.name},
        size_notes(graph),
    )
