"""The edges an architecture allows between the nodes of a partition, in the canonical order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from compgraph.architecture import Architecture
from compgraph.errors import GraphError
from compgraph.partition import HasArchitecture, Partition
from compgraph.patterns import pattern_of, served_parts, with_patterns

EdgeArrays = tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int8]]
"""Source and target node (int32 [E]) and index into `edge_channels` (int8 [E])."""


def edge_channels(net: HasArchitecture, split_qkv: bool = True) -> tuple[str, ...]:
    """Channels of the architectural graph: ("",), or with attention split ("", "q", "k", "v")."""
    used = {name for names in net.architecture.channels.values() for name in names} if split_qkv else set()
    return ("", *(name for name in ("q", "k", "v") if name in used))


def architectural_edges(net: HasArchitecture, partition: Partition, split_qkv: bool = True) -> EdgeArrays:
    """All edges u -> v where the site of v reads what the site of u writes (design, section 9).

    The canonical order: by target node, then channel (q, k, v), then source node.

    Parameters
    ----------
    net
        A network or an architecture.
    partition
        Which may leave sites out: they then have no nodes and no edges.
    split_qkv
        One edge per channel of attention sites rather than one per pair of nodes.

    Returns
    -------
    source, target, channel
        int32 [E], int32 [E], int8 [E]; channels index `edge_channels(net, split_qkv)`.

    Raises
    ------
    GraphError
        If the partition does not fit, or has nodes at a mere view of the stream (`resid.3`).
    """
    partition.check(net)
    _refuse_views(net.architecture, partition)
    architecture, partition = with_patterns(net, partition)
    codes = {name: code for code, name in enumerate(edge_channels(architecture, split_qkv))}
    pieces = [_into_site(architecture, partition, site, split_qkv, codes) for site in partition.sites]
    if not pieces:
        return np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int8)
    source, target, channel = (np.concatenate(column) for column in zip(*pieces, strict=True))
    return source, target, channel


def _into_site(
    architecture: Architecture, partition: Partition, site: str, split_qkv: bool, codes: dict[str, int]
) -> EdgeArrays:
    """Edges into the nodes of one site, in the canonical order."""
    nodes = partition.node_slice(site)
    targets = np.arange(nodes.start, nodes.stop, dtype=np.int32)
    sources = _source_nodes(architecture, partition, site)
    names = architecture.channels.get(site, ("",)) if split_qkv else ("",)
    channels = np.array([codes[name] for name in names], dtype=np.int8)
    if pattern_of(site) in partition.labels:
        return _into_parts_of_heads(architecture, partition, site, targets, sources, channels)
    return (
        np.tile(sources, len(targets) * len(channels)),
        np.repeat(targets, len(channels) * len(sources)),
        np.tile(np.repeat(channels, len(sources)), len(targets)),
    )


def _into_parts_of_heads(
    architecture: Architecture,
    partition: Partition,
    site: str,
    targets: npt.NDArray[np.int32],
    sources: npt.NDArray[np.int32],
    channels: npt.NDArray[np.int8],
) -> EdgeArrays:
    """Per part: the patterns that serve it (channel ""), then every other source (channel v)."""
    patterns = partition.node_slice(pattern_of(site))
    values = sources[(sources < patterns.start) | (sources >= patterns.stop)]
    served = served_parts(architecture.site(site), partition)
    rows = [(patterns.start + np.flatnonzero(row)).astype(np.int32) for row in served]
    source = [np.concatenate([row, values]) for row in rows]
    channel = [
        np.concatenate([np.zeros(len(row), np.int8), np.full(len(values), channels[0], np.int8)]) for row in rows
    ]
    counts = [len(row) + len(values) for row in rows]
    if not rows:
        return np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int8)
    return np.concatenate(source), np.repeat(targets, counts), np.concatenate(channel)


def input_sites(architecture: Architecture) -> frozenset[str]:
    """Node sites that read no other: `embed`, `input`."""
    return frozenset(site.name for site in architecture.node_sites if not architecture.reads.get(site.name))


def output_sites(architecture: Architecture) -> frozenset[str]:
    """Node sites that no other reads: `logits`."""
    read = {source for sources in architecture.reads.values() for source in sources}
    return frozenset(site.name for site in architecture.node_sites if site.name not in read)


def _source_nodes(architecture: Architecture, partition: Partition, site: str) -> npt.NDArray[np.int32]:
    slices = [partition.node_slice(s) for s in architecture.reads.get(site, ()) if s in partition.labels]
    ranges = [np.arange(nodes.start, nodes.stop, dtype=np.int32) for nodes in slices]
    return np.sort(np.concatenate(ranges)) if ranges else np.zeros(0, np.int32)


def _refuse_views(architecture: Architecture, partition: Partition) -> None:
    views = {site.name for site in architecture.sites if not site.node}
    for site in partition.sites:
        if site in views:
            raise GraphError(
                f"partition: {site!r} is a view of the residual stream, not a node of the causal graph; "
                "leave it out of a partition for structural or effective edges"
            )
