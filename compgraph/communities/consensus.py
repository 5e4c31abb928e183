"""One partition for many runs of a search.

Agreement D_ij is the share of runs in which i and j are together. Runs whose labels were dealt out at random,
with the same sizes, would agree at D0 = mean over runs of sum_c n_c (n_c - 1) / (n (n - 1)), the same for all
pairs. The consensus is the partition that maximises the sum of D_ij - D0 over the pairs it puts together
(Lancichinetti & Fortunato 2012 cluster D as well; the subtraction of chance, after Bassett et al. 2013, replaces
their threshold). Equal runs are their own consensus.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from compgraph.communities.agreement import Labels, adjusted_rand, canonical
from compgraph.communities.optimise import leiden
from compgraph.communities.pairs import Floats

SEARCHES = 5
"""Searches on the agreement matrix, from fixed seeds: the consensus of given partitions is one partition."""

MOST_NODES = 5000
"""The agreement matrix holds nodes by nodes."""


def agreement_matrix(partitions: Sequence[npt.ArrayLike]) -> Floats:
    """Share of the partitions that put two nodes together, float64 [n, n], diagonal 1; nodes in no part: 0."""
    given = [np.asarray(labels) for labels in partitions]
    together = [(labels[:, None] == labels) & (labels >= 0)[:, None] for labels in given]
    share: Floats = np.mean(together, axis=0)
    return share


def consensus(partitions: Sequence[npt.ArrayLike]) -> Labels:
    """Partition on which several agree best, int32 [n].

    Parameters
    ----------
    partitions
        Labels of the same n nodes, -1 for nodes in no part (which must be the same nodes in all).

    Raises
    ------
    ValueError
        If there is no partition, or they differ in length or in which nodes are in no part.

    Notes
    -----
    For more than 5,000 nodes the partition with the highest mean adjusted Rand index to all others is taken instead,
    which needs no matrix of all pairs.
    """
    given = [canonical(labels) for labels in partitions]
    if not given:
        raise ValueError("a consensus needs at least one partition")
    if any(labels.shape != given[0].shape or ((labels < 0) != (given[0] < 0)).any() for labels in given):
        raise ValueError("a consensus needs partitions of the same nodes, with the same nodes in no part")
    live = np.flatnonzero(given[0] >= 0)
    if len(live) < 2 or all(np.array_equal(labels, given[0]) for labels in given):
        return given[0]
    if len(live) > MOST_NODES:
        return _medoid(given)
    matrix = agreement_matrix([labels[live] for labels in given])
    np.fill_diagonal(matrix, 0)
    excess = matrix - matrix.sum() / (len(live) * (len(live) - 1))
    np.fill_diagonal(excess, 0)
    found = [leiden(excess, seed) for seed in range(SEARCHES)]
    values = [float(excess[labels[:, None] == labels].sum()) for labels in found]
    result = np.full(len(given[0]), -1, np.int32)
    result[live] = found[int(np.argmax(values))]
    return canonical(result)


def _medoid(partitions: list[Labels]) -> Labels:
    """The partition that agrees best with all others, by mean adjusted Rand index."""
    means = [np.mean([adjusted_rand(one, other) for other in partitions]) for one in partitions]
    return partitions[int(np.argmax(means))]
