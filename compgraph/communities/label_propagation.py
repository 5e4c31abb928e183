"""Communities by label propagation: every node takes the label that most of its weight leads to."""

from __future__ import annotations

import numpy as np

from compgraph.communities.agreement import Labels
from compgraph.communities.copies import copy
from compgraph.communities.judge import judge, size_notes
from compgraph.communities.louvain import check_runs
from compgraph.communities.optimise import igraph_seed, run_seeds
from compgraph.communities.result import Communities, best_of_runs
from compgraph.graph import ComputationalGraph


def find(graph: ComputationalGraph, *, seed: int = 0, n_runs: int = 10) -> Communities:
    """Label propagation (Raghavan, Albert & Kumara 2007), by igraph; of several runs the best by modularity.

    Parameters
    ----------
    graph
        Any graph; |w|, directions are added up.
    seed, n_runs
        As for `louvain`. Runs differ a lot.

    Returns
    -------
    Communities
        `quality` is the modularity that fits the graph (of allowed pairs, directed, or ordinary). On dense graphs
        all labels become one: communities of graded weights are beyond this method.
    """
    check_runs(n_runs, 1.0)
    copied, judged = copy(graph), judge(graph)

    def search(run_seed: int) -> Labels:
        if not len(copied.live):
            return np.zeros(graph.n_nodes, np.int32)
        with igraph_seed(run_seed):
            return copied.spread(copied.graph.community_label_propagation(weights="weight").membership)

    parameters = {"seed": seed, "modularity": judged.name}
    return best_of_runs(
        graph,
        judged.quality,
        judged.idle,
        search,
        run_seeds(seed, n_runs),
        "label-propagation",
        parameters,
        size_notes(graph),
    )
