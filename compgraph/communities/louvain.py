"""Communities of largest ordinary modularity, by the Louvain method."""

from __future__ import annotations

import numpy as np

from compgraph.communities.modularity import modularity_matrix, quality, signed_matrix
from compgraph.communities.optimise import Labels, dense_louvain, multilevel, run_seeds
from compgraph.communities.pairs import Floats, is_layered, node_pairs
from compgraph.communities.result import Communities, best_of_runs
from compgraph.graph import ComputationalGraph

DEPTH = (
    "ordinary modularity does not know which edges the architecture allows: on this layered graph its "
    "communities are partly depth; leiden-layered compares with what the architecture allows"
)


def find(
    graph: ComputationalGraph,
    *,
    seed: int = 0,
    n_runs: int = 10,
    resolution: float = 1.0,
    negative: str = "auto",
) -> Communities:
    """Louvain communities; of several runs the one with the highest modularity.

    Parameters
    ----------
    graph
        Any graph. Weights are summed over channels; edges in both directions are added up.
    seed
        Of all runs.
    n_runs
        Runs from different seeds.
    resolution
        Above 1 finds smaller communities, below 1 larger ones.
    negative
        What a negative weight means. `signed`: its ends belong apart (Gomez, Jensen & Arenas 2009; right for
        correlations). `magnitude`: only |w| counts (right for effects, whose sign is a direction). `auto`:
        `signed` for undirected graphs, `magnitude` for directed ones.

    Returns
    -------
    Communities
        `quality` is the ordinary or the signed modularity.

    Notes
    -----
    Without negative weights igraph's `community_multilevel` searches; the signed modularity, which igraph
    cannot take, is searched by the same two phases on its matrix.
    """
    check_runs(n_runs, resolution)
    if negative not in ("auto", "signed", "magnitude"):
        raise ValueError(f"negative must be 'auto', 'signed' or 'magnitude', not {negative!r}")
    signed = negative == "signed" or (negative == "auto" and not graph.directed)
    weights = undirected_weights(graph, signed)
    signed = signed and bool((weights < 0).any())
    matrix = (signed_matrix if signed else modularity_matrix)(weights, resolution)
    return best_of_runs(
        graph,
        lambda labels: quality(matrix, labels),
        ~weights.any(axis=1),
        lambda run_seed: search(weights, matrix, resolution, run_seed),
        run_seeds(seed, n_runs),
        "louvain",
        {
            "seed": seed,
            "resolution": resolution,
            "negative": negative,
            "modularity": "signed" if signed else "ordinary",
        },
        (DEPTH,) if is_layered(graph) else (),
    )


def search(weights: Floats, matrix: Floats, resolution: float, seed: int) -> Labels:
    """One run on symmetric weights whose modularity matrix is given."""
    if (weights < 0).any():
        return dense_louvain(matrix, seed)
    return multilevel(weights, resolution, seed)


def undirected_weights(graph: ComputationalGraph, signed: bool) -> Floats:
    """Symmetric weights [n, n]: summed over channels and directions, with or without their signs."""
    weights = node_pairs(graph).matrix(signed)
    return weights + weights.T if graph.directed else weights


def check_runs(n_runs: int, resolution: float) -> None:
    """Refuse settings no search can use."""
    if n_runs < 1:
        raise ValueError(f"n_runs must be at least 1, not {n_runs}")
    if not (np.isfinite(resolution) and resolution >= 0):
        raise ValueError(f"resolution must be a number of at least 0, not {resolution}")
