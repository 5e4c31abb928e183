"""Modularity as matrices B, normalised so that the modularity of a partition is the sum of B inside parts.

Four nulls, and none:

- ordinary (Newman & Girvan 2004): symmetric weights >= 0, expected weight k_i k_j / 2m;
- directed (Leicht & Newman 2008): expected weight s_out,u s_in,v / m for u -> v, every pair allowed;
- signed (Gomez, Jensen & Arenas 2009): positive and negative weights each with their own null;
- allowed pairs, for directed graphs where most pairs of nodes cannot have an edge: expected weights live on
  the allowed pairs and keep every node's in- and out-strength. On layered graphs this is the null of Karrer
  & Newman (Phys. Rev. Lett. 102, 128701, 2009), as modularity Speidel, Takaguchi & Masuda (2015).
  The ordinary null on such a graph finds depth and calls it communities;
- constant Potts (Traag, Van Dooren & Nesterov 2011): every pair that could have weight is expected to have the
  same, `resolution` times the mean; strengths play no part, and there is no resolution limit.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from compgraph.communities.pairs import Floats, Mask
from compgraph.errors import GraphError

TOLERANCE = 1e-11
"""Margins of the expected weights agree with the strengths to this share of the total weight."""

ENOUGH = 1e-8
"""The same where weights are so unequal that scaling creeps, and `MAX_STEPS` do not bring it to `TOLERANCE`."""

MAX_STEPS = 50_000

ROUNDING = 1e-9
"""Differences between weight and expectation below this share of the largest weight are rounding."""


class UnscaledError(GraphError):
    """No product of node factors has the strengths of this graph, or none was reached."""


def quality(matrix: Floats, labels: npt.ArrayLike) -> float:
    """Sum of a modularity matrix inside the parts; nodes labelled -1 are in no part."""
    given = np.asarray(labels)
    same = (given[:, None] == given[None, :]) & (given >= 0)[:, None]
    return float(matrix[same].sum())


def modularity(weights: npt.ArrayLike, labels: npt.ArrayLike, resolution: float = 1.0) -> float:
    """Ordinary modularity of a partition of an undirected graph.

    Parameters
    ----------
    weights
        Symmetric, >= 0, float [n, n]; the diagonal is not read.
    labels
        int [n], -1 for no part.
    resolution
        Factor of the expected weights.
    """
    return quality(modularity_matrix(np.asarray(weights, np.float64), resolution), labels)


def signed_modularity(weights: npt.ArrayLike, labels: npt.ArrayLike, resolution: float = 1.0) -> float:
    """Modularity of Gomez, Jensen & Arenas of a partition of an undirected signed graph.

    Parameters as for `modularity`, but weights may be negative.
    """
    return quality(signed_matrix(np.asarray(weights, np.float64), resolution), labels)


def allowed_modularity(
    weights: npt.ArrayLike, allowed: npt.ArrayLike, labels: npt.ArrayLike, resolution: float = 1.0
) -> float:
    """Modularity of a partition of a directed graph against expectations on the allowed pairs only.

    Parameters
    ----------
    weights
        `[u, v]` of u -> v, >= 0, float [n, n].
    allowed
        Which pairs could have an edge, bool [n, n].
    labels, resolution
        As for `modularity`.
    """
    matrix = allowed_matrix(np.asarray(weights, np.float64), np.asarray(allowed, bool), resolution)
    return quality(matrix, labels)


def modularity_matrix(weights: Floats, resolution: float = 1.0) -> Floats:
    """B = (A - resolution k k^T / 2m) / 2m; all zero for a graph without weight."""
    adjacency = _off_diagonal(weights)
    strength = adjacency.sum(axis=1)
    total = strength.sum()
    if total == 0:
        return np.zeros_like(adjacency)
    matrix: Floats = (adjacency - resolution * np.outer(strength, strength) / total) / total
    return matrix


def signed_matrix(weights: Floats, resolution: float = 1.0) -> Floats:
    """B = ((A+ - P+) - (A- - P-)) / (2m+ + 2m-), P± the ordinary expectations of A±."""
    adjacency = _off_diagonal(weights)
    positive, negative = np.maximum(adjacency, 0), np.maximum(-adjacency, 0)
    total = positive.sum() + negative.sum()
    if total == 0:
        return np.zeros_like(adjacency)
    parts = (modularity_matrix(part, resolution) * part.sum() for part in (positive, negative))
    matrix: Floats = np.subtract(*parts) / total
    return matrix


def directed_matrix(weights: Floats, resolution: float = 1.0) -> Floats:
    """B = (W - resolution s_out s_in^T / m) / m for weights >= 0 of u -> v; not symmetric."""
    adjacency = _off_diagonal(weights)
    total = adjacency.sum()
    if total == 0:
        return np.zeros_like(adjacency)
    expected = np.outer(adjacency.sum(axis=1), adjacency.sum(axis=0)) / total
    matrix: Floats = (adjacency - resolution * expected) / total
    return matrix


def potts_matrix(weights: Floats, allowed: Mask, resolution: float = 1.0) -> Floats:
    """B = (W - resolution a) / sum |W| on allowed pairs, a the mean of |W| over them; negative weights stay."""
    adjacency = np.where(allowed, weights, 0.0)
    total = float(np.abs(adjacency).sum())
    if total == 0:
        return np.zeros_like(adjacency)
    expected = resolution * total / int(allowed.sum())
    matrix: Floats = np.where(allowed, adjacency - expected, 0.0) / total
    return matrix


def allowed_matrix(weights: Floats, allowed: Mask, resolution: float = 1.0) -> Floats:
    """B = (W - resolution P) / m with P from `expected_weights`; not symmetric."""
    return excess_matrix(weights, expected_weights(weights, allowed), resolution)


def excess_matrix(weights: Floats, expected: Floats, resolution: float = 1.0) -> Floats:
    """B = (W - resolution P) / m with expectations P made before."""
    total = weights.sum()
    if total == 0:
        return np.zeros_like(weights)
    excess: Floats = (weights - resolution * expected) / total
    # Left in, the rounding of the scaling would be the only thing to optimise where weights are as expected.
    excess[np.abs(excess) <= ROUNDING * weights.max() / total] = 0
    return excess


def expected_weights(weights: Floats, allowed: Mask) -> Floats:
    """Weights P_uv = x_u y_v on the allowed pairs with the strengths of `weights` (Sinkhorn scaling).

    Parameters
    ----------
    weights
        float [n, n], >= 0, positive on allowed pairs only.
    allowed
        bool [n, n].

    Returns
    -------
    float [n, n]
        On a layered graph, with s the strengths, K those of whole levels and mu_b the weight that is open
        before level b: s_out,u s_in,v / mu_t(v) times the product over levels l between of (1 - K_in,l / mu_l).

    Raises
    ------
    GraphError
        If a positive weight lies on a forbidden pair.
    UnscaledError
        If the weights are too unequal to scale.
    """
    if (weights[~allowed] > 0).any():
        u, v = np.argwhere((weights > 0) & ~allowed)[0]
        raise GraphError(f"modularity: nodes {u} -> {v} have weight {weights[u, v]} but may not have an edge")
    if not (weights > 0).any():
        return np.zeros_like(weights)
    scale = weights.max()
    margins = weights.sum(axis=1) / scale, weights.sum(axis=0) / scale
    start = possible_pairs(weights, allowed).astype(np.float64)
    expected: Floats = scale * sinkhorn(start, *margins)
    return expected


def possible_pairs(weights: Floats, allowed: Mask) -> Mask:
    """The allowed pairs that some matrix with the strengths of `weights` can use.

    Elsewhere every such matrix is zero, and scaling would creep towards that zero instead of converging.
    A pair can be used if weight can be moved to it along a cycle: add on allowed pairs, take from pairs that
    have weight. So it must join two nodes of one strong component of that exchange graph.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    n = len(weights)
    adds_u, adds_v = np.nonzero(allowed)
    takes_u, takes_v = np.nonzero(weights > 0)
    rows = np.concatenate([adds_u, takes_v + n])
    columns = np.concatenate([adds_v + n, takes_u])
    exchange = csr_array((np.ones(len(rows)), (rows, columns)), shape=(2 * n, 2 * n))
    component = connected_components(exchange, directed=True, connection="strong")[1]
    usable: Mask = (weights > 0) | (allowed & (component[:n, None] == component[None, n:]))
    return usable


def sinkhorn(start: Floats, rows: Floats, columns: Floats) -> Floats:
    """Scale the rows and columns of a non-negative matrix to given sums.

    Parameters
    ----------
    start
        float [n, k]; zeros stay zero.
    rows, columns
        Sums to reach, float [n] and [k], with equal totals.

    Returns
    -------
    float [n, k]
        Sums agree to `TOLERANCE` of the total, or to `ENOUGH` after `MAX_STEPS`.

    Raises
    ------
    UnscaledError
        If the sums are not reached: the zeros do not leave room for them, or barely.
    """
    x, y = np.ones(len(rows)), np.ones(len(columns))
    total = rows.sum()
    gap = np.inf
    with np.errstate(over="ignore", invalid="ignore"):  # factors run away where the sums cannot be reached
        for _ in range(MAX_STEPS):
            x = _ratio(rows, start @ y)
            sums = x @ start
            now = float(np.abs(y * sums - columns).max())
            if now <= TOLERANCE * total:
                return x[:, None] * start * y
            if not np.isfinite(now):
                break
            gap = now
            y = _ratio(columns, sums)
        else:
            if gap <= ENOUGH * total:
                return x[:, None] * start * y
    raise UnscaledError(
        f"modularity: strengths were matched to {gap / total:.1e} of the total weight only; "
        "the graph has nodes whose weights are too unequal to scale"
    )


def _ratio(wanted: Floats, found: Floats) -> Floats:
    return np.divide(wanted, found, out=np.zeros_like(wanted), where=wanted > 0)


def _off_diagonal(weights: Floats) -> Floats:
    matrix = weights.copy()
    np.fill_diagonal(matrix, 0)
    return matrix
