"""Communities by eigenvectors: normalised cut, signed Laplacians, modularity of directed graphs."""

from __future__ import annotations

import numpy as np

from compgraph.communities.agreement import Labels
from compgraph.communities.factored import factored
from compgraph.communities.judge import DENSE, judge
from compgraph.communities.large import kmeans, leading, vectors_by_gap
from compgraph.communities.optimise import run_seeds
from compgraph.communities.pairs import Floats, node_pairs
from compgraph.communities.result import Communities, best_of_runs
from compgraph.graph import ComputationalGraph

MOST = 20
"""Communities that the gap may choose."""


def find(graph: ComputationalGraph, *, seed: int = 0, n_communities: int = 0) -> Communities:
    """Spectral communities.

    - Undirected, weights >= 0: normalised cut (Shi & Malik 2000; Ng, Jordan & Weiss 2001). Eigenvectors of the
      largest eigenvalues of D^-1/2 A D^-1/2, rows to length one, k-means. Their number lies before the largest
      gap, one community included.
    - Undirected with negative weights: SPONGE (Cucuringu et al. 2019). Lowest eigenvectors of
      (L+ + I) x = lambda (L- + I) x with normalised Laplacians of the positive and of the negative weights.
    - Directed: eigenvectors of the largest eigenvalues of D^-1/2 (B + B^T) D^-1/2, B the modularity matrix (of
      allowed pairs, or Leicht & Newman's), D the strengths; k vectors tell k + 1 communities apart. Only
      eigenvalues above the size of the smallest count; without any there is one community.

    Parameters
    ----------
    graph
        Any graph; signed ones of up to 3,000 nodes.
    seed
        Of k-means.
    n_communities
        How many; 0: by the largest gap, at most 20.

    Returns
    -------
    Communities
        `quality` is the modularity that fits the graph.
    """
    if n_communities < 0:
        raise ValueError(f"n_communities must be at least 0, not {n_communities}")
    judged = judge(graph, signed=True)
    live = np.flatnonzero(~judged.idle)
    kind = {"signed": "sponge", "ordinary": "normalised cut"}.get(judged.name, "modularity")

    def search(run_seed: int) -> Labels:
        labels = np.zeros(graph.n_nodes, np.int32)
        if len(live) < 3 or n_communities == 1:
            return labels
        if kind == "modularity":
            labels[live] = _directed(graph, n_communities, run_seed)[live]
        elif kind == "sponge":
            weights = node_pairs(graph).matrix(signed=True)[np.ix_(live, live)]
            labels[live] = _lowest(*sponge(weights), n_communities, run_seed)
        else:
            values, vectors = normalised_cut(graph, live, run_seed, n_communities)
            labels[live] = _lowest(1 - values, vectors, n_communities, run_seed, unit_rows=True)
        return labels

    return best_of_runs(
        graph,
        judged.quality,
        judged.idle,
        search,
        run_seeds(seed, 1),
        "spectral",
        {"seed": seed, "n_communities": n_communities, "embedding": kind, "modularity": judged.name},
    )


def normalised_cut(
    graph: ComputationalGraph, live: np.ndarray, seed: int, n_communities: int = 0
) -> tuple[Floats, Floats]:
    """Largest eigenvalues of D^-1/2 |A| D^-1/2, descending, and their vectors, on the nodes that have weight."""
    from scipy.sparse import diags

    adjacency = factored(graph).weights[live][:, live]
    scale = diags(1 / np.sqrt(np.asarray(adjacency.sum(axis=1)).ravel()))
    normal = scale @ adjacency @ scale
    n = len(live)
    k = min(n, max(MOST, n_communities) + 1)
    if n <= DENSE:
        values, vectors = np.linalg.eigh(normal.toarray())
        return values[::-1][:k], vectors[:, ::-1][:, :k]
    from scipy.sparse.linalg import eigsh

    values, vectors = eigsh(normal, k=k, which="LA", v0=np.random.default_rng(seed).normal(size=n))
    return values[::-1], vectors[:, ::-1]


def sponge(weights: Floats) -> tuple[Floats, Floats]:
    """Eigenvalues, ascending, and vectors of (L+ + I) x = lambda (L- + I) x, of symmetric signed weights [n, n]."""
    from scipy.linalg import eigh

    positive, negative = (_laplacian(np.maximum(sign * weights, 0)) for sign in (1, -1))
    identity = np.eye(len(weights))
    k = min(len(weights), MOST + 1)
    values, vectors = eigh(positive + identity, negative + identity, subset_by_index=[0, k - 1])
    return values, vectors


def _laplacian(weights: Floats) -> Floats:
    """Symmetric normalised Laplacian; rows of nodes without weight are zero."""
    strength = weights.sum(axis=1)
    scale = np.divide(1, np.sqrt(strength), out=np.zeros_like(strength), where=strength > 0)
    result: Floats = np.diag((strength > 0).astype(np.float64)) - scale[:, None] * weights * scale
    return result


def _lowest(values: Floats, vectors: Floats, k: int, seed: int, unit_rows: bool = False) -> Labels:
    """k-means of the eigenvectors of the k lowest eigenvalues; k = 0: those before the largest gap."""
    k = k or int(np.argmax(np.diff(values))) + 1
    points = vectors[:, :k]
    if unit_rows:
        length = np.linalg.norm(points, axis=1, keepdims=True)
        points = np.divide(points, length, out=np.zeros_like(points), where=length > 0)
    return kmeans(points, k, seed)


def _directed(graph: ComputationalGraph, k: int, seed: int) -> Labels:
    """k-means of the leading eigenvectors of the modularity of a directed graph."""
    values, vectors, least = leading(factored(graph), max(MOST, k), seed)
    n_vectors = k - 1 if k else vectors_by_gap(values, least)
    if n_vectors == 0:
        return np.zeros(len(vectors), np.int32)
    return kmeans(vectors[:, :n_vectors], n_vectors + 1, seed)
