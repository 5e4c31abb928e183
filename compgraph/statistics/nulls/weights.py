"""Nulls that keep which pairs have an edge and move the weights."""

from __future__ import annotations

import numpy as np

from compgraph.communities.additive import Additive, fit_additive
from compgraph.communities.modularity import sinkhorn
from compgraph.communities.pairs import Floats, Integers
from compgraph.errors import GraphError
from compgraph.statistics.nulls.sampling import Sampler, edge_weights
from compgraph.statistics.view import DENSE_NODES, UNDIRECTED, UndefinedError, View

MATCHED = 1e-11
"""Strengths of undirected samples agree to this share of the total strength."""

MAX_STEPS = 50_000


def weights(view: View, seed: int = 0) -> Sampler:
    """Permute the weights over the edges, each with its sign.

    Keeps which pairs have an edge and the set of weights; not the strengths.
    """
    signed = edge_weights(view)

    def sample(rng: np.random.Generator) -> View:
        return view.with_weights(rng.permutation(signed))

    return sample


def effects(view: View, seed: int = 0) -> Sampler:
    """Permute what the logarithms of the weights hold beyond an effect of either end.

    log |w_uv| = effect of u + effect of v + residual (least squares). Residuals, brought to one variance, are permuted
    over the edges with as many channels, signs with them, and what they hold of effects by chance is taken off
    again (as Freedman & Lane 1983), so that every node keeps the effects that it has. Keeps which pairs have an
    edge and each node's geometric mean weight, and strengths on average. Edges that effects determine stay.

    It is exact for lognormal noise of any width, where `strength` is not: a weight that is large by chance has raised
    the strengths of its ends, and graphs with those strengths but without that weight are too even.

    Raises
    ------
    UndefinedError
        For more than 2,000 nodes.
    """
    fit, free = _fitted(view, "effects")
    spread = np.sqrt(np.where(fit.informative, 1 - fit.leverage, 1.0))
    residual = np.where(fit.informative, fit.residual / spread, 0.0)
    ends = view.source, view.target if view.kind == UNDIRECTED else view.target + view.n_nodes
    inverse = _normal_inverse(view)

    def sample(rng: np.random.Generator) -> View:
        order = _permuted(free, view, rng)
        drawn = residual[order]
        sums = sum(np.bincount(end, drawn, minlength=len(inverse)) for end in ends)
        by_chance = inverse @ sums
        drawn = np.where(fit.informative, drawn - by_chance[ends[0]] - by_chance[ends[1]], 0.0)
        return view.with_weights(view.signs[order] * np.exp(fit.fitted + drawn))

    return sample


def strength(view: View, seed: int = 0) -> Sampler:
    """Permute what the weights hold beyond strengths, then scale back to the strengths.

    Residuals as in `effects` are permuted over the edges with as many channels, signs with them, and rows and columns
    are scaled (Sinkhorn) until every node has its strengths of |w| again. Keeps which pairs have an edge and all
    strengths, and nearly the distribution of weights. Pairs that strengths determine keep their weight.

    Raises
    ------
    UndefinedError
        For more than 2,000 nodes, or if strengths cannot be matched in float64.
    """
    fit, free = _fitted(view, "strength")
    source, target = view.source, view.target
    undirected = view.kind == UNDIRECTED
    scale = float(view.magnitude.max())
    sums = view.out_strength / scale, view.in_strength / scale
    if not undirected:
        _ = view.expected  # made once, and shared by all samples, whose strengths are the same

    def sample(rng: np.random.Generator) -> View:
        order = _permuted(free, view, rng)
        drawn = view.dense(np.exp(fit.fitted + fit.residual[order]) / scale)
        try:
            scaled = _scale_symmetric(drawn, sums[0]) if undirected else sinkhorn(drawn, *sums)
        except GraphError as failed:
            raise UndefinedError(f"the strength null: {failed}") from failed
        sizes = scale * scaled[source, target]
        if not (sizes > 0).all():
            raise UndefinedError("the strength null: some weights are too small to scale in float64")
        return view.with_weights(view.signs[order] * sizes, same_strengths=True)

    return sample


def _fitted(view: View, null: str) -> tuple[Additive, list[Integers]]:
    """Effects of the ends on log |w|, and the edges whose residuals change places, by number of channels.

    The sum of three channels is less noisy than one weight, so their residuals stay apart.
    """
    if view.n_nodes > DENSE_NODES:
        raise UndefinedError(f"the {null} null serves up to {DENSE_NODES:,} nodes; use weights or swap")
    ends = view.source, view.target if view.kind == UNDIRECTED else view.target + view.n_nodes
    fit = fit_additive(*ends, np.log(view.magnitude))
    counts = np.unique(view.channels)
    return fit, [np.flatnonzero(fit.informative & (view.channels == count)) for count in counts]


def _permuted(free: list[Integers], view: View, rng: np.random.Generator) -> Integers:
    order = np.arange(view.n_edges)
    for edges in free:
        order[edges] = rng.permutation(edges)
    return order


def _normal_inverse(view: View) -> Floats:
    """Pseudo-inverse of the normal equations of the effects; sources, then targets, unless undirected."""
    edges = view.dense(np.ones(view.n_edges))
    if view.kind == UNDIRECTED:
        normal = edges + np.diag(edges.sum(axis=1))
    else:
        normal = np.block([[np.diag(edges.sum(axis=1)), edges], [edges.T, np.diag(edges.sum(axis=0))]])
    inverse: Floats = np.linalg.pinv(normal, rcond=1e-10, hermitian=True)
    return inverse


def _scale_symmetric(start: Floats, sums: Floats) -> Floats:
    """Scale a symmetric matrix by x_i x_j until its rows have the given sums."""
    x = np.ones(len(sums))
    total = sums.sum()
    for _ in range(MAX_STEPS):
        found = x * (start @ x)
        if np.abs(found - sums).max() <= MATCHED * total:
            return x[:, None] * start * x
        x *= np.sqrt(np.divide(sums, found, out=np.ones_like(sums), where=found > 0))
    raise GraphError("the strengths of an undirected sample were not matched")
