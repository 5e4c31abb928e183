"""Communities by eigenvectors: normalised cut, signed Laplacians, modularity of directed graphs."""

from __future__ import annotations

import numpy as np

from compgraph.communities.agreement import Labels
from compgraph.communities.factored import factored
from compgraph.communities.judge import DENSE, judge
from compgraph.communities.large import kmeans, leading, vectors_by_gap
from compgraph.communities.optimise import run_seeds
from compgraph.communities.pairs import Floats, Integers, node_pairs
from compgraph.communities.result import Communities, best_of_runs
from compgraph.graph import ComputationalGraph

MOST = 20
"""Communities that the gap may choose."""


def find(graph: ComputationalGraph, *, seed: int = 0, n_communities: int = 0) -> Communities:
    """Spectral communities.

    - Undirected, weights >= 0: normalised cut (Shi & Malik 2000; Ng, Jordan & Weiss 2001). Eigenvectors of the
      largest eigenvalues of D^-1/2 A D^-1/2, rows to length one, k-means.
    - Undirected with negative weights: SPONGE (Cucuringu et al. 2019). Eigenvectors of the lowest eigenvalues of
      (L+ + I) x = lambda (L- + I) x with normalised Laplacians of the positive and of the negative weights.
    - Directed: eigenvectors of the largest eigenvalues of D^-1/2 (B + B^T) D^-1/2, B the modularity matrix (of
      allowed pairs, or Leicht & Newman's), D the strengths.

    Their number is one more than the vectors before the largest gap (the constant one of the normalised cut not
    counted) among the eigenvalues above noise; without any there is one community. The spectrum of noise is about
    symmetric, so noise reaches as far as the far end of the spectrum (of -log lambda for SPONGE).

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
        most = max(MOST, n_communities)
        if kind == "modularity":
            values, vectors, noise = leading(factored(graph), most, run_seed)
            vectors = vectors[live]
        elif kind == "sponge":
            values, vectors, noise = sponge(node_pairs(graph).matrix(signed=True)[np.ix_(live, live)])
        else:
            values, vectors, noise = normalised_cut(graph, live, most, run_seed)
        cut = int(kind == "normalised cut")
        k = n_communities or vectors_by_gap(values[cut:most], noise) + 1
        if k > 1:
            points = vectors[:, : k - 1 + cut]
            labels[live] = kmeans(_unit_rows(points) if cut else points, k, run_seed)
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


def normalised_cut(graph: ComputationalGraph, live: Integers, k: int, seed: int) -> tuple[Floats, Floats, float]:
    """Eigenvalues of D^-1/2 |A| D^-1/2, descending, vectors, size of the smallest, on the nodes that have weight.

    At least the k largest; of up to 3,000 nodes all.
    """
    from scipy.sparse import diags

    adjacency = factored(graph).weights[live][:, live]
    scale = diags(1 / np.sqrt(np.asarray(adjacency.sum(axis=1)).ravel()))
    normal = scale @ adjacency @ scale
    if len(live) <= DENSE:
        values, vectors = np.linalg.eigh(normal.toarray())
        return values[::-1], vectors[:, ::-1], abs(float(values[0]))
    from scipy.sparse.linalg import eigsh

    start = np.random.default_rng(seed).normal(size=len(live))
    values, vectors = eigsh(normal, k=k, which="LA", v0=start)
    least = eigsh(normal, k=1, which="SA", v0=start, return_eigenvectors=False)
    return values[::-1], vectors[:, ::-1], abs(float(least[0]))


def sponge(weights: Floats) -> tuple[Floats, Floats, float]:
    """-log of the eigenvalues of (L+ + I) x = lambda (L- + I) x, descending, vectors, size of the last.

    Of symmetric signed weights [n, n].
    """
    from scipy.linalg import eigh

    positive, negative = (_laplacian(np.maximum(sign * weights, 0)) for sign in (1, -1))
    identity = np.eye(len(weights))
    values, vectors = eigh(positive + identity, negative + identity)
    values = -np.log(values)
    return values, vectors, abs(float(values[-1]))


def _laplacian(weights: Floats) -> Floats:
    """Symmetric normalised Laplacian; rows of nodes without weight are zero."""
    strength = weights.sum(axis=1)
    scale = np.divide(1, np.sqrt(strength), out=np.zeros_like(strength), where=strength > 0)
    result: Floats = np.diag((strength > 0).astype(np.float64)) - scale[:, None] * weights * scale
    return result


def _unit_rows(points: Floats) -> Floats:
    length = np.linalg.norm(points, axis=1, keepdims=True)
    rows: Floats = np.divide(points, length, out=np.zeros_like(points), where=length > 0)
    return rows
