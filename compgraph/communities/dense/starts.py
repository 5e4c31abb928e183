"""Partitions to start from: k-means on the eigenvectors that stand out from noise."""

from __future__ import annotations

import warnings

import numpy as np

from compgraph.communities.agreement import canonical
from compgraph.communities.dense.graph import DenseGraph, Labels, Matrix
from compgraph.communities.pairs import Floats

MOST_VECTORS = 48

EIGEN_FROM = 600
"""Graphs with as many nodes have their leading eigenvectors iterated for, not all of them computed."""

STANDS_OUT = 2.0
"""Eigenvalues of an n x n matrix of independent entries lie within this many deviations times sqrt n."""


def embedding(graph: DenseGraph, seed: int) -> Floats:
    """Nodes in the leading eigenvectors of presence, values, and squared values, float64 [n, d].

    Squares tell blocks apart that differ in spread alone. Eigenvectors within the noise are left out, but for the
    first two of each matrix.
    """
    parts = []
    for matrix in _matrices(graph):
        for one in (matrix, matrix.T) if graph.directed else (matrix,):
            parts.append(_leading(one, graph.directed, seed))
    if not parts:
        return np.zeros((graph.n_nodes, 1))
    return np.concatenate(parts, axis=1)


def _matrices(graph: DenseGraph) -> list[Matrix]:
    """Excess over what degrees (for presence) or the mean (for values) explain."""
    found = []
    present = graph.present
    if present is not None and graph.terms.topology:
        expected = np.outer(graph.out_degree, graph.in_degree) / max(float(graph.out_degree.sum()), 1.0)
        found.append((present - expected).astype(present.dtype))
    for values in graph.matrices()[1:]:
        assert values is not None
        pairs = graph.n_edges * (1 if graph.directed else 2)
        centred = values - values.dtype.type(values.sum(dtype=np.float64) / pairs)
        if present is not None:
            centred *= present
        np.fill_diagonal(centred, 0)
        found.append(centred)
    return found


def _leading(matrix: Matrix, directed: bool, seed: int) -> Floats:
    """Eigenvectors (left singular vectors) times their values, those that stand out from noise."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    n = len(matrix)
    wanted = min(MOST_VECTORS, n - 2)
    if n < EIGEN_FROM or wanted < 2:
        size, vectors = np.linalg.eigh(matrix @ matrix.T if directed else matrix)
    else:
        start = np.random.default_rng(seed).normal(size=n).astype(matrix.dtype)
        operator = LinearOperator(
            (n, n),
            matvec=(lambda x: matrix @ (matrix.T @ x)) if directed else (lambda x: matrix @ x),
            dtype=matrix.dtype,
        )
        size, vectors = eigsh(operator, k=wanted, v0=start, tol=1e-3)
    size = np.sqrt(np.abs(size)) if directed else np.abs(size)
    order = np.argsort(-size, kind="stable")[:MOST_VECTORS]
    bulk = STANDS_OUT * float(np.sqrt(np.square(matrix, dtype=np.float64).sum() / n))
    kept = order[: max(2, int((size[order] > bulk).sum()))]
    found = vectors[:, kept].astype(np.float64)
    # A fixed sign, so that k-means sees the same points whatever the linear algebra library.
    found *= np.sign(found[np.abs(found).argmax(axis=0), np.arange(len(kept))])
    # The squares of entries have another unit than the entries: each matrix counts as much as it stands out.
    return found * size[kept] / max(bulk, np.finfo(np.float64).tiny)


def clustered(points: Floats, n_blocks: int, seed: int) -> Labels:
    """k-means, int32 [n]; fewer blocks than asked for where there are fewer distinct points."""
    from sklearn.cluster import KMeans

    means = KMeans(n_blocks, n_init=1, max_iter=30, random_state=seed % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer distinct points than clusters: fewer blocks, no harm
        return canonical(means.fit_predict(points))
