"""Which nodes are tied to which: assortativity and the direction of flow."""

from __future__ import annotations

import numpy as np

from compgraph.communities.pairs import Floats
from compgraph.statistics.measures.kinds import NO_ARROWS, NO_LEVELS, TWO_STRENGTHS, measure
from compgraph.statistics.measures.laplacian import solve
from compgraph.statistics.view import UndefinedError, View


@measure()
def assortativity(view: View, seed: int) -> float:
    """Correlation over edges, weighted by |w|, of the strengths at both ends.

    Directed: out-strength of the source with in-strength of the target. Its raw value depends on which pairs
    are allowed, as do those of its three relatives: read the z.
    """
    return _edge_correlation(view, view.out_strength, view.in_strength)


@measure(undirected=TWO_STRENGTHS)
def assortativity_out_out(view: View, seed: int) -> float:
    """Correlation over edges, weighted by |w|, of the out-strengths of source and target: read its z."""
    return _edge_correlation(view, view.out_strength, view.out_strength)


@measure(undirected=TWO_STRENGTHS)
def assortativity_in_in(view: View, seed: int) -> float:
    """Correlation over edges, weighted by |w|, of the in-strengths of source and target: read its z."""
    return _edge_correlation(view, view.in_strength, view.in_strength)


@measure(undirected=TWO_STRENGTHS)
def assortativity_in_out(view: View, seed: int) -> float:
    """Correlation over edges, weighted by |w|, of the source's in-strength and the target's out-strength."""
    return _edge_correlation(view, view.in_strength, view.out_strength)


@measure(directed=NO_LEVELS, undirected=NO_LEVELS)
def level_assortativity(view: View, seed: int) -> float:
    """Correlation over edges, weighted by |w|, of the levels of source and target: read its z."""
    level = view.level.astype(np.float64)
    return _edge_correlation(view, level, level)


@measure(directed=NO_LEVELS, undirected=NO_LEVELS)
def span(view: View, seed: int) -> float:
    """Mean number of levels that an edge spans, weighted by |w|.

    Strengths fix it (and degrees, for equal weights), as each level's flow in and out does.
    """
    steps = view.level[view.target] - view.level[view.source]
    return float((view.magnitude * steps).sum() / view.total)


@measure(directed=NO_LEVELS, undirected=NO_LEVELS)
def span_spread(view: View, seed: int) -> float:
    """Standard deviation of the number of levels that an edge spans, weighted by |w|; strengths leave it free."""
    steps = (view.level[view.target] - view.level[view.source]).astype(np.float64)
    weight = view.magnitude / view.total
    return float(np.sqrt((weight * (steps - (weight * steps).sum()) ** 2).sum()))


@measure(undirected=NO_ARROWS)
def trophic_incoherence(view: View, seed: int) -> float:
    """Share of the flow that does not go up exactly one trophic level (MacKay, Johnson & Sansom 2020).

    Trophic levels h solve (D - W - W^T) h = s_in - s_out with D the total strengths;
    F = sum of w_uv (h_v - h_u - 1)^2 / sum of w_uv. 0: a perfect cascade; 1: no direction at all.
    """
    height = solve(view, view.in_strength - view.out_strength)
    gaps = height[view.target] - height[view.source] - 1
    return float((view.magnitude * gaps**2).sum() / view.total)


def _edge_correlation(view: View, at_source: Floats, at_target: Floats) -> float:
    """Weighted Pearson correlation over edges; an undirected edge counts in both directions."""
    source, target, weight = view.ordered
    weight = weight / view.total
    x, y = at_source[source], at_target[target]
    x, y = x - (weight * x).sum(), y - (weight * y).sum()
    spread = np.sqrt((weight * x**2).sum() * (weight * y**2).sum())
    if spread <= 1e-12 * np.abs(at_source).max() * np.abs(at_target).max():
        raise UndefinedError("the ends of all edges are alike")
    return float((weight * x * y).sum() / spread)
