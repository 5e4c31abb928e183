"""Strong nodes among themselves: rich club and core, by strength beyond what each node's number of partners gives."""

from __future__ import annotations

import numpy as np

from compgraph.communities.pairs import Integers
from compgraph.statistics.measures.kinds import measure
from compgraph.statistics.view import UNDIRECTED, UndefinedError, View

CLUB = 0.1
"""Share of the nodes that are the rich club."""


@measure()
def rich_club(view: View, seed: int) -> float:
    """Weight among the tenth of the nodes with the largest relative strength, over that of as many largest edges.

    Opsahl et al. (2008). Relative strength: strength over the number of pairs that the node could have. Under a
    null that keeps strengths, a high z says that the strong prefer each other. 0 where no edge joins two of them.
    """
    club = np.zeros(view.n_nodes, dtype=bool)
    club[_ranked(view)[: max(2, round(CLUB * view.n_nodes))]] = True
    inside = club[view.source] & club[view.target]
    number = int(inside.sum())
    if number == 0:
        return 0.0
    largest = np.partition(view.magnitude, view.n_edges - number)[view.n_edges - number :]
    return float(view.magnitude[inside].sum() / largest.sum())


@measure()
def core_share(view: View, seed: int) -> float:
    """Nodes of the rich core as a share of all (Ma & Mondragon 2015).

    Nodes are ranked by relative strength; the core ends where the weight to higher ranks peaks.
    """
    return _core_size(view) / view.n_nodes


@measure()
def core_correlation(view: View, seed: int) -> float:
    """Correlation over the pairs that could have an edge of |w| with "both nodes are in the rich core".

    Borgatti & Everett (2000), for the core of `core_share`; pairs without an edge count 0.
    """
    core = np.zeros(view.n_nodes, dtype=bool)
    core[_ranked(view)[: _core_size(view)]] = True
    possible = view.n_allowed
    ideal = view.allowed.among(core) / (2 if view.kind == UNDIRECTED else 1) / possible
    mean = view.magnitude.sum() / possible
    variance = (view.magnitude**2).sum() / possible - mean**2
    if not 0 < ideal < 1:
        raise UndefinedError("the core's pairs are none or all")
    if variance <= 1e-12 * mean**2:
        raise UndefinedError("all pairs have the same weight")
    inside = core[view.source] & core[view.target]
    together = view.magnitude[inside].sum() / possible - mean * ideal
    return float(together / np.sqrt(variance * ideal * (1 - ideal)))


def _core_size(view: View) -> int:
    rank = np.empty(view.n_nodes, dtype=np.int64)
    rank[_ranked(view)] = np.arange(view.n_nodes)
    lower = np.maximum(rank[view.source], rank[view.target])
    upwards = np.bincount(lower, view.magnitude, minlength=view.n_nodes)
    return int(np.argmax(upwards)) + 1


def _ranked(view: View) -> Integers:
    """Nodes from the largest relative strength to the smallest; equal ones in order."""
    out, into = view.allowed.partners
    partners = out if view.kind == UNDIRECTED else out + into
    relative = np.divide(view.strength, partners, out=np.zeros(view.n_nodes), where=partners > 0)
    # Strengths that a null keeps to rounding must not change the order of ties.
    scale = relative.max()
    return np.argsort(-np.round(relative / scale, 9), kind="stable")
