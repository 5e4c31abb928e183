"""Three nodes and their edges: feed-forward loops where edges have a direction, triangles where they have none."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from compgraph.communities.pairs import Floats
from compgraph.statistics.measures.kinds import NO_UNDIRECTED_LOOPS, TRIANGLES, UNDIRECTED_ONLY, measure
from compgraph.statistics.measures.paths import efficiency
from compgraph.statistics.view import DENSE_NODES, UndefinedError, View

NO_LOOP = "no two edges in a row could be closed by a third"


@measure(undirected=NO_UNDIRECTED_LOOPS)
def feedforward_loops(view: View, seed: int) -> float:
    """Feed-forward loops (u -> v -> w and u -> w) as a share of the two-paths u -> v -> w whose u -> w is allowed."""
    ones = np.ones(view.n_edges)
    return closed(view, ones) / _two_paths(view)


@measure(undirected=NO_UNDIRECTED_LOOPS)
def loop_intensity(view: View, seed: int) -> float:
    """Mean over allowed two-paths of the product of the three edges' intensities, 0 where the loop is open.

    Intensity: cube root of |w|, over its mean over all edges.
    """
    roots = np.cbrt(view.magnitude)
    return closed(view, roots / roots.mean()) / _two_paths(view)


@measure(undirected=NO_UNDIRECTED_LOOPS)
def coherent_loops(view: View, seed: int) -> float:
    """Share of the feed-forward loops whose two routes have the same sign (product of the three signs > 0).

    Loops with an edge whose channels cancel exactly do not count.
    """
    return _share_positive(view, "the graph has no feed-forward loop with signs")


@measure(layered=TRIANGLES, directed=UNDIRECTED_ONLY)
def balance(view: View, seed: int) -> float:
    """Share of the triangles that are balanced: the product of their three signs is positive (Cartwright & Harary)."""
    if not (view.signed < 0).any():
        raise UndefinedError("the graph has no negative weight, so every triangle is balanced")
    return _share_positive(view, "the graph has no triangle")


@measure(layered=TRIANGLES, directed=UNDIRECTED_ONLY)
def clustering(view: View, seed: int) -> float:
    """Mean weighted clustering of the nodes (Onnela et al. 2005): geometric mean of |w| over triangles.

    Weights are relative to the largest; a node with fewer than two neighbours counts as 0.
    """
    triangles = _triangles(view, np.cbrt(view.magnitude / view.magnitude.max()))
    degree = np.bincount(view.ordered[0], minlength=view.n_nodes)
    possible = degree * (degree - 1)
    return float(np.divide(triangles, possible, out=np.zeros_like(triangles), where=possible > 0).mean())


@measure(layered=TRIANGLES, directed=UNDIRECTED_ONLY)
def transitivity(view: View, seed: int) -> float:
    """Closed triples as a share of all triples of neighbours; weights do not count."""
    degree = np.bincount(view.ordered[0], minlength=view.n_nodes)
    triples = int((degree * (degree - 1)).sum())
    if triples == 0:
        raise UndefinedError("no node has two neighbours")
    return closed(view, np.ones(view.n_edges)) / triples


@measure(layered=TRIANGLES, directed=UNDIRECTED_ONLY)
def small_worldness(view: View, seed: int) -> float:
    """Clustering times efficiency: over its mean in null graphs it is a small-world index.

    Humphries & Gurney's (2008) index (C / C_null) / (L / L_null) with 1 / efficiency for the path length L, which
    exists in disconnected graphs too; `value` / `null_mean` above 1 says small world.
    """
    return clustering(view, seed) * efficiency(view, seed)


def closed(view: View, values: Floats) -> float:
    """Sum over u, v, w of x_uv x_vw x_uw, for values x of the edges."""
    return float(_triangles(view, values).sum())


def _triangles(view: View, values: Floats) -> Floats:
    """Sum over v, w of x_uv x_vw x_uw for each u, float [n]."""
    if view.n_nodes <= DENSE_NODES:
        matrix = view.dense(values)
        sums: Floats = ((matrix @ matrix) * matrix).sum(axis=1)
        return sums
    sparse = view.sparse(values)
    return np.asarray((sparse @ sparse).multiply(sparse).sum(axis=1), dtype=np.float64).ravel()


def _share_positive(view: View, otherwise: str) -> float:
    sign = np.sign(view.signed)
    every = closed(view, np.abs(sign))
    if every == 0:
        raise UndefinedError(otherwise)
    return (1 + closed(view, sign) / every) / 2


def _two_paths(view: View) -> float:
    """Number of u -> v -> w with u -> w allowed."""
    number = view.once("two paths", lambda: _count_two_paths(view))
    if number == 0:
        raise UndefinedError(NO_LOOP)
    return number


def _count_two_paths(view: View) -> float:
    group, reads = view.allowed.group, csr_matrix(view.allowed.reads.astype(np.float64))
    shape = (view.n_nodes, reads.shape[0])
    ones = np.ones(view.n_edges)
    before = csr_matrix((ones, (view.target, group[view.source])), shape=shape)
    after = csr_matrix((ones, (view.source, group[view.target])), shape=shape)
    through = (before @ reads).multiply(after).sum()
    edges = view.sparse(ones)
    back = edges.multiply(edges.T).sum(axis=1)  # u -> v -> u, which no edge closes
    own = np.diag(view.allowed.reads)[group]
    return float(through) - float(np.asarray(back).ravel()[own].sum())
