"""Partial correlation: what ties two nodes beyond all the others, from the inverse of a regularised correlation matrix.

With precision P of the signals, scaled to variance 1, the weight of i and j is -P_ij / sqrt(P_ii P_jj).
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from compgraph.connectivity.functional.moments import Moments, moments_of
from compgraph.connectivity.functional.pairs import graph_of_moments
from compgraph.connectivity.functional.setting import Setting
from compgraph.connectivity.functional.signals import Matrix
from compgraph.errors import DataError
from compgraph.graph import ComputationalGraph

MAX_LASSO_NODES = 500
CONDITION = 1e12
"""A correlation matrix with a larger condition number has no inverse that means anything in float64."""

PATH = 10
"""Penalties tried by the graphical lasso where none is given."""

EBIC_GAMMA = 0.5


def compute(setting: Setting, *, estimator: str = "ledoit-wolf", penalty: float = 0.0) -> ComputationalGraph:
    """Partial correlation of every pair of nodes given all the others.

    Parameters
    ----------
    estimator
        `ledoit-wolf` (Ledoit & Wolf 2004) or `oas` (Chen et al. 2010): correlations shrunk towards 0 by a share
        computed from the data, rows counted as independent; `empirical`: none; `graphical-lasso`: an l1 penalty on the
        precision (Friedman, Hastie & Tibshirani 2008), through scikit-learn.
    penalty
        Of the graphical lasso; 0 tries a path of penalties and keeps the one of smallest extended BIC (Foygel & Drton
        2010, gamma 0.5), with the path in the attribute `path`.

    Returns
    -------
    ComputationalGraph
        Only `empirical` has tests, with n - 2 more degrees of freedom lost: shrunk estimates have no known law.

    Raises
    ------
    DataError
        A precision that cannot be estimated: fewer rows than nodes, or nodes that are combinations of each other; more
        nodes than the graphical lasso can serve.
    """
    moments = moments_of(setting)
    correlation = moments.correlation()
    about: dict[str, Any] = {"estimator": estimator}
    if estimator == "graphical-lasso":
        precision, found = _graphical_lasso(correlation, moments.count, penalty)
        about |= found
    else:
        share = _shrinkage(moments, correlation, estimator)
        about["shrinkage"] = share
        shrunk = (1 - share) * correlation
        shrunk[np.diag_indices_from(shrunk)] = 1.0
        precision = _inverse(shrunk, moments.count - moments.prepared.removed, estimator)
    weight = partial_correlations(precision)
    tested = weight if estimator == "empirical" else None
    return graph_of_moments(moments, "partial", weight, r=tested, controlled=len(weight) - 2, attributes=about)


def partial_correlations(precision: Matrix) -> Matrix:
    """-P_ij / sqrt(P_ii P_jj), [m, m]; the diagonal is -1."""
    scale = np.sqrt(np.diag(precision))
    weight: Matrix = np.clip(-precision / scale / scale[:, None], -1, 1)
    return weight


def _shrinkage(moments: Moments, correlation: Matrix, estimator: str) -> float:
    """Share of the identity in the estimate."""
    m, n = len(correlation), moments.count
    if estimator == "empirical":
        return 0.0
    squares = float((correlation**2).sum())
    if estimator == "oas":
        mean_square = squares / m**2
        left = (n + 1) * (mean_square - 1 / m)
        return 1.0 if left <= 0 else min((mean_square + 1) / left, 1.0)
    noise = (_norms(moments) / n - squares) / (m * n)
    distance = (squares - m) / m
    return 0.0 if distance <= 0 else min(max(noise / distance, 0.0), 1.0)


def _norms(moments: Moments) -> float:
    """Sum over rows of the squared norm, squared, of the scaled signals: one more pass."""
    deviation = np.sqrt(np.diag(moments.covariance))
    total = 0.0
    for _, block in moments.blocks():
        scaled = (block[:, moments.varies] - moments.mean) / deviation
        total += float((np.einsum("ij,ij->i", scaled, scaled) ** 2).sum())
    return total


def _inverse(matrix: Matrix, n: int, estimator: str) -> Matrix:
    m = len(matrix)
    advice = "use the estimator ledoit-wolf or oas, a coarser partition, fewer sites or more rows"
    if estimator == "empirical" and n <= m:
        raise DataError(f"functional: a precision matrix of {m} nodes cannot be estimated from {n} free rows; {advice}")
    condition = float(np.linalg.cond(matrix))
    if not condition < CONDITION:
        raise DataError(
            f"functional: the precision matrix cannot be estimated: the correlations of {m} nodes have the condition "
            f"number {condition:.1e}, so that some nodes are combinations of others; {advice}"
        )
    return np.linalg.inv(matrix)


def _graphical_lasso(correlation: Matrix, n: int, penalty: float) -> tuple[Matrix, dict[str, Any]]:
    m = len(correlation)
    if m > MAX_LASSO_NODES:
        raise DataError(
            f"functional: the graphical lasso serves up to {MAX_LASSO_NODES} nodes, and there are {m}; use a coarser "
            "partition or the estimator ledoit-wolf"
        )
    largest = float(np.abs(correlation - np.eye(m)).max())
    tried = [penalty] if penalty > 0 else np.geomspace(0.9 * largest, 0.02 * largest, PATH).tolist()
    best, path = None, []
    for alpha in tried:
        precision = _lasso(correlation, alpha)
        if precision is None:
            continue
        edges = int((np.abs(np.triu(precision, 1)) > 0).sum())
        likelihood = n / 2 * (np.linalg.slogdet(precision)[1] - float((correlation * precision).sum()))
        ebic = -2 * likelihood + edges * (np.log(n) + 4 * EBIC_GAMMA * np.log(m))
        path.append({"penalty": alpha, "edges": edges, "ebic": float(ebic)})
        if best is None or ebic < best[0]:
            best = ebic, alpha, precision
    if best is None:
        raise DataError(
            f"functional: the graphical lasso finds no precision matrix at penalty {max(tried):.3g}; take a larger one"
        )
    return best[2], {"penalty": best[1], "path": path}


def _lasso(correlation: Matrix, alpha: float) -> Matrix | None:
    """Precision at one penalty; None where it does not exist or is not found."""
    from sklearn.covariance import graphical_lasso
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            found: Matrix = graphical_lasso(correlation, alpha, tol=1e-4, enet_tol=1e-6, max_iter=200)[1]
        except (FloatingPointError, ConvergenceWarning):
            return None
    return found
