"""Communities by the map equation: groups in which a random walk stays long."""

from __future__ import annotations

import numpy as np

from compgraph.communities.agreement import Labels
from compgraph.communities.copies import Copy, copy
from compgraph.communities.judge import judge, size_notes
from compgraph.communities.louvain import check_runs
from compgraph.communities.optimise import igraph_seed, run_seeds
from compgraph.communities.pairs import Floats
from compgraph.communities.result import Communities, best_of_runs
from compgraph.graph import ComputationalGraph


def find(graph: ComputationalGraph, *, seed: int = 0, n_runs: int = 10) -> Communities:
    """Infomap (Rosvall & Bergstrom 2008), by igraph.

    Parameters
    ----------
    graph
        Any graph. Walks follow |w|, in both directions.
    seed, n_runs
        As for `louvain`.

    Returns
    -------
    Communities
        `quality` is the share of the code length that the communities save: 1 - L / L of one community. It is
        0 where Infomap finds one community only.

    Notes
    -----
    Directions do not count: along them every walk in a layered graph ends at the output within a few steps, and
    its code length would be that of the jumps back.
    """
    check_runs(n_runs, 1.0)
    copied = copy(graph)
    one = code_length(copied, np.zeros(len(copied.live), np.int64))

    def score(labels: Labels) -> float:
        given = labels[copied.live]
        return 1 - code_length(copied, given) / one if one > 0 else 0.0

    def search(run_seed: int) -> Labels:
        if not len(copied.live):
            return np.zeros(graph.n_nodes, np.int32)
        with igraph_seed(run_seed):
            found = copied.graph.community_infomap(edge_weights="weight", trials=1)
        return copied.spread(found.membership)

    idle = judge(graph).idle
    parameters = {"seed": seed, "objective": "map equation"}
    return best_of_runs(graph, score, idle, search, run_seeds(seed, n_runs), "infomap", parameters, size_notes(graph))


def code_length(copied: Copy, membership: np.ndarray) -> float:
    """The map equation L(M) in bits a step (Rosvall, Axelsson & Bergstrom 2009), two levels.

    L = q H(exits) + sum over modules of (q_m + p_m) H(exit, visits of its nodes), q_m the probability to leave
    module m and p_m that to be in it.
    """
    if not len(membership):
        return 0.0
    parts, module = np.unique(membership, return_inverse=True)
    visits, leaving = _flow(copied, module, len(parts))
    inside = np.bincount(module, visits, minlength=len(parts))
    exits = _plogp(leaving.sum()) - 2 * _plogp(leaving).sum()
    return float(exits - _plogp(visits).sum() + _plogp(leaving + inside).sum())


def _flow(copied: Copy, module: np.ndarray, n_modules: int) -> tuple[Floats, Floats]:
    """Visits of each node, and the probability to leave each module."""
    ends = np.array(copied.graph.get_edgelist(), dtype=np.int64).reshape(-1, 2)
    weight = np.asarray(copied.graph.es["weight"], np.float64)
    visits, leaving = np.zeros(len(module)), np.zeros(n_modules)
    for here, there in (ends.T, ends.T[::-1]):
        across = module[here] != module[there]
        visits += np.bincount(here, weight, minlength=len(module))
        leaving += np.bincount(module[here][across], weight[across], minlength=n_modules)
    total = 2 * weight.sum()
    return visits / total, leaving / total


def _plogp(p: np.ndarray | float) -> np.ndarray:
    values = np.asarray(p, np.float64)
    return values * np.log2(np.where(values > 0, values, 1.0))
