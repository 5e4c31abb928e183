"""Scores of pairs of parts, gathered into the graph of all edges, with z and p-values."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from compgraph.connectivity.effective.edge_memory import count_edges
from compgraph.connectivity.structural.vectors import Ends, Vectors
from compgraph.errors import DataError
from compgraph.graph import ComputationalGraph
from compgraph.memory import available_memory
from compgraph.models.network import Network
from compgraph.models.writes import check_writes
from compgraph.multiple_testing import benjamini_hochberg
from compgraph.partition import Partition
from compgraph.patterns import pattern_of
from compgraph.progress import progress

Columns = dict[str, npt.NDArray[Any]]
"""Name -> values [targets, sources]; `weight` is among them, `z` and `p` where there is a null."""

R = TypeVar("R")
W = TypeVar("W")


class PairScores(Protocol[R, W]):
    """Scores of the edges between two sites, from what is worked out once for each."""

    def reader(self, vectors: Vectors) -> R:
        """What is needed of a site as a target."""
        ...

    def writer(self, vectors: Vectors) -> W:
        """What is needed of a site as a source."""
        ...

    def score(self, reader: R, writer: W) -> Columns:
        """Scores [targets, sources]."""
        ...


BYTES_PER_EDGE = 120
"""Ends, weight, z, p and adjusted p of an edge and what it takes to compute them."""


def check_size(net: Network, partition: Partition, hint: str, available: int | None = None) -> None:
    """Refuse a graph of all edges that needs more memory than there is (`available`; None: what the system says).

    Raises
    ------
    DataError
        With the estimate and what to do (`hint`).
    """
    free = available_memory() if available is None else available
    edges = count_edges(net.architecture, partition, True)
    if free is not None and edges * BYTES_PER_EDGE > free:
        raise DataError(
            f"structural: {edges:,} edges need about {edges * BYTES_PER_EDGE / 1e9:.1f} GB, and {free / 1e9:.1f} GB "
            f"are free; {hint}"
        )


def check_partition(net: Any, partition: Partition) -> None:
    """Refuse a partition that cannot carry a causal graph, and writes that cannot be split among parts."""
    partition.check_causal(net)
    check_writes(net)


def stream_graph(ends: Ends, pair: PairScores[R, W], attributes: Mapping[str, Any]) -> ComputationalGraph:
    """The graph of all edges of a transformer.

    Parameters
    ----------
    ends
        What parts write and read.
    pair
        The scores.
    attributes
        Further attributes of the graph.

    Returns
    -------
    ComputationalGraph
        Weights and the other columns that `pair` gives, and `p_adjusted` (Benjamini & Hochberg 1995) over all edges
        with a null. Edges from a head's pattern to a part have the share of the part's values that come through that
        head (its root, as all scores) and no null: z and p are NaN.
    """
    net = ends.net
    graph = ComputationalGraph.from_architecture(net, ends.partition, kind="structural")
    assert graph.partition is not None and graph.architecture is not None
    columns: Columns = {}
    writers: dict[str, W] = {}
    sites = [site.name for site in net.architecture.node_sites]
    with torch.no_grad(), progress("structural", len(sites) - 1, "sites") as shown:
        for before, site in pairwise(sites):
            writers[before] = pair.writer(ends.writer(before))
            for target_site, channel, vectors in ends.readers(site):
                reader = pair.reader(vectors)
                for source in net.architecture.reads[site]:
                    _put(columns, graph, target_site, channel, source, pair.score(reader, writers[source]))
            if ends.split.get(site):
                found = {"weight": ends.served(site).double().numpy()}
                _put(columns, graph, site, "", pattern_of(site), found)
            shown.advance(1)
    return with_columns(graph, columns, attributes)


def with_columns(
    graph: ComputationalGraph,
    columns: Columns,
    attributes: Mapping[str, Any],
    node_columns: Mapping[str, npt.NDArray[Any]] | None = None,
) -> ComputationalGraph:
    """The graph with these columns, the adjusted p-values among them."""
    weight = columns.pop("weight", np.zeros(graph.n_edges))
    if "p" in columns:
        columns["p_adjusted"] = benjamini_hochberg(columns["p"])
    return ComputationalGraph(
        graph.node_columns,
        graph.source,
        graph.target,
        graph.channel,
        weight,
        channels=graph.channels,
        kind="structural",
        attributes=attributes,
        columns=columns,
        node_columns=node_columns,
        partition=graph.partition,
        architecture=graph.architecture,
    )


def _put(
    columns: Columns, graph: ComputationalGraph, target_site: str, channel: str, source_site: str, found: Columns
) -> None:
    """Write scores [targets, sources] to the edges between two sites."""
    assert graph.partition is not None
    into, out_of = (graph.partition.node_slice(site) for site in (target_site, source_site))
    first, last = np.searchsorted(graph.target, [into.start, into.stop])  # edges are ordered by target
    some = slice(int(first), int(last))
    source = graph.source[some]
    here = (graph.channel[some] == graph.channels.index(channel)) & (source >= out_of.start) & (source < out_of.stop)
    at = np.flatnonzero(here) + some.start
    rows, cols = graph.target[at] - into.start, graph.source[at] - out_of.start
    for name, values in found.items():
        if name not in columns:
            columns[name] = _blank(graph.n_edges, values.dtype)
        columns[name][at] = values[rows, cols]


def _blank(n: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """For edges that a column says nothing of."""
    return np.full(n, np.nan if np.issubdtype(dtype, np.floating) else -1, dtype)
