"""Graphs that only chance has arranged, for the question whether communities are more than that.

A sampler makes one null graph from a random generator; it has the nodes, direction and architecture of the
given graph, and one edge a pair of nodes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compgraph.communities.additive import fit_additive
from compgraph.communities.pairs import Floats, Integers, Mask, allowed_pairs, node_pairs
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph

Sampler = Callable[[np.random.Generator], ComputationalGraph]

MOST_NODES = 3000
"""The nulls hold matrices of nodes by nodes."""

TRIES = 20
"""Swaps tried for each edge: at densities up to a half the overlap with the start has settled by then."""


def sampler(graph: ComputationalGraph, null: str) -> Sampler:
    """Sampler of a null model by name: `strength` or `pairs`."""
    if null not in NULLS:
        raise GraphError(f"communities: null {null!r} is not known; valid are {', '.join(NULLS)}")
    return NULLS[null](graph)


def strength(graph: ComputationalGraph) -> Sampler:
    """Keep degrees exactly, strengths as far as they are more than chance, and which pairs could have an edge.

    Edges are rewired (`rewire`). On the new ones log |w| = mean + effect of u + effect of v + residual, with the
    effects of the given graph and its residuals permuted, signs with them. Effects are shrunk by what residuals
    alone would make of them (random effects): least squares on a sparse graph takes noise for strength, and
    scaling to the strengths found, noise included, makes null graphs that are more even than chance.
    """
    pairs = node_pairs(graph)
    keep = pairs.magnitude > 0
    source, target, size = pairs.source[keep], pairs.target[keep], pairs.magnitude[keep]
    sign = np.where(pairs.weight[keep] < 0, -1.0, 1.0)
    offset = graph.n_nodes if graph.directed else 0
    log = np.log(size)
    effects = _effects(source, target + offset, log, 2 * graph.n_nodes)
    residual = log - effects[source] - effects[target + offset]
    allowed = _allowed(graph)
    count = int(allowed.sum())

    def sample(rng: np.random.Generator) -> ComputationalGraph:
        u, v = rewire(source, target, allowed, count, graph.directed, rng)
        order = rng.permutation(len(u))
        drawn = np.exp(effects[u] + effects[v + offset] + residual[order])
        return _graph(graph, u, v, sign[order] * drawn)

    return sample


def pairs(graph: ComputationalGraph) -> Sampler:
    """Keep the weights and how many edges there are, and put them on allowed pairs at random.

    Strengths are not kept: for core and periphery, which are differences in strength first of all.
    """
    found = node_pairs(graph)
    keep = found.magnitude > 0
    value = np.where(found.weight[keep] < 0, -1.0, 1.0) * found.magnitude[keep]
    u, v = np.nonzero(_allowed(graph))

    def sample(rng: np.random.Generator) -> ComputationalGraph:
        chosen = rng.choice(len(u), len(value), replace=False)
        return _graph(graph, u[chosen], v[chosen], value)

    return sample


NULLS: dict[str, Callable[[ComputationalGraph], Sampler]] = {"strength": strength, "pairs": pairs}
"""Null models by name."""


def rewire(
    source: Integers, target: Integers, allowed: Mask, count: int, directed: bool, rng: np.random.Generator
) -> tuple[Integers, Integers]:
    """Edges with the same degrees on the allowed pairs, by swaps a -> b, c -> d to a -> d, c -> b.

    Where more than half of the allowed pairs have an edge, the pairs without one are rewired instead: their
    degrees fix those of the edges, and few of their swaps fail.

    Parameters
    ----------
    source, target
        Edges, int64 [E]; source < target if undirected.
    allowed
        Pairs that could have an edge, bool [n, n]; the upper triangle alone if undirected.
    count
        Number of allowed pairs.
    directed
        Whether ends can be told apart.
    rng
        Of the swaps.
    """
    absent = allowed.copy()
    absent[source, target] = False
    if count > len(source) and 2 * len(source) > count:
        u, v = np.nonzero(absent)
        u, v = _swapped(u, v, allowed, directed, rng)
        present = allowed.copy()
        present[u, v] = False
        u, v = np.nonzero(present)
        return u, v
    if count == len(source):
        return source, target
    return _swapped(source, target, allowed, directed, rng)


def _swapped(
    source: Integers, target: Integers, allowed: Mask, directed: bool, rng: np.random.Generator
) -> tuple[Integers, Integers]:
    """Many swaps at once, each round over a random pairing of all edges.

    A swap happens if its new edges are allowed and absent, no other swap of the round wants one of them, and
    no other wants one of the edges that it takes away. These conditions are the same seen from the graph after
    the round, so the chain is symmetric and its stationary distribution uniform.
    """
    n, half = len(allowed), len(source) // 2
    source, target = source.copy(), target.copy()
    present = np.zeros((n, n), dtype=bool)
    present[source, target] = True
    for _ in range(2 * TRIES if half else 0):
        order = rng.permutation(len(source))
        first, second = order[:half], order[half : 2 * half]
        a, b, c, d = source[first], target[first], source[second], target[second]
        if not directed:
            turn = rng.random(half) < 0.5
            c, d = np.where(turn, d, c), np.where(turn, c, d)
        new = [_ordered(a, d, directed), _ordered(c, b, directed)]
        free = np.ones(half, dtype=bool)
        for u, v in new:
            free &= allowed[u, v] & ~present[u, v]
        wanted = np.concatenate([u * n + v for u, v in new])
        _, inverse, times = np.unique(wanted, return_inverse=True, return_counts=True)
        alone = (times[inverse] == 1).reshape(2, half).all(axis=0)
        old = np.stack([source[first] * n + target[first], source[second] * n + target[second]])
        free &= alone & ~np.isin(old, wanted).any(axis=0)
        for at, (u, v) in zip((first[free], second[free]), new, strict=True):
            present[source[at], target[at]] = False
            source[at], target[at] = u[free], v[free]
        for at in (first[free], second[free]):
            present[source[at], target[at]] = True
    return source, target


def _ordered(u: Integers, v: Integers, directed: bool) -> tuple[Integers, Integers]:
    return (u, v) if directed else (np.minimum(u, v), np.maximum(u, v))


def _allowed(graph: ComputationalGraph) -> Mask:
    if graph.n_nodes > MOST_NODES:
        raise GraphError(f"communities: null graphs are made of at most {MOST_NODES} nodes, not {graph.n_nodes}")
    allowed = allowed_pairs(graph)
    return allowed if graph.directed else np.triu(allowed, 1)


def _effects(first: Integers, second: Integers, y: Floats, n: int) -> Floats:
    """Effects of the ends of observations, shrunk, float64 [n]; zero where they are no more than noise.

    y = mean + effect of one end + effect of the other + residual with effects of variance tau^2 and residuals of
    variance sigma^2, both by moments: residuals of least squares have sigma^2 (E - rank), and what it explains
    beyond the mean sigma^2 (rank - 1) + tau^2 (2 E - sum of squared degrees / E).
    """
    from scipy.sparse import csr_array
    from scipy.sparse.linalg import lsqr

    free = len(y)
    if free < 3 or np.ptp(y) <= 1e-12 * max(1.0, float(np.abs(y).max())):
        return np.zeros(n)
    least_squares = fit_additive(first, second, y)
    rank = float(least_squares.leverage.sum())
    if free - rank < 1:
        return np.zeros(n)
    noise = float((least_squares.residual**2).sum()) / (free - rank)
    explained = float(((least_squares.fitted - y.mean()) ** 2).sum())
    degree = np.bincount(np.concatenate([first, second]), minlength=n)
    tau = (explained - noise * (rank - 1)) / (2 * free - float((degree**2).sum()) / free)
    if tau <= 0:
        return np.zeros(n)
    rows = np.arange(free)
    design = csr_array(
        (np.ones(2 * free), (np.concatenate([rows, rows]), np.concatenate([first, second]))), shape=(free, n)
    )
    shrunk: Floats = lsqr(design, y - y.mean(), damp=np.sqrt(noise / tau), atol=1e-12, btol=1e-12, iter_lim=10_000)[0]
    return shrunk


def _graph(like: ComputationalGraph, source: Integers, target: Integers, weight: Floats) -> ComputationalGraph:
    """A null graph on the nodes of the given one."""
    nodes = {name: like.node_columns[name] for name in ("name", "site", "label", "size", "level")}
    return ComputationalGraph(
        nodes, source, target, None, weight, directed=like.directed, kind=like.kind, architecture=like.architecture
    )
