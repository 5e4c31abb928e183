"""Null models: graphs on the same pairs of nodes, arranged by chance.

A null is a function view -> sampler; the sampler makes one graph from a random generator. Each says what it
keeps; a measure that this determines has no spread under the null, and the table says so.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compgraph.communities.additive import fit_additive
from compgraph.communities.modularity import sinkhorn
from compgraph.communities.pairs import Floats
from compgraph.statistics.view import UNDIRECTED, View

Sampler = Callable[[np.random.Generator], View]

MATCHED = 1e-11
"""Strengths of undirected samples agree to this share of the total strength."""

MAX_STEPS = 50_000


def weights(view: View) -> Sampler:
    """Permute the weights over the edges, each with its sign.

    Keeps which pairs have an edge and the set of weights; not the strengths.
    """
    signed = _edge_weights(view)

    def sample(rng: np.random.Generator) -> View:
        return view.with_weights(rng.permutation(signed))

    return sample


def strength(view: View) -> Sampler:
    """Permute what the weights hold beyond strengths, then scale back to the strengths.

    log |w_uv| = effect of u + effect of v + residual (least squares); residuals are permuted over the edges,
    signs with them, and rows and columns are scaled (Sinkhorn) until every node has its strengths of
    |w| again. Keeps which pairs have an edge and all strengths, and nearly the distribution of weights. Pairs
    that strengths determine keep their weight.
    """
    source, target = view.ends
    signed = _edge_weights(view)
    undirected = view.kind == UNDIRECTED
    effects = fit_additive(source, target if undirected else target + view.n_nodes, np.log(np.abs(signed)))
    free = np.flatnonzero(effects.informative)
    sums = view.magnitude.sum(axis=1), view.magnitude.sum(axis=0)
    scale = float(view.magnitude.max())
    if not undirected:
        _ = view.expected  # made once, and shared by all samples, whose strengths are the same

    def sample(rng: np.random.Generator) -> View:
        order = np.arange(len(signed))
        order[free] = rng.permutation(free)
        drawn = np.zeros_like(view.magnitude)
        drawn[source, target] = np.exp(effects.fitted + effects.residual[order]) / scale
        if undirected:
            scaled = _scale_symmetric(drawn + drawn.T, sums[0] / scale)
        else:
            scaled = sinkhorn(drawn, sums[0] / scale, sums[1] / scale)
        sizes = scale * scaled[source, target]
        return view.with_weights(np.sign(signed[order]) * sizes, same_strengths=True)

    return sample


NULLS: dict[str, Callable[[View], Sampler]] = {"weights": weights, "strength": strength}
"""Null models by name."""


def _edge_weights(view: View) -> Floats:
    """Signed magnitudes in the order of `ends`; a pair whose channels cancel counts as positive."""
    source, target = view.ends
    sign = np.where(view.signed[source, target] < 0, -1.0, 1.0)
    edges: Floats = sign * view.magnitude[source, target]
    return edges


def _scale_symmetric(start: Floats, sums: Floats) -> Floats:
    """Scale a symmetric matrix by x_i x_j until its rows have the given sums."""
    x = np.ones(len(sums))
    total = sums.sum()
    for _ in range(MAX_STEPS):
        found = x * (start @ x)
        if np.abs(found - sums).max() <= MATCHED * total:
            break
        x *= np.sqrt(np.divide(sums, found, out=np.ones_like(sums), where=found > 0))
    return x[:, None] * start * x
