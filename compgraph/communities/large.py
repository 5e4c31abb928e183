"""Communities of graphs with too many nodes for a matrix: a spectral start, then Leiden.

From single nodes Leiden takes many times as long on such a graph, and ordinary modularity, the only one that it
searches without a matrix, drifts towards depth. So the start comes from the leading eigenvectors of the modularity
that is asked for, nodes move while that rises, then Leiden runs on the undirected copy; the better of the two by the
modularity that is asked for is kept.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from compgraph.communities.agreement import Labels, canonical
from compgraph.communities.factored import Factored, Signed
from compgraph.communities.optimise import SMALLEST_GAIN, igraph_seed
from compgraph.communities.pairs import Floats

STARTS = 10
"""Of k-means."""

MOST_GROUPS = 8
"""Groups of the start."""

ABOVE_NOISE = 1.01
"""An eigenvalue tells something if it is this many times the size of the smallest."""

MANY_NODES = 10_000
"""From here k-means starts once."""

FEW_NODES = 500
"""Up to here all eigenvalues are computed."""

SWEEPS = 20
"""Of moves after the start; fewer if hardly a node moves any more."""


class Modularity(Protocol):
    """A modularity that is never made as a matrix: `Factored`, `Signed` or `slices.Slices`."""

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        ...

    @property
    def total(self) -> float:
        """What the quality is a share of."""
        ...

    @property
    def strength(self) -> Floats:
        """Row and column sums of the weights together, float64 [n]."""
        ...

    @property
    def self_expected(self) -> Floats:
        """What each node is expected to give to itself, as a share of `total` and counted twice, float64 [n]."""
        ...

    def quality(self, labels: npt.ArrayLike) -> float:
        """Modularity of a partition."""
        ...

    def excess(self, x: Floats) -> Floats:
        """(B + B^T) x for columns x, float64 [n, k]."""
        ...


def search_large(modularity: Factored | Signed, seed: int) -> Labels:
    """Partition of large modularity, int32 [n]."""
    n = modularity.n_nodes
    if modularity.total == 0 or n < 3:
        return np.zeros(n, np.int32)
    if isinstance(modularity, Signed):
        return search_spectral(modularity, seed)
    start = moved(modularity, groups_of(*leading(modularity, MOST_GROUPS, seed), seed), seed)
    return max((start, _leiden(modularity, start, seed)), key=modularity.quality)


def search_spectral(modularity: Modularity, seed: int) -> Labels:
    """The best of moves from k-means of one, two, ... eigenvectors above noise; for what no library searches."""
    values, vectors, least = leading(modularity, MOST_GROUPS, seed)
    above = int((values > ABOVE_NOISE * least).sum())
    starts = [np.zeros(modularity.n_nodes, np.int32)]
    starts += [kmeans(vectors[:, :k], k + 1, seed) for k in range(1, above + 1)]
    return max((moved(modularity, start, seed) for start in starts), key=modularity.quality)


def moved(modularity: Modularity, labels: Labels, seed: int) -> Labels:
    """Move nodes to the community that raises the modularity most, until hardly any moves.

    All gains are found at once; a random half of the nodes that gain moves, since neighbours that change places
    together would gain nothing.
    """
    rng = np.random.default_rng(seed)
    labels, n = labels.copy(), len(labels)
    n_parts = int(labels.max()) + 1
    own = modularity.self_expected
    nodes = np.arange(n)
    best = labels, modularity.quality(labels)
    for _ in range(SWEEPS if n_parts > 1 else 0):
        member = np.zeros((n, n_parts))
        member[nodes, labels] = 1
        gain = modularity.excess(member)
        gain[nodes, labels] += own  # a node does not expect weight to itself
        better = gain.argmax(axis=1)
        wants = gain[nodes, better] > gain[nodes, labels] + SMALLEST_GAIN / n
        goes = wants & (rng.random(n) < 0.5)
        labels = np.where(goes, better, labels).astype(np.int32)
        if (quality := modularity.quality(labels)) > best[1]:
            best = labels, quality
        if wants.sum() <= n / 1000:
            break
    return canonical(best[0])


def leading(modularity: Modularity, k: int, seed: int) -> tuple[Floats, Floats, float]:
    """Largest eigenvalues of D^-1/2 (B + B^T) D^-1/2, D the total strengths, descending; their vectors; the noise.

    Divided by the strengths, a node of large strength is no eigenvector of its own. Returns at most k - 1
    eigenvalues, since k groups need no more, and the size of the smallest eigenvalue of all: the spectrum of noise
    is about symmetric.
    """
    from scipy.sparse.linalg import LinearOperator, eigsh

    n = modularity.n_nodes
    strength = modularity.strength
    root = np.divide(1, np.sqrt(strength), out=np.zeros(n), where=strength > 0)
    root *= np.sqrt(modularity.total)

    def apply(x: Floats) -> Floats:
        scaled: Floats = root[:, None] * modularity.excess(root[:, None] * x.reshape(n, -1))
        return scaled

    if n <= FEW_NODES:
        values, vectors = np.linalg.eigh(apply(np.eye(n)))
        return values[::-1][: k - 1], vectors[:, ::-1][:, : k - 1], abs(float(values[0]))
    operator = LinearOperator((n, n), matvec=lambda x: apply(x).ravel(), matmat=apply, dtype=np.float64)
    start = np.random.default_rng(seed).normal(size=n)
    values, vectors = eigsh(operator, k=min(k - 1, n - 1), which="LA", v0=start, tol=1e-2, ncv=min(n, max(20, 2 * k)))
    least = eigsh(operator, k=1, which="SA", v0=start, tol=1e-2, return_eigenvectors=False)
    order = np.argsort(-values)
    return values[order], vectors[:, order], abs(float(least[0]))


def groups_of(values: Floats, vectors: Floats, least: float, seed: int) -> Labels:
    """k-means of the eigenvectors before the largest gap, among those that noise does not reach.

    The spectrum of noise is about symmetric, so only eigenvalues above the size of the smallest tell something.
    """
    n_vectors = vectors_by_gap(values, least)
    if n_vectors == 0:
        return np.zeros(len(vectors), np.int32)
    return kmeans(vectors[:, :n_vectors], n_vectors + 1, seed)


def vectors_by_gap(values: Floats, least: float) -> int:
    """How many of the descending eigenvalues lie before the largest gap; 0 if none is above noise."""
    above = int((values > ABOVE_NOISE * least).sum())
    if above == 0:
        return 0
    following = np.append(values[1:], least)
    return int(np.argmax((values - np.maximum(following, least))[:above])) + 1


def kmeans(points: Floats, k: int, seed: int) -> Labels:
    """k-means, best of several starts; of one where there are many nodes, which moves will correct."""
    from sklearn.cluster import KMeans

    starts = STARTS if len(points) <= MANY_NODES else 1
    found = KMeans(n_clusters=min(k, len(points)), n_init=starts, random_state=seed % 2**31).fit(points)
    return canonical(found.labels_)


def _leiden(modularity: Factored, start: Labels, seed: int) -> Labels:
    """One iteration of igraph's Leiden for ordinary modularity on the undirected copy."""
    import igraph

    edges = modularity.both.tocoo()
    upper = edges.row < edges.col
    ends = np.stack([edges.row[upper], edges.col[upper]], axis=1)
    weight = edges.data[upper]
    graph = igraph.Graph(n=len(start), edges=ends)
    with igraph_seed(seed):
        found = graph.community_leiden(
            objective_function="modularity",
            weights=None if np.ptp(weight) == 0 else weight.tolist(),
            resolution=modularity.resolution,
            n_iterations=1,
            initial_membership=start.tolist(),
        )
    return canonical(found.membership)
