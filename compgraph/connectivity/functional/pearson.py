"""Pearson correlation between the nodes of a partition over the rows of an activation buffer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from compgraph.architecture import Architecture
from compgraph.connectivity.functional.memory import check_memory
from compgraph.connectivity.functional.signals import (
    Recording,
    chosen_sites,
    node_signals,
    site_signals,
)
from compgraph.connectivity.functional.streaming import JointMoments, blocks
from compgraph.errors import DataError
from compgraph.granularity import listed
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition

BLOCK_ROWS = 1024
SILENT = 1e-20
"""A signal whose variance is at most this (units have variance 1) is a sum that cancels, not a signal."""


def compute(
    buffer: Recording,
    partition: Partition,
    *,
    sites: Sequence[str] | None = None,
    threshold: float | None = None,
) -> ComputationalGraph:
    """Correlation of every pair of nodes, in one pass over the buffer.

    A node's signal is the mean of its units' standardised activations (`signals`); rows of all items and
    positions are pooled.

    Parameters
    ----------
    buffer
        Recorded activations.
    partition
        The nodes.
    sites
        Sites to use; None for those of the partition that were recorded.
    threshold
        Keep only pairs with |r| at least this; None for all pairs.

    Returns
    -------
    ComputationalGraph
        Undirected, kind `functional`; weight r in [-1, 1], pairs i < j row by row. Attributes: `method`,
        `rows` (samples behind every r), `sites`, `sites_not_recorded`, `constant_units` (site -> how many
        units do not vary), `excluded_nodes` (names of nodes without a varying signal), `threshold`.

    Raises
    ------
    DataError
        If sites were not recorded, there are fewer than two rows, fewer than two nodes vary, values are not
        finite, or the result does not fit into memory.
    GraphError
        If partition and buffer are of different models.

    Notes
    -----
    Memory is that of the square of sums over nodes and of the edges, whatever the number of rows. All sums
    are float64.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise ValueError(f"threshold must be between 0 and 1, not {threshold}")
    if buffer.n_rows < 2:
        raise DataError(f"functional: a correlation needs at least 2 rows, but the buffer has {buffer.n_rows}")
    names = chosen_sites(buffer, partition, sites)
    plans = {site: site_signals(buffer, partition, site) for site in names}
    nodes = np.concatenate([plan.nodes for plan in plans.values()])
    _check_two(nodes, names, "units")
    check_memory(len(nodes))
    moments = JointMoments(len(nodes))
    for block in blocks(node_signals(buffer, plans), BLOCK_ROWS):
        moments.add(block)
    matrix, varies = correlations(moments)
    _check_two(nodes[varies], names, "signals")
    recorded = set(buffer.sites["site"])
    attributes: dict[str, Any] = {
        "method": "pearson",
        "rows": moments.count,
        "sites": names,
        "sites_not_recorded": [site for site in partition.sites if site not in recorded],
        "constant_units": {site: plan.n_constant for site, plan in plans.items() if plan.n_constant},
        "threshold": threshold,
    }
    return _graph(buffer.architecture, partition, names, nodes[varies], matrix, attributes)


def correlations(moments: JointMoments) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Correlation matrix [m, m] of the m signals that vary, and which of all signals those are."""
    matrix = moments.covariance()
    deviation = np.sqrt(np.diag(matrix))
    varies = deviation**2 > SILENT
    matrix = matrix[np.ix_(varies, varies)] if not varies.all() else matrix
    matrix /= deviation[varies]
    matrix /= deviation[varies, None]
    return np.clip(matrix, -1, 1, out=matrix), varies


def _graph(
    architecture: Architecture,
    partition: Partition,
    sites: Sequence[str],
    nodes: npt.NDArray[np.int64],
    matrix: npt.NDArray[np.float64],
    attributes: dict[str, Any],
) -> ComputationalGraph:
    """All pairs of the nodes that vary, row by row of the upper triangle."""
    names = partition.node_names
    present = set(nodes.tolist())
    every = (k for site in sites for k in range(partition.n_nodes)[partition.node_slice(site)])
    attributes["excluded_nodes"] = [names[k] for k in every if k not in present]
    threshold = attributes["threshold"]
    pairs = np.triu(np.ones(matrix.shape, dtype=bool), 1)
    if threshold is not None:
        pairs &= np.abs(matrix) >= threshold
    source, target = np.nonzero(pairs)
    return ComputationalGraph(
        {name: values[nodes] for name, values in partition.nodes(architecture).items()},
        source.astype(np.int32),
        target.astype(np.int32),
        None,
        matrix[pairs],
        directed=False,
        kind="functional",
        attributes=attributes,
        partition=partition.restrict(sites),
        architecture=architecture,
    )


def _check_two(nodes: npt.NDArray[np.int64], sites: Sequence[str], what: str) -> None:
    if len(nodes) < 2:
        raise DataError(
            f"functional: {len(nodes)} nodes of {listed(sites)} have {what} that vary; a correlation needs at least 2"
        )
