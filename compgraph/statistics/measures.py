"""Measures of weighted graphs. Adding one: a function here and an entry in `catalogue.STATISTICS`.

A measure is a function (view, seed) -> float, marked with the kinds of graph on which it means something and
with the reason why not on the others. It works on |w| unless it says otherwise, and raises `UndefinedError` with
the reason where a graph gives it nothing to measure.

Measures of directed graphs count only what the architecture allows: on a layered graph most pairs can
have no edge, and reciprocity, directed clustering or eigenvector centrality would measure that alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, cast

import numpy as np

from compgraph.communities.louvain import search
from compgraph.communities.modularity import excess_matrix, modularity_matrix, quality, signed_matrix
from compgraph.communities.optimise import leiden, run_seeds
from compgraph.communities.pairs import Floats
from compgraph.statistics.view import UNDIRECTED, UndefinedError, View

SEARCHES = 3
"""Community searches from different seeds, of which the best modularity counts; the same for nulls."""


class Measure(Protocol):
    """A function that measures, and the kinds of graph on which it does not, with the reason."""

    refused: Mapping[str, str]

    def __call__(self, view: View, seed: int) -> float:
        """Value of the measure."""
        ...


def measure(**refused: str) -> Callable[[Callable[[View, int], float]], Measure]:
    """Mark a function as a measure; `kind="reason"` refuses graphs of that kind."""

    def mark(function: Callable[[View, int], float]) -> Measure:
        function.refused = refused  # type: ignore[attr-defined]
        return cast(Measure, function)

    return mark


_LEVELS = "needs the levels of an architecture"
_ARROWS = "needs directed edges"


@measure()
def density(view: View, seed: int) -> float:
    """Pairs of nodes with weight, as a share of the pairs that could have some."""
    return float((view.magnitude > 0).sum() / view.allowed.sum())


@measure()
def gini(view: View, seed: int) -> float:
    """Gini coefficient of |w| over all pairs that could have an edge, zeros included: how sparse the graph is.

    0: all equal; towards 1: all weight on one pair.
    """
    mask = view.allowed if view.kind != UNDIRECTED else np.triu(view.allowed)
    return _gini(view.magnitude[mask])


@measure()
def strength_gini(view: View, seed: int) -> float:
    """Gini coefficient of the nodes' strengths (in plus out): how much a few nodes carry."""
    return _gini(view.magnitude.sum(axis=0) + view.magnitude.sum(axis=1))


@measure()
def modularity(view: View, seed: int) -> float:
    """Largest modularity found: allowed-pairs (directed), signed or ordinary (undirected).

    It is far from zero for structureless graphs too, the more so the sparser they are: read its z and p.
    """
    if view.kind == UNDIRECTED:
        negative = bool((view.signed < 0).any())
        matrix = (signed_matrix if negative else modularity_matrix)(view.signed, 1.0)
        return max(quality(matrix, search(view.signed, matrix, 1.0, s)) for s in run_seeds(seed, SEARCHES))
    matrix = excess_matrix(view.magnitude, view.expected)
    return max(quality(matrix, leiden(matrix, s)) for s in run_seeds(seed, SEARCHES))


@measure()
def assortativity(view: View, seed: int) -> float:
    """Correlation over edges, weighted by |w|, of the strengths at both ends.

    Directed: out-strength of the source with in-strength of the target. Its raw value depends on which pairs
    are allowed: read its z.
    """
    out, into = view.magnitude.sum(axis=1), view.magnitude.sum(axis=0)
    return _edge_correlation(view, out, into)


@measure(directed=_LEVELS, undirected=_LEVELS)
def level_assortativity(view: View, seed: int) -> float:
    """Correlation over edges, weighted by |w|, of the levels of source and target: read its z."""
    level = view.level.astype(np.float64)
    return _edge_correlation(view, level, level)


@measure(directed=_LEVELS, undirected=_LEVELS)
def span(view: View, seed: int) -> float:
    """Mean number of levels that an edge spans, weighted by |w|."""
    steps = view.level[None, :] - view.level[:, None]
    return float((view.magnitude * steps).sum() / view.total)


@measure(undirected=_ARROWS)
def trophic_incoherence(view: View, seed: int) -> float:
    """Share of the flow that does not go up exactly one trophic level (MacKay, Johnson & Sansom 2020).

    Trophic levels h solve (D - W - W^T) h = s_in - s_out with D the total strengths;
    F = sum of w_uv (h_v - h_u - 1)^2 / sum of w_uv. 0: a perfect cascade; 1: no direction at all.
    """
    weights = view.magnitude
    out, into = weights.sum(axis=1), weights.sum(axis=0)
    laplacian = np.diag(out + into) - weights - weights.T
    height = np.linalg.pinv(laplacian, hermitian=True) @ (into - out)
    source, target = view.ends
    gaps = height[target] - height[source] - 1
    return float((weights[source, target] * gaps**2).sum() / view.total)


@measure(directed=_LEVELS, undirected=_LEVELS)
def effective_paths(view: View, seed: int) -> float:
    """Effective number of paths from input to output: exp of the entropy of a walk along |w|.

    The walk starts at an output, in proportion to in-strength, and steps back to source u of node v with
    probability |w_uv| / sum over sources that the input reaches. Its entropy is that of the start plus, for
    each node, expected visits times entropy of the step.
    """
    order = np.argsort(view.level, kind="stable")
    present = view.magnitude > 0
    reached = np.zeros(view.n_nodes, dtype=bool)
    reached[view.inputs] = True
    for node in order:
        reached[node] |= bool((present[:, node] & reached).any())
    weights = view.magnitude * reached[:, None]
    into = weights.sum(axis=0)
    visits = np.zeros(view.n_nodes)
    visits[view.outputs] = into[view.outputs]
    if not visits.any():
        raise UndefinedError("no path leads from the input to the output")
    visits /= visits.sum()
    total = entropy(visits)
    for node in order[::-1]:
        if visits[node] > 0 and into[node] > 0:
            step = weights[:, node] / into[node]
            total += visits[node] * entropy(step)
            visits += visits[node] * step
    return float(np.exp(total))


_CLUSTERING = "directed triangles on a layered graph count what the architecture allows"


@measure(layered=_CLUSTERING, directed="is defined here for undirected edges")
def clustering(view: View, seed: int) -> float:
    """Mean weighted clustering of the nodes (Onnela et al. 2005): geometric mean of |w| over triangles.

    Weights are relative to the largest; a node with fewer than two neighbours counts as 0.
    """
    weights = view.magnitude / view.magnitude.max()
    degree = (weights > 0).sum(axis=0)
    roots = np.cbrt(weights)
    triangles = np.einsum("ij,ji->i", roots @ roots, roots)
    possible = degree * (degree - 1)
    return float(np.mean(np.divide(triangles, possible, out=np.zeros_like(triangles), where=possible > 0)))


def _gini(values: Floats) -> float:
    """Half the mean absolute difference over the mean."""
    ordered = np.sort(values)
    n = len(ordered)
    ranks = 2 * np.arange(1, n + 1) - n - 1
    return float((ranks * ordered).sum() / (n * ordered.sum()))


def _edge_correlation(view: View, at_source: Floats, at_target: Floats) -> float:
    """Weighted Pearson correlation over edges; an undirected edge counts in both directions."""
    source, target = np.nonzero(view.magnitude)
    weight = view.magnitude[source, target] / view.total
    x, y = at_source[source], at_target[target]
    x, y = x - (weight * x).sum(), y - (weight * y).sum()
    spread = np.sqrt((weight * x**2).sum() * (weight * y**2).sum())
    if spread <= 1e-12 * np.abs(at_source).max() * np.abs(at_target).max():
        raise UndefinedError("the ends of all edges are alike")
    return float((weight * x * y).sum() / spread)


def entropy(share: Floats) -> float:
    """Of shares that sum to 1, in nats."""
    positive = share[share > 0]
    return float(-(positive * np.log(positive)).sum())
