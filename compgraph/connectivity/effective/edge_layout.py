"""Where the edges of a graph lie: flat vectors in canonical order, and blocks per destination site."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from compgraph.architectural import architectural_edges
from compgraph.models.network import Network
from compgraph.partition import Partition


@dataclass(frozen=True)
class Group:
    """Edges into one channel of one part: `edges` are those from source 0, 1, … in order.

    `channel` is None where a graph does not tell q, k and v apart: the part then reads all three alike.
    """

    site: str
    part: int
    channel: int | None
    edges: range


@dataclass(frozen=True)
class Block:
    """Edges into one site: [parts, channels, sources] from the edge `start` on; `copies` channels share one."""

    site: str
    start: int
    parts: int
    channels: int
    sources: int
    copies: int

    @property
    def stop(self) -> int:
        """One behind the last edge."""
        return self.start + self.parts * self.channels * self.sources


class EdgeLayout:
    """The architectural edges of a partition of whole heads, as blocks.

    Raises
    ------
    GraphError
        The partition leaves a site out, or lists the sites in another order than the network.
    """

    def __init__(self, net: Network, partition: Partition, split_qkv: bool) -> None:
        architecture = net.architecture
        partition.check_causal(net)
        self.blocks: list[Block] = []
        self.n_edges = 0
        for site in architecture.node_sites:
            if site.name not in architecture.reads or not architecture.reads[site.name]:
                continue
            channels = len(architecture.channels.get(site.name, ("",)))
            block = Block(
                site.name,
                self.n_edges,
                partition.n_parts(site.name),
                channels if split_qkv else 1,
                sum(partition.n_parts(name) for name in architecture.reads[site.name]),
                1 if split_qkv else channels,
            )
            self.blocks.append(block)
            self.n_edges = block.stop
        sources = architectural_edges(net, partition, split_qkv)[0]
        assert self.n_edges == len(sources)
        self.sources = torch.from_numpy(sources.astype("int64")).to(net.device)

    def weights(self, flat: Tensor) -> dict[str, Tensor]:
        """[edges] -> destination site -> [channels, parts, sources]."""
        out = {}
        for block in self.blocks:
            own = flat[block.start : block.stop].unflatten(0, (block.parts, block.channels, block.sources))
            out[block.site] = (
                own.transpose(0, 1).repeat(block.copies, 1, 1) if block.copies > 1 else own.transpose(0, 1)
            )
        return out

    def groups(self, block: Block) -> Iterator[Group]:
        """The block's groups from the last part and channel to the first."""
        for part in reversed(range(block.parts)):
            for channel in reversed(range(block.channels)):
                start = block.start + (part * block.channels + channel) * block.sources
                joined = block.copies > 1
                yield Group(block.site, part, None if joined else channel, range(start, start + block.sources))
