"""Communities of largest modularity, and how nodes spread over them."""

from __future__ import annotations

import numpy as np

from compgraph.communities.factored import Factored, Signed, factored_edges, signed_factored
from compgraph.communities.large import search_large
from compgraph.communities.louvain import search
from compgraph.communities.modularity import excess_matrix, modularity_matrix, quality, signed_matrix
from compgraph.communities.optimise import Labels, leiden, run_seeds
from compgraph.statistics.measures.kinds import measure
from compgraph.statistics.view import DENSE_NODES, LAYERED, UNDIRECTED, View

SEARCHES = 3
"""Community searches from different seeds, of which the best modularity counts; the same for nulls."""


@measure()
def modularity(view: View, seed: int) -> float:
    """Largest modularity found: allowed-pairs (directed), signed or ordinary (undirected).

    Above 2,000 nodes the search starts from eigenvectors, and pairs of a node with itself are expected to have weight
    in directed graphs without an architecture. It is far from zero for structureless graphs too, the more so the
    sparser they are: read its z and p.
    """
    return _best(view, seed)[0]


@measure()
def participation(view: View, seed: int) -> float:
    """Mean over nodes of 1 - sum over communities of (strength into it / strength)^2 (Guimera & Amaral 2005).

    In plus out; communities are those of `modularity`, searched in every null graph anew. 0: every node
    keeps to one community.
    """
    labels = _best(view, seed)[1]
    source, target, weight = view.ordered
    if view.kind != UNDIRECTED:
        source, target = np.concatenate([source, target]), np.concatenate([target, source])
        weight = np.concatenate([weight, weight])
    parts = int(labels.max()) + 1
    into = np.bincount(source * parts + labels[target], weight, minlength=view.n_nodes * parts)
    shares = into.reshape(view.n_nodes, parts)
    used = view.strength > 0
    shares = shares[used] / view.strength[used, None]
    return float((1 - (shares**2).sum(axis=1)).mean())


def _best(view: View, seed: int) -> tuple[float, Labels]:
    """Modularity and labels of the best of `SEARCHES` searches; of one where nodes are many."""
    return view.once(f"communities {seed}", lambda: _searched(view, seed))


def _searched(view: View, seed: int) -> tuple[float, Labels]:
    if view.n_nodes > DENSE_NODES:
        large = _factored(view)
        labels = search_large(large, run_seeds(seed, 1)[0])
        return large.quality(labels), labels
    seeds = run_seeds(seed, SEARCHES)
    if view.kind == UNDIRECTED:
        signed = view.dense(view.signed)
        matrix = (signed_matrix if (view.signed < 0).any() else modularity_matrix)(signed, 1.0)
        found = [search(signed, matrix, 1.0, one) for one in seeds]
    else:
        matrix = excess_matrix(view.dense(), view.expected)
        found = [leiden(matrix, one) for one in seeds]
    scores = [quality(matrix, labels) for labels in found]
    best = int(np.argmax(scores))
    return scores[best], found[best]


def _factored(view: View) -> Factored | Signed:
    if view.kind == UNDIRECTED and (view.signed < 0).any():
        return signed_factored(view.source, view.target, view.signed, view.n_nodes)
    return factored_edges(
        view.source,
        view.target,
        view.magnitude,
        view.n_nodes,
        view.kind != UNDIRECTED,
        view.allowed if view.kind == LAYERED else None,
    )
