"""What weights hold beyond an effect of either end, and the shape of that noise.

w_uv = a_u b_v e_uv. Which sums of a node's weights say all about its effect depends on the noise e: geometric means if
it is lognormal, sums of w / (a b) if it is exponential, sums of squares if it is normal. A null that keeps the wrong
ones keeps noise as well, and its graphs are too even. So the noise is taken for a generalised gamma variable, whose
power p is read off the residuals of the logarithms: e^p is a gamma variable, and the sums of (w / (a b))^p over each
node's edges say all about its effect (p to 0: lognormal; 1: gamma; 2: normal).
"""

from __future__ import annotations

import math
from typing import Any

import igraph
import numpy as np
from scipy.optimize import brentq
from scipy.special import polygamma

from compgraph.communities.additive import SATURATED, Additive, fit_additive
from compgraph.communities.pairs import Floats, Integers
from compgraph.nulls.effects import additive_part
from compgraph.statistics.view import DENSE_NODES, UNDIRECTED, UndefinedError, View

MATCHED = 1e-11
"""Sums agree to this share of their total."""

ENOUGH = 1e-8
"""The same where weights are so unequal that scaling creeps, and `MAX_STEPS` do not bring it to `MATCHED`."""

MAX_STEPS = 50_000

SYMMETRIC = -0.1
"""From this skewness of the logarithms on, noise counts as lognormal."""

FEWEST = 20
"""Informative weights from which a shape is read; fewer count as lognormal."""

SHAPES = (0.2, 1e4)
"""Range of the shape of the gamma variable."""


def ends(view: View) -> tuple[Integers, Integers]:
    """Numbers of the effects at both ends of each edge: sources first, then targets, unless undirected."""
    return view.source, view.target if view.kind == UNDIRECTED else view.target + view.n_nodes


def fitted(view: View) -> Additive:
    """Least-squares effects of both ends on log |w|.

    With more than 2,000 nodes leverages are those of a graph without structure, 1 - (1 - 1 / d_u) (1 - 1 / d_v), and 1
    where an edge alone connects two parts.
    """
    logs = np.log(view.magnitude)
    if view.n_nodes <= DENSE_NODES:
        return fit_additive(*ends(view), logs)
    first, second = ends(view)
    explained = additive_part(first, second, logs)
    degree = np.bincount(np.concatenate([first, second]))  # an effect has one kind of end, unless undirected
    room: Floats = (1 - 1 / degree[first]) * (1 - 1 / degree[second])
    joined = igraph.Graph(n=len(degree), edges=np.stack([first, second], axis=1))
    room[joined.bridges()] = 0
    return Additive(explained, logs - explained, 1 - room, room > SATURATED)


def skewness(fit: Additive) -> float:
    """Skewness of the noise, from residuals that the fit has mixed; NaN where too few are informative."""
    own = fit.informative
    if own.sum() < FEWEST:
        return math.nan
    # A residual is mostly (1 - leverage) of its own noise: third moments shrink by the third power of that.
    left, residual = 1 - fit.leverage[own], fit.residual[own]
    variance = float((residual**2).sum() / left.sum())
    if variance <= 1e-20:
        return math.nan
    return float((residual**3).sum() / (left**3).sum()) / variance**1.5


def power(fit: Additive) -> float:
    """Power p of the generalised gamma variable with the skewness and the variance of the noise; 0: lognormal."""
    skew = skewness(fit)
    if math.isnan(skew) or skew > SYMMETRIC:
        return 0.0
    own = fit.informative
    variance = float((fit.residual[own] ** 2).sum() / (1 - fit.leverage[own]).sum())

    def beyond(log_shape: float) -> float:
        shape = math.exp(log_shape)
        return float(polygamma(2, shape) / polygamma(1, shape) ** 1.5) - skew

    least, most = (math.log(shape) for shape in SHAPES)
    shape = math.exp(brentq(beyond, least, most)) if beyond(least) < 0 else SHAPES[0]
    return float(math.sqrt(polygamma(1, shape) / variance))


def scaled(view: View, values: Floats, rows: Floats, columns: Floats) -> Floats:
    """Values on the edges, > 0, scaled by factors of their ends to given sums over the edges of each node.

    Parameters
    ----------
    view
        Says where the edges are.
    values
        float64 [P].
    rows, columns
        Sums over outgoing and incoming edges, float64 [n]; undirected: both the sums over all edges.

    Raises
    ------
    UndefinedError
        If the sums are not reached in float64.
    """
    matrix: Any = view.dense(values) if view.n_nodes <= DENSE_NODES else view.sparse(values)
    back: Any = matrix.T if view.n_nodes <= DENSE_NODES else matrix.T.tocsr()
    total, gap = float(rows.sum()), math.inf
    x, y = np.ones(len(rows)), np.ones(len(columns))
    with np.errstate(over="ignore", invalid="ignore"):  # factors run away where the sums cannot be reached
        for _ in range(MAX_STEPS):
            if view.kind == UNDIRECTED:
                found = x * (matrix @ x)
                gap = float(np.abs(found - rows).max())
                y = x
            else:
                x = _ratio(rows, matrix @ y)
                sums = back @ x
                gap = float(np.abs(y * sums - columns).max())
            if gap <= MATCHED * total or not np.isfinite(gap):
                break
            if view.kind == UNDIRECTED:
                x = x * np.sqrt(np.divide(rows, found, out=np.ones_like(rows), where=found > 0))
            else:
                y = _ratio(columns, sums)
    if not gap <= ENOUGH * total:
        raise UndefinedError(f"strengths were matched to {gap / total:.1e} of the total only: weights are too unequal")
    result: Floats = x[view.source] * values * y[view.target]
    return result


def _ratio(wanted: Floats, found: Floats) -> Floats:
    return np.divide(wanted, found, out=np.zeros_like(wanted), where=wanted > 0)
