"""Communities of a directed graph whose architecture forbids most edges."""

from __future__ import annotations

from compgraph.communities.factored import factored
from compgraph.communities.judge import DENSE
from compgraph.communities.large import search_large
from compgraph.communities.louvain import check_runs
from compgraph.communities.modularity import allowed_matrix, quality
from compgraph.communities.optimise import leiden, run_seeds
from compgraph.communities.pairs import allowed_pairs, node_pairs
from compgraph.communities.result import Communities, best_of_runs
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph


def find(graph: ComputationalGraph, *, seed: int = 0, n_runs: int = 10, resolution: float = 1.0) -> Communities:
    """Communities of largest allowed-pairs modularity, by the Leiden method.

    Weights |w|, summed over channels, are compared with weights that keep the strengths and lie on the pairs
    that the architecture allows, so that depth by itself is no community (`modularity.expected_weights`).

    Parameters
    ----------
    graph
        Directed. Without an architecture every ordered pair of nodes counts as allowed.
    seed, n_runs, resolution
        As for `louvain`.

    Raises
    ------
    GraphError
        If the graph is undirected.

    Notes
    -----
    Graphs of more than 3,000 nodes are searched from a spectral start (`large`), without a matrix.
    """
    check_runs(n_runs, resolution)
    if not graph.directed:
        raise GraphError(
            f"leiden-layered is for directed graphs, and this {graph.kind} graph is undirected; use louvain"
        )
    parameters = {"seed": seed, "resolution": resolution, "modularity": "allowed pairs"}
    seeds = run_seeds(seed, n_runs)
    if graph.n_nodes > DENSE:
        large = factored(graph, resolution)
        idle = (large.out + large.into) == 0
        return best_of_runs(
            graph, large.quality, idle, lambda s: search_large(large, s), seeds, "leiden-layered", parameters
        )
    weights = node_pairs(graph).matrix()
    matrix = allowed_matrix(weights, allowed_pairs(graph), resolution)
    return best_of_runs(
        graph,
        lambda labels: quality(matrix, labels),
        ~(weights.any(axis=0) | weights.any(axis=1)),
        lambda run_seed: leiden(matrix, run_seed),
        seeds,
        "leiden-layered",
        parameters,
    )
