"""Where the edges of a graph lie: flat vectors in canonical order, and blocks per destination site."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from compgraph.architectural import architectural_edges
from compgraph.models.network import Network
from compgraph.partition import Partition
from compgraph.patterns import pattern_of, served_parts, with_patterns


@dataclass(frozen=True)
class Group:
    """Edges into one channel of one part, from the sources `columns` (among those that its site reads) in order.

    `channel` is None where a graph does not tell q, k and v apart: the part then reads all three alike. The edges from
    patterns into a part are a group of their own.
    """

    site: str
    part: int
    channel: int | None
    edges: range
    columns: Tensor


@dataclass(frozen=True)
class Block:
    """Edges into one site: [parts, channels, sources] from the edge `start` on; `copies` channels share one.

    Attributes
    ----------
    reads
        int64 [sources], or [sources + heads] where the site has patterns: the nodes that it reads.
    served
        bool [parts, heads] where the site has patterns: which parts have an edge from which. A part's edges from
        patterns come before its others.
    """

    site: str
    start: int
    parts: int
    channels: int
    sources: int
    copies: int
    reads: Tensor = field(repr=False)
    served: Tensor | None = field(default=None, repr=False)

    @property
    def stop(self) -> int:
        """One behind the last edge."""
        return self.start + self.parts * self.channels * self.sources + self._count(self.parts)

    def _count(self, parts: int) -> int:
        """Edges from patterns into the first parts."""
        return 0 if self.served is None else int(self.served[:parts].sum())

    @property
    def from_patterns(self) -> Tensor:
        """Which of the edges come from patterns, bool [edges]."""
        if self.served is None:
            return torch.zeros(self.stop - self.start, dtype=torch.bool, device=self.reads.device)
        there = torch.nn.functional.pad(self.served, (0, self.sources), value=True)
        pattern = torch.arange(there.shape[1], device=there.device) < self.served.shape[1]
        return pattern.expand_as(there)[there]

    def weights(self, flat: Tensor) -> Tensor:
        """[edges of the graph] -> [channels, parts, nodes read]; 0 where there is no edge."""
        own = flat[self.start : self.stop]
        if self.served is not None:
            mine = self.from_patterns
            through = own.new_zeros(self.served.shape).masked_scatter(self.served, own[mine])
            return torch.cat([own[~mine].unflatten(0, (self.parts, self.sources)), through], 1)[None]
        own = own.unflatten(0, (self.parts, self.channels, self.sources)).transpose(0, 1)
        return own.repeat(self.copies, 1, 1) if self.copies > 1 else own

    def groups(self) -> Iterator[Group]:
        """From the last part and channel to the first."""
        joined = self.copies > 1
        for part in reversed(range(self.parts)):
            first = self.start + part * self.channels * self.sources + self._count(part)
            heads = None if self.served is None else self.served[part].nonzero().flatten()
            behind = first if heads is None else first + len(heads)
            columns = torch.arange(self.sources, device=self.reads.device)
            for channel in reversed(range(self.channels)):
                start = behind + channel * self.sources
                edges = range(start, start + self.sources)
                yield Group(self.site, part, None if joined else channel, edges, columns)
            if heads is not None:
                yield Group(self.site, part, 0, range(first, behind), self.sources + heads)


class EdgeLayout:
    """The architectural edges of a partition, as blocks.

    Attributes
    ----------
    refined
        The partition with patterns as nodes where it cuts through heads (`compgraph.patterns`).
    blocks
        In the order of destinations; that of a site's patterns before the site's.
    sources
        int64 [edges]: nodes of `refined`.

    Raises
    ------
    GraphError
        The partition cannot carry a causal graph of the network (`Partition.check_causal`).
    """

    def __init__(self, net: Network, partition: Partition, split_qkv: bool) -> None:
        partition.check_causal(net)
        architecture, self.refined = with_patterns(net, partition)
        self.blocks: list[Block] = []
        self.n_edges = 0
        for site in architecture.node_sites:
            pattern = pattern_of(site.name)
            read = [name for name in architecture.reads.get(site.name, ()) if name != pattern]
            if not read:
                continue
            fine = pattern in self.refined.labels
            channels = len(architecture.channels.get(site.name, ("",)))
            nodes = [self.refined.node_slice(name) for name in (*read, *([pattern] if fine else []))]
            block = Block(
                site.name,
                self.n_edges,
                partition.n_parts(site.name) if site.kind != "pattern" else site.n_heads,
                channels if split_qkv else 1,
                sum(partition.n_parts(name) for name in read),
                1 if split_qkv else channels,
                torch.cat([torch.arange(n.start, n.stop) for n in nodes]).to(net.device),
                torch.from_numpy(served_parts(site, partition)).to(net.device) if fine else None,
            )
            self.blocks.append(block)
            self.n_edges = block.stop
        sources = architectural_edges(net, partition, split_qkv)[0]
        assert self.n_edges == len(sources)
        self.sources = torch.from_numpy(sources.astype("int64")).to(net.device)

    @property
    def n_writers(self) -> int:
        """Nodes that others may read: all but those of the last site."""
        return self.refined.node_slice(self.refined.sites[-1]).start

    @property
    def shares(self) -> dict[str, float]:
        """Destination site -> share of the network from it on."""
        n = len(self.blocks)
        return {block.site: (n - k) / n for k, block in enumerate(self.blocks)}

    def weights(self, flat: Tensor) -> dict[str, Tensor]:
        """[edges] -> destination site -> [channels, parts, nodes read]."""
        return {block.site: block.weights(flat) for block in self.blocks}

    def readers(self) -> Tensor:
        """Of every edge a number for its destination's site and channel, those from patterns apart: int64 [edges]."""
        out = torch.zeros(self.n_edges, dtype=torch.long, device=self.sources.device)
        for number, block in enumerate(self.blocks):
            mine, own = block.from_patterns, out[block.start : block.stop]
            channel = torch.arange(block.channels, device=out.device).repeat_interleave(block.sources)
            own[~mine] = 3 * number + channel.repeat(block.parts)
            own[mine] = 3 * number + 1
        return out
