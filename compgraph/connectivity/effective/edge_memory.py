"""Refusing before the start a graph of more edges than fit into memory."""

from __future__ import annotations

from compgraph.architecture import Architecture
from compgraph.connectivity.effective.setting import Setting
from compgraph.errors import DataError
from compgraph.memory import available_memory
from compgraph.partition import Partition
from compgraph.patterns import pattern_of, served_parts, with_patterns

BYTES_PER_EDGE = 60
"""Ends, scores of a batch, sums and weight of an edge at the peak (measured: 55)."""


def edges_into(architecture: Architecture, partition: Partition, split_qkv: bool) -> dict[str, int]:
    """Site (`attn.3.pattern` too) -> edges into it, of those that `architectural_edges` lists, without listing them."""
    architecture, partition = with_patterns(architecture, partition)
    found = {}
    for site in partition.sites:
        sources = {s for s in architecture.reads.get(site, ()) if s in partition.labels}
        served = 0
        if pattern_of(site) in sources:  # each part has an edge from the patterns of its own heads only
            sources.remove(pattern_of(site))
            served = int(served_parts(architecture.site(site), partition).sum())
        channels = len(architecture.channels.get(site, ("",))) if split_qkv else 1
        found[site] = served + partition.n_parts(site) * channels * sum(partition.n_parts(s) for s in sources)
    return found


def count_edges(architecture: Architecture, partition: Partition, split_qkv: bool) -> int:
    """Number of the edges of the graph."""
    return sum(edges_into(architecture, partition, split_qkv).values())


def check_memory(setting: Setting, available: int | None = None) -> None:
    """Refuse a graph of all edges that needs more memory than there is.

    Parameters
    ----------
    available
        Bytes; what the system says where None.

    Raises
    ------
    DataError
        With the estimate and what to do.
    """
    free = available_memory() if available is None else available
    edges = count_edges(setting.net.architecture, setting.partition, setting.split_qkv)
    if free is not None and edges * BYTES_PER_EDGE > free:
        raise DataError(
            f"effective: {edges:,} edges need about {edges * BYTES_PER_EDGE / 1e9:.1f} GB, and {free / 1e9:.1f} GB are "
            "free; keep only the strongest (`keep`, `keep_overall` of eap, clean-corrupted and eap-ig-inputs), or use "
            "a coarser partition"
        )
