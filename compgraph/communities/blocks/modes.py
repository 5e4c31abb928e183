"""What partitions have in common, and how many different answers are among them.

Source: Peixoto, Phys. Rev. X 11, 021003: labels are permuted until partitions have most in common; partitions are
divided into modes where that describes them shorter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compgraph.communities.agreement import Labels, canonical
from compgraph.communities.blocks.library import load_graph_tool
from compgraph.communities.blocks.sweeps import Descent
from compgraph.communities.pairs import Floats

ROUNDS = 20
"""Rounds of sweeps at most over the modes of all samples."""


@dataclass(frozen=True)
class Mode:
    """Partitions that differ by noise alone.

    Attributes
    ----------
    members
        Numbers of the partitions, int64.
    consensus
        The partition that they have most in common, int32 [n].
    marginals
        Share of them in which each node is in each block of the consensus, and then in others, float64 [n, K].
    """

    members: npt.NDArray[np.int64]
    consensus: Labels
    marginals: Floats


def modes(samples: npt.NDArray[np.int32]) -> list[Mode]:
    """Modes of partitions, int32 [samples, n], the one with most of them first; to be run inside `reproducible`."""
    state = load_graph_tool().inference.ModeClusterState(list(samples), relabel=True)
    Descent({}, ROUNDS).merges_and_splits(state)
    mode = canonical(state.b)
    members = [np.flatnonzero(mode == k) for k in np.argsort(-np.bincount(mode), kind="stable")]
    return [Mode(own, *consensus(samples[own])) for own in members]


def consensus(samples: npt.NDArray[np.int32]) -> tuple[Labels, Floats]:
    """graph-tool's consensus of partitions, and the share of samples in which a node is in each of its blocks."""
    gt = load_graph_tool()
    state = gt.inference.PartitionModeState(list(samples), relabel=True, converge=True)
    nodes = gt.Graph(directed=False)
    nodes.add_vertex(samples.shape[1])
    marginal = state.get_marginal(nodes)
    counts = [np.asarray(marginal[node]) for node in nodes.vertices()]
    table = np.zeros((len(counts), max(len(row) for row in counts)))
    for node, row in enumerate(counts):
        table[node, : len(row)] = row
    used, found = np.unique(table.argmax(axis=1), return_inverse=True)
    # Blocks of the consensus first, in its order, then those that no node is in most of the time.
    order = np.concatenate([used, np.setdiff1d(np.flatnonzero(table.sum(axis=0)), used)])
    shares: Floats = table[:, order] / table.sum(axis=1, keepdims=True)
    return found.astype(np.int32), shares
