"""The random graph of largest entropy with given mean degrees, on the pairs that could have an edge."""

from __future__ import annotations

import numpy as np
from scipy.linalg import LinAlgError, solve
from scipy.special import expit

from compgraph.communities.pairs import Floats
from compgraph.statistics.nulls.sampling import Sampler, edge_weights
from compgraph.statistics.view import DENSE_NODES, UNDIRECTED, UndefinedError, View

TOLERANCE = 1e-8
"""Mean degrees agree with the degrees to this."""

MAX_STEPS = 200
LONGEST_STEP = 3.0


def maxent(view: View, seed: int = 0) -> Sampler:
    """Draw every allowed pair independently with p = x_u y_v / (1 + x_u y_v) (undirected: x_u x_v).

    Keeps the degrees of every node on average; weights are drawn from the graph's own, with replacement.

    Raises
    ------
    UndefinedError
        For more than 2,000 nodes, or if no such probabilities are found.
    """
    if view.n_nodes > DENSE_NODES:
        raise UndefinedError(f"the maxent null serves up to {DENSE_NODES:,} nodes; use swap")
    chance = probabilities(view)
    if view.kind == UNDIRECTED:
        chance = np.triu(chance)
    signed = edge_weights(view)

    def sample(rng: np.random.Generator) -> View:
        source, target = np.nonzero(rng.random(chance.shape) < chance)
        return view.with_edges(source.astype(np.int64), target.astype(np.int64), rng.choice(signed, len(source)))

    return sample


def probabilities(view: View) -> Floats:
    """Probability of each ordered pair, float [n, n], by Newton's method on the concave likelihood.

    Nodes with no edge, or with all that they could have, have no finite factor; theirs grow until the degrees agree
    to `TOLERANCE`.
    """
    n = view.n_nodes
    source, target, _ = view.ordered
    out = np.bincount(source, minlength=n).astype(np.float64)
    into = np.bincount(target, minlength=n).astype(np.float64)
    allowed = view.allowed.matrix & (out > 0)[:, None] & (into > 0)
    symmetric = view.kind == UNDIRECTED
    degrees = out if symmetric else np.concatenate([out, into])
    factor = np.zeros(len(degrees))
    for _ in range(MAX_STEPS):
        rows, columns = (factor, factor) if symmetric else (factor[:n], factor[n:])
        chance: Floats = np.where(allowed, expit(rows[:, None] + columns), 0.0)
        found = chance.sum(axis=1) if symmetric else np.concatenate([chance.sum(axis=1), chance.sum(axis=0)])
        if np.abs(degrees - found).max() <= TOLERANCE:
            return chance
        step = _newton_step(chance * (1 - chance), degrees - found, symmetric)
        factor += step * min(1.0, LONGEST_STEP / max(float(np.abs(step).max()), 1e-300))
    raise UndefinedError("the maxent null: no probabilities were found that give these degrees")


def _newton_step(spread: Floats, missing: Floats, symmetric: bool) -> Floats:
    """Solution of the Newton equations; a small ridge removes the factor that x and y share."""
    n = len(spread)
    if symmetric:
        hessian = np.diag(spread.sum(axis=1)) + spread
    else:
        hessian = np.zeros((2 * n, 2 * n))
        hessian[:n, n:], hessian[n:, :n] = spread, spread.T
        hessian[np.diag_indices(2 * n)] = np.concatenate([spread.sum(axis=1), spread.sum(axis=0)])
    diagonal = np.diag_indices(len(hessian))
    hessian[diagonal] += 1e-9 * hessian[diagonal].max() + 1e-12
    try:
        step: Floats = solve(hessian, missing, assume_a="pos")
    except LinAlgError as failed:
        raise UndefinedError("the maxent null: the degrees leave no room for chance") from failed
    return step
