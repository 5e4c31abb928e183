"""Singular values of |W|, and the resistance of its Laplacian; eigenvalues of a layered graph are all 0."""

from __future__ import annotations

import numpy as np

from compgraph.statistics.measures.kinds import measure
from compgraph.statistics.measures.laplacian import components, weighted_trace
from compgraph.statistics.view import DENSE_NODES, UndefinedError, View


@measure()
def effective_rank(view: View, seed: int) -> float:
    """Participation ratio of the squared singular values of |W|: (sum of s^2)^2 / sum of s^4.

    1: one pattern of sources and targets explains all weights.
    """
    squares = float((view.ordered[2] ** 2).sum())
    if view.n_nodes <= DENSE_NODES:
        matrix = view.dense()
        gram = float(((matrix.T @ matrix) ** 2).sum())
    else:
        sparse = view.sparse()
        gram = float((sparse.T @ sparse).power(2).sum())
    return squares**2 / gram


@measure()
def leading_share(view: View, seed: int) -> float:
    """Largest squared singular value of |W|, as a share of their sum."""
    squares = float((view.ordered[2] ** 2).sum())
    if view.n_nodes <= DENSE_NODES:
        return float(np.linalg.norm(view.dense(), 2) ** 2 / squares)
    from scipy.sparse.linalg import svds

    start = np.random.default_rng(seed).random(view.n_nodes)
    return float(svds(view.sparse(), k=1, v0=start, return_singular_vectors=False)[0] ** 2 / squares)


@measure()
def effective_resistance(view: View, seed: int) -> float:
    """Mean effective resistance of connected pairs of nodes, directions ignored; an edge conducts |w| / mean |w|.

    High: few and narrow connections. With more than 2,000 nodes it is an estimate from 32 random vectors.
    """
    _, sizes = components(view)
    pairs = float((sizes * (sizes - 1) / 2).sum())
    if pairs == 0:
        raise UndefinedError("no two nodes are connected")
    return weighted_trace(view, seed) * float(view.magnitude.mean()) / pairs
