"""Communities by the Leiden method: modularity or the constant Potts model, by igraph or leidenalg."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compgraph.communities.agreement import Labels
from compgraph.communities.judge import DENSE, judge
from compgraph.communities.large import search_large
from compgraph.communities.louvain import DEPTH, check_runs
from compgraph.communities.modularity import potts_matrix, quality
from compgraph.communities.optimise import leiden, leiden_sparse, leidenalg_search, run_seeds
from compgraph.communities.pairs import allowed_pairs, is_layered, node_pairs
from compgraph.communities.potts import Potts
from compgraph.communities.result import Communities, best_of_runs
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph

LIBRARIES = {"igraph": leiden, "leidenalg": leidenalg_search}


def find(
    graph: ComputationalGraph,
    *,
    seed: int = 0,
    n_runs: int = 10,
    resolution: float = 1.0,
    objective: str = "modularity",
    negative: str = "auto",
    library: str = "igraph",
) -> Communities:
    """Leiden communities (Traag, Waltman & Van Eck 2019); of several runs the best.

    Parameters
    ----------
    graph
        Any graph; weights are summed over channels.
    seed, n_runs
        As for `louvain`.
    resolution
        Above 1 finds smaller communities. Of `constant-potts` in units of the mean weight of a pair that could
        have one: nodes are together where their weights exceed `resolution` times this mean.
    objective
        `modularity`: ordinary or signed (undirected), or directed (Leicht & Newman 2008). `constant-potts`:
        weights against one constant, on the pairs that the architecture allows.
    negative
        As for `louvain`.
    library
        `igraph`, or `leidenalg` for graphs of up to 3,000 nodes. Larger ones are searched without a matrix.

    Returns
    -------
    Communities
        `quality` is the modularity, or the constant Potts quality over the sum of |w|.

    Raises
    ------
    GraphError
        If the library is leidenalg and the graph has more than 3,000 nodes.
    """
    check_runs(n_runs, resolution)
    _check(objective, negative, library)
    if library == "leidenalg" and graph.n_nodes > DENSE:
        raise GraphError(f"leiden: library leidenalg is for at most {DENSE:,} nodes, not {graph.n_nodes:,}; use igraph")
    signed = negative == "signed" or (negative == "auto" and not graph.directed)
    if objective == "constant-potts":
        name, score, idle, search = _potts(graph, resolution, signed, library)
    else:
        name, score, idle, search = _modularity(graph, resolution, signed, library)
    return best_of_runs(
        graph,
        score,
        idle,
        search,
        run_seeds(seed, n_runs),
        "leiden",
        {"seed": seed, "resolution": resolution, "modularity": name, "negative": negative, "library": library},
        (DEPTH,) if is_layered(graph) and objective == "modularity" else (),
    )


Parts = tuple[str, Callable[[Labels], float], np.ndarray, Callable[[int], Labels]]


def _modularity(graph: ComputationalGraph, resolution: float, signed: bool, library: str) -> Parts:
    judged = judge(graph, resolution, signed, allowed=False)
    large = judged.large
    if large is not None and judged.name != "ordinary":
        return judged.name, judged.quality, judged.idle, lambda seed: search_large(large, seed)
    if judged.matrix is None or (judged.name == "ordinary" and library == "igraph"):
        pairs = node_pairs(graph)
        keep = pairs.magnitude > 0
        edges = pairs.source[keep], pairs.target[keep], pairs.magnitude[keep]
        n = graph.n_nodes
        return judged.name, judged.quality, judged.idle, lambda seed: leiden_sparse(*edges, n, resolution, seed)
    matrix = judged.matrix
    return judged.name, judged.quality, judged.idle, lambda seed: LIBRARIES[library](matrix, seed)


def _potts(graph: ComputationalGraph, resolution: float, signed: bool, library: str) -> Parts:
    if graph.n_nodes > DENSE:
        large = Potts.of(graph, resolution, signed)
        return "constant Potts", large.quality, large.idle, large.search
    weights = node_pairs(graph).matrix(signed)
    matrix = potts_matrix(weights, allowed_pairs(graph), resolution)
    idle = ~(weights.any(axis=0) | weights.any(axis=1))
    return "constant Potts", lambda labels: quality(matrix, labels), idle, lambda s: LIBRARIES[library](matrix, s)


def _check(objective: str, negative: str, library: str) -> None:
    for name, value, valid in (
        ("objective", objective, ("modularity", "constant-potts")),
        ("negative", negative, ("auto", "signed", "magnitude")),
        ("library", library, tuple(LIBRARIES)),
    ):
        if value not in valid:
            raise ValueError(f"{name} must be one of {', '.join(valid)}, not {value!r}")
