"""How unequally weight is spread over pairs and over nodes."""

from __future__ import annotations

import numpy as np

from compgraph.communities.pairs import Floats
from compgraph.statistics.measures.kinds import measure
from compgraph.statistics.view import UndefinedError, View

TAIL_NODES = 10
"""Fewest strengths above the median from which the shape of a tail is read."""


@measure()
def density(view: View, seed: int) -> float:
    """Pairs of nodes with weight, as a share of the pairs that could have some."""
    return view.n_edges / view.n_allowed


@measure()
def gini(view: View, seed: int) -> float:
    """Gini coefficient of |w| over all pairs that could have an edge, zeros included: how sparse the graph is.

    0: all equal; towards 1: all weight on one pair.
    """
    return gini_of(view.magnitude, view.n_allowed - view.n_edges)


@measure()
def strength_gini(view: View, seed: int) -> float:
    """Gini coefficient of the nodes' strengths (in plus out): how much a few nodes carry."""
    return gini_of(view.strength, 0)


@measure()
def strength_tail(view: View, seed: int) -> float:
    """Whether the larger half of the strengths has a tail heavier than exponential (Vuong's statistic).

    Log-likelihood ratio of a Pareto over a shifted exponential above the median, each at its best fit, over
    its standard deviation (Clauset, Shalizi & Newman 2009, appendix C). Above 1.96: heavier than exponential;
    below -1.96: not heavier. It never says "power law": at these sizes that and a lognormal look alike.
    """
    strength = view.strength
    least = float(np.median(strength[strength > 0]))
    upper = strength[strength > least]
    if len(upper) < TAIL_NODES:
        raise UndefinedError(f"fewer than {TAIL_NODES} strengths lie above the median")
    logs, rate = np.log(upper / least), 1 / (upper - least).mean()
    alpha = 1 + len(upper) / logs.sum()
    ratio = np.log((alpha - 1) / least) - alpha * logs - np.log(rate) + rate * (upper - least)
    spread = ratio.std() * np.sqrt(len(upper))
    if spread <= 1e-12 * np.abs(ratio).sum():
        raise UndefinedError("the larger strengths are all alike")
    return float(ratio.sum() / spread)


def gini_of(values: Floats, zeros: int) -> float:
    """Gini coefficient of some numbers >= 0 and so many zeros: half the mean absolute difference over the mean."""
    ordered = np.sort(values)
    n = len(ordered) + zeros
    ranks = 2 * np.arange(zeros + 1, n + 1) - n - 1
    return float((ranks * ordered).sum() / (n * ordered.sum()))
