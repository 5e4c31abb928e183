"""Partitions from which searches for blocks start: on dense graphs graph-tool's own proposals are blind."""

from __future__ import annotations

import warnings
from functools import cached_property

import numpy as np

from compgraph.communities.agreement import Labels, canonical, n_parts
from compgraph.communities.blocks.observed import Observed
from compgraph.communities.pairs import Floats, Integers

LARGE = 10_000
"""Graphs with more nodes are searched from one spectral start alone, in few sweeps."""

LARGE_VECTORS, LARGE_BLOCKS = 32, (30, 100, 300)

LADDER = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Numbers of blocks worth a spectral start."""


class Starts:
    """Informed partitions of one graph."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed

    @property
    def large(self) -> bool:
        """Whether the graph is too large for matrices of nodes by nodes."""
        return self._observed.n_nodes > LARGE

    def whole(self) -> Labels:
        """All nodes in one block, or in one for each kind of nodes."""
        return self.within_kinds(np.zeros(self._observed.n_nodes, np.int32))

    def within_kinds(self, labels: Labels) -> Labels:
        """A partition cut so that no block mixes kinds."""
        return cut(labels, self._observed.kinds)

    def all(self, seed: int) -> dict[str, Labels]:
        """One block, the levels, and spectral partitions of several sizes, by name."""
        n = self._observed.n_nodes
        plain = {"one block": self.whole()}
        if 1 < n_parts(self._observed.levels) < n and self._observed.kinds is None:
            plain["levels"] = canonical(self._observed.levels)
        ladder = LARGE_BLOCKS if self.large else [k for k in LADDER if k <= max(2, n // 3)]
        spectral = {f"spectral {k}": self._spectral(k, seed) for k in ladder if k < n}
        return plain | {name: self.within_kinds(labels) for name, labels in spectral.items()}

    def of_size(self, n_blocks: int, seed: int) -> dict[str, Labels]:
        """Partitions of exactly so many blocks, by name."""
        n = self._observed.n_nodes
        # Equal shares along the leading eigenvector: k-means may find fewer distinct groups than asked for.
        shares = np.empty(n, np.int32)
        order = np.argsort(self._embedding[:, 0], kind="stable")
        shares[order] = np.arange(n) * n_blocks // n
        found = {f"spectral {n_blocks}": self._spectral(n_blocks, seed)} if n_blocks < n else {}
        full = {name: labels for name, labels in found.items() if n_parts(labels) == n_blocks}
        return full | {"equal shares": canonical(shares)}

    def _spectral(self, n_blocks: int, seed: int) -> Labels:
        """From the leading eigenvectors of the values, or of the excess of edges where there are none."""
        return of_vectors(self._embedding, n_blocks, seed, *((1, 20) if self.large else ()))

    @cached_property
    def _embedding(self) -> Floats:
        seen = self._observed
        if self.large:
            return sparse_embedding(seen.n_nodes, seen.source, seen.target)
        if seen.layer is None:
            return leading_vectors(self._matrix(np.ones(len(seen.source), bool)))
        # Layers need not agree on signs: what they share are the leading left singular vectors of all side by side.
        squares = [m @ m.T for m in (self._matrix(seen.layer == layer) for layer in np.unique(seen.layer))]
        return leading_vectors(np.sum(squares, axis=0))

    def _matrix(self, chosen: Integers) -> Floats:
        """Symmetric values, or excess of edges over what degrees explain, of some pairs, float64 [n, n]."""
        seen = self._observed
        matrix = np.zeros((seen.n_nodes, seen.n_nodes))
        values = np.ones(len(seen.source)) if seen.leading is None else seen.leading
        matrix[seen.source[chosen], seen.target[chosen]] = values[chosen]
        matrix = matrix + matrix.T
        if seen.leading is None:
            degree = matrix.sum(axis=0)
            matrix -= np.outer(degree, degree) / max(degree.sum(), 1)
        return matrix


def cut(labels: Labels, kinds: Integers | None) -> Labels:
    """A partition cut so that no part mixes kinds of nodes."""
    return canonical(labels) if kinds is None else canonical(kinds * (int(labels.max(initial=0)) + 1) + labels)


def of_vectors(vectors: Floats, n_blocks: int, seed: int, repeats: int = 5, rounds: int = 300) -> Labels:
    """k-means of the nodes in their leading eigenvectors, float64 [n, d]; fewer blocks where points coincide."""
    from sklearn.cluster import KMeans

    means = KMeans(n_blocks, n_init=repeats, max_iter=rounds, random_state=seed % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer distinct points than clusters
        return canonical(means.fit_predict(vectors[:, :n_blocks]))


def leading_vectors(matrix: Floats) -> Floats:
    """Nodes in eigenvectors of a symmetric matrix times eigenvalues, largest first, float64 [n, n]."""
    size, vectors = np.linalg.eigh(matrix)
    order = np.argsort(-np.abs(size), kind="stable")
    # A fixed sign, so that k-means sees the same points whatever the linear algebra library.
    vectors = vectors[:, order]
    vectors *= np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(len(matrix))])
    embedding: Floats = vectors * np.abs(size[order])
    return embedding


def sparse_embedding(n_nodes: int, source: Integers, target: Integers) -> Floats:
    """Nodes in the leading eigenvectors of the normalised adjacency matrix, each row of length 1, float64 [n, d].

    Source: Ng, Jordan & Weiss, NIPS 2001; without a matrix of all pairs.
    """
    from scipy.sparse import coo_matrix, diags
    from scipy.sparse.linalg import eigsh

    ones = np.ones(2 * len(source))
    ends = np.concatenate([source, target]), np.concatenate([target, source])
    matrix = coo_matrix((ones, ends), shape=(n_nodes, n_nodes)).tocsr()
    scale = diags(1 / np.sqrt(np.maximum(np.asarray(matrix.sum(axis=1)).ravel(), 1)))
    wanted = min(LARGE_VECTORS, n_nodes - 2)
    start = np.random.default_rng(0).normal(size=n_nodes)
    _, vectors = eigsh(scale @ matrix @ scale, k=wanted, v0=start, tol=1e-2)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    embedding: Floats = vectors / np.where(length > 0, length, 1)
    return embedding
