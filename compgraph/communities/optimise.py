"""Searches for the partition of largest modularity, each given the randomness it uses."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from compgraph.communities.agreement import canonical
from compgraph.communities.pairs import Floats, Integers
from compgraph.errors import MissingDependency

Labels = npt.NDArray[np.int32]
SMALLEST_GAIN = 1e-10
"""A move must raise modularity by more than rounding, or the search would turn in circles."""


def run_seeds(seed: int, n_runs: int) -> list[int]:
    """Independent seeds for the runs of a search: run k has the same seed however many runs there are."""
    return [int(np.random.SeedSequence([seed, run]).generate_state(1)[0]) for run in range(n_runs)]


def multilevel(weights: Floats, resolution: float, seed: int) -> Labels:
    """Louvain (Blondel et al. 2008) of igraph on symmetric weights >= 0."""
    import igraph

    source, target = np.nonzero(np.triu(weights, 1))
    graph = igraph.Graph(n=len(weights), edges=np.stack([source, target], axis=1))
    with igraph_seed(seed):
        found = graph.community_multilevel(weights=weights[source, target].tolist(), resolution=resolution)
    return canonical(found.membership)


def leiden(matrix: Floats, seed: int) -> Labels:
    """Leiden (Traag et al. 2019) of igraph on any modularity matrix, to convergence.

    The constant Potts model with resolution 0 on weights B_ij + B_ji has the modularity as its quality, up to
    the diagonal, which no partition changes.
    """
    import igraph

    both = matrix + matrix.T
    source, target = np.nonzero(np.triu(both, 1))
    graph = igraph.Graph(n=len(matrix), edges=np.stack([source, target], axis=1))
    with igraph_seed(seed):
        found = graph.community_leiden(
            objective_function="CPM",
            weights=both[source, target].tolist(),
            resolution=0,
            n_iterations=-1,
        )
    return canonical(found.membership)


def leiden_sparse(source: Integers, target: Integers, weight: Floats, n: int, resolution: float, seed: int) -> Labels:
    """Leiden of igraph for ordinary modularity on undirected edges with weights > 0, to convergence."""
    import igraph

    graph = igraph.Graph(n=n, edges=np.stack([source, target], axis=1))
    with igraph_seed(seed):
        found = graph.community_leiden(
            objective_function="modularity", weights=weight.tolist(), resolution=resolution, n_iterations=-1
        )
    return canonical(found.membership)


def leidenalg_search(matrix: Floats, seed: int) -> Labels:
    """Leiden of leidenalg on any modularity matrix, to convergence; slower than igraph's."""
    import igraph

    try:
        import leidenalg
    except ImportError as error:
        raise MissingDependency("leidenalg is not installed; get it with `pip install leidenalg`") from error
    both = matrix + matrix.T
    source, target = np.nonzero(np.triu(both, 1))
    found = leidenalg.find_partition(
        igraph.Graph(n=len(matrix), edges=np.stack([source, target], axis=1)),
        leidenalg.CPMVertexPartition,
        weights=both[source, target].tolist(),
        resolution_parameter=0,
        n_iterations=-1,
        seed=seed % 2**31,
    )
    return canonical(found.membership)


def dense_louvain(matrix: Floats, seed: int) -> Labels:
    """Louvain on any modularity matrix: single moves to the best part, then parts become nodes, and again.

    For matrices that no graph with weights >= 0 has, such as the signed modularity. O(n^2) a sweep.

    Parameters
    ----------
    matrix
        Modularity matrix B, float [n, n]; asymmetric parts count as their mean.
    seed
        Of the order in which nodes are visited.
    """
    rng = np.random.default_rng(seed)
    gains = (matrix + matrix.T) / 2
    labels = np.arange(len(gains))
    while True:
        moved = _local_moves(gains, rng)
        parts, moved = np.unique(moved, return_inverse=True)
        labels = moved[labels]
        if len(parts) == len(gains):
            return canonical(labels)
        member = np.zeros((len(gains), len(parts)))
        member[np.arange(len(gains)), moved] = 1
        gains = member.T @ gains @ member


def _local_moves(gains: Floats, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Move nodes one by one to the part that raises modularity most, until none moves."""
    n = len(gains)
    labels = np.arange(n)
    # attraction[c, i]: what the members of part c give to node i.
    attraction = gains - np.diag(np.diag(gains))
    changed = True
    while changed:
        changed = False
        for node in rng.permutation(n):
            pull = attraction[:, node]
            best = int(np.argmax(pull))
            here = labels[node]
            if pull[best] <= pull[here] + SMALLEST_GAIN:
                continue
            row = gains[node].copy()
            row[node] = 0
            attraction[here] -= row
            attraction[best] += row
            labels[node] = best
            changed = True
    return labels


@contextmanager
def igraph_seed(seed: int) -> Iterator[None]:
    """Seed igraph's random numbers, and hand them back to Python's own generator afterwards."""
    import igraph

    igraph.set_random_number_generator(random.Random(seed))
    try:
        yield
    finally:
        igraph.set_random_number_generator(random)
