"""The Laplacian of |W| + |W|^T: solutions and the trace of its pseudo-inverse, dense where small."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix, diags
from scipy.sparse.csgraph import connected_components

from compgraph.communities.pairs import Floats, Integers
from compgraph.statistics.view import DENSE_NODES, UNDIRECTED, UndefinedError, View

LARGEST_CONDITION = 1e13
TOO_UNEQUAL = "the weights are too unequal to solve the equations of the Laplacian in float64"

TOLERANCE = 1e-11
"""Residual of an iterative solution, relative to the right-hand side."""

MAX_STEPS = 20_000

PROBES = 32
"""Random vectors of the trace of a large graph; its relative error is about sqrt(2 / (probes x nodes))."""


def components(view: View) -> tuple[Integers, Integers]:
    """Component of each node, directions ignored, and the sizes of the components."""
    labels = view.once("components", lambda: connected_components(view.sparse(), directed=False)[1].astype(np.int64))
    return labels, np.bincount(labels)


def solve(view: View, right: Floats) -> Floats:
    """x with L x = right, for a right side that sums to 0 in every component; x is centred in each.

    Raises
    ------
    UndefinedError
        If the iteration for a large graph does not converge.
    """
    if view.n_nodes <= DENSE_NODES:
        return _centred(view, (_inverse(view)[0] @ right)[:, None])[:, 0]
    return _iterate(view, right[:, None])[:, 0]


def weighted_trace(view: View, seed: int) -> float:
    """Sum over components c of size_c x trace of the pseudo-inverse of L_c: the sum of resistances of all pairs."""
    labels, sizes = components(view)
    if view.n_nodes <= DENSE_NODES:
        inverse, scale = _inverse(view)
        diagonal = np.bincount(labels, np.diag(inverse), minlength=len(sizes))
        return float((sizes * (diagonal - 1 / scale)).sum())
    rng = np.random.default_rng(seed)
    probes = _centred(view, rng.choice([-1.0, 1.0], size=(view.n_nodes, PROBES)))
    return float((sizes[labels][:, None] * probes * _iterate(view, probes)).sum() / PROBES)


def _laplacian(view: View) -> csr_matrix:
    weights = view.sparse()
    if view.kind != UNDIRECTED:
        weights = weights + weights.T
    return csr_matrix(diags(np.asarray(weights.sum(axis=1)).ravel()) - weights)


def _inverse(view: View) -> tuple[Floats, float]:
    """Inverse of L plus a constant in each component, which makes it regular; the constant's eigenvalue.

    Raises
    ------
    UndefinedError
        If the weights are too unequal for float64.
    """
    return view.once("inverse laplacian", lambda: _inverted(view))


def _inverted(view: View) -> tuple[Floats, float]:
    labels, sizes = components(view)
    weights = view.dense()
    if view.kind != UNDIRECTED:
        weights = weights + weights.T
    strength = weights.sum(axis=1)
    scale = float(strength.mean())
    same = labels[:, None] == labels[None, :]
    matrix = np.diag(strength) - weights + same * (scale / sizes[labels])
    root = 1 / np.sqrt(np.diag(matrix))  # equal diagonals: nodes of unequal strength do no harm
    matrix = root[:, None] * matrix * root
    try:
        inverse = np.linalg.inv(matrix)
    except np.linalg.LinAlgError as failed:
        raise UndefinedError(TOO_UNEQUAL) from failed
    if np.linalg.norm(matrix, 1) * np.linalg.norm(inverse, 1) > LARGEST_CONDITION:
        raise UndefinedError(TOO_UNEQUAL)
    return root[:, None] * inverse * root, scale


def _centred(view: View, columns: Floats) -> Floats:
    """Columns less their mean in each component."""
    labels, sizes = components(view)
    member = csr_matrix((np.ones(len(labels)), (labels, np.arange(len(labels)))))
    centred: Floats = columns - ((member @ columns) / sizes[:, None])[labels]
    return centred


def _iterate(view: View, right: Floats) -> Floats:
    """Conjugate gradients with the diagonal as preconditioner, on all columns at once."""
    matrix = _laplacian(view)
    diagonal = matrix.diagonal()
    inverse = np.divide(1.0, diagonal, out=np.zeros_like(diagonal), where=diagonal > 0)[:, None]
    x, residual = np.zeros_like(right), _centred(view, right)
    limit = TOLERANCE * np.linalg.norm(right, axis=0)
    direction = inverse * residual
    product = (residual * direction).sum(axis=0)
    for _ in range(MAX_STEPS):
        active = np.linalg.norm(residual, axis=0) > limit
        if not active.any():
            return _centred(view, x)
        image = matrix @ direction
        curvature = (direction * image).sum(axis=0)
        step = np.divide(product, curvature, out=np.zeros_like(product), where=active & (curvature > 0))
        x += step * direction
        # Rounding leaves a constant in each component, which the matrix cannot remove.
        residual = _centred(view, residual - step * image)
        scaled = inverse * residual
        new = (residual * scaled).sum(axis=0)
        direction = scaled + np.divide(new, product, out=np.zeros_like(new), where=product > 0) * direction
        product = new
    raise UndefinedError(f"the equations of the Laplacian did not converge in {MAX_STEPS:,} steps")
