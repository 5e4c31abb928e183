"""Which blocks of scores there are between the units of a transformer: sources in tiles, targets by channel.

A node with more units than the residual stream has coordinates is carried as the coordinates of what it writes or
of the gradient at what it reads (*condensed*): its units are then the d_model coordinates, with the rows of an
identity matrix. Scores are sums over units, so nothing else changes; `logits` become 768 units in place of 50,257.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from compgraph.architectural import edge_channels
from compgraph.connectivity.effective.endpoints import Destination, Source, decoder_rows, reader_rows
from compgraph.connectivity.effective.unit_groups import UnitGroups
from compgraph.connectivity.effective.unit_scorer import UnitScorer
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition
from compgraph.parts import Parts
from compgraph.patterns import pattern_of, with_patterns

TILE = 4096
"""Up to so many source units in a block."""


@dataclass
class SourceSide:
    """The units of a site that writes.

    Attributes
    ----------
    nodes
        Numbers of its nodes in the graph.
    units
        Its units by node.
    condensed
        Whether the units are coordinates of the nodes' writes.
    tiles
        Ranges of nodes whose blocks are computed at once.
    """

    site: str
    nodes: slice
    units: UnitGroups
    condensed: bool
    tiles: list[tuple[int, int]]

    def columns(self, source: Source) -> Tensor:
        """Change of all units [batch * time, units]."""
        if self.condensed:
            return source.writes().flatten(1, 2).transpose(0, 1).flatten(1)
        return self.units.pick(source.change).flatten(0, 1)

    def decoder(self, net: Transformer, start: int, stop: int) -> Tensor:
        """Rows [units, d_model] that the units of the nodes from start to stop write with."""
        at = self.units.units(start, stop)
        rows = decoder_rows(net, self.site)
        if self.condensed or rows is None:
            eye = torch.eye(net.spec.d_model, dtype=net.dtype, device=net.device)
            return eye.repeat(stop - start, 1) if self.condensed else self.units.pick(eye, 0)[at]
        return rows[at] if self.units.order is None else rows[self.units.order[at]]


@dataclass
class TargetSide:
    """The units of a site that reads, through one channel of the graph.

    Attributes
    ----------
    site
        Of the nodes: an attention site's patterns are a site of their own.
    reader
        Site whose pre-activations they are.
    channel, code
        Name of the channel in the graph, and its number.
    reads
        Channels of the reading that are added up: ("", "gate") of a gated MLP.
    parts
        The nodes, over pre-activations.
    nodes, units, condensed
        As of `SourceSide`.
    """

    site: str
    reader: str
    channel: str
    code: int
    reads: tuple[str, ...]
    parts: Parts
    nodes: slice
    units: UnitGroups
    condensed: bool

    @property
    def key(self) -> str:
        """Name that no other side has."""
        return f"{self.site}:{self.channel}"

    @property
    def products(self) -> tuple[str, ...]:
        """Names of the products of units that are added up."""
        return ("",) if self.condensed else self.reads

    def gradients(self, found: dict[str, Destination]) -> list[Tensor]:
        """Gradient over the scale, per product [batch, (time,) units]."""
        if not self.condensed:
            return [self.units.pick(found[name].gradient) for name in self.reads]
        first, *others = (found[name].pulled() for name in self.reads)
        for other in others:
            first = first + other
        return [first.movedim(0, -2).flatten(-2)]

    def along(self, net: Transformer, gradients: list[Tensor], xhat: Tensor) -> Tensor:
        """Sum over each node's units of gradient · <xhat, reader row>: [rows, nodes]."""
        total = None
        readers = [None] if self.condensed else self.rows(net, centred=False)
        for gradient, rows in zip(gradients, readers, strict=True):
            read = xhat.repeat(1, self.units.n_nodes) if rows is None else xhat @ rows.T.to(xhat.dtype)
            term = gradient * read
            total = term if total is None else total.add_(term)
        assert total is not None
        return self.units.sums(total, 1)

    def rows(self, net: Transformer, *, centred: bool) -> list[Tensor]:
        """Reader rows per product [units, d_model], with the norm's gain; centred as the norm centres."""
        if self.condensed:
            # the gain is in the gradients already
            found = [torch.eye(net.spec.d_model, dtype=net.dtype, device=net.device).repeat(self.units.n_nodes, 1)]
        else:
            readers, gain = reader_rows(net, self.reader)
            found = [self.units.pick(readers[name], 0) for name in self.reads]
            found = found if gain is None else [rows * gain for rows in found]
        return [rows - rows.mean(-1, keepdim=True) for rows in found] if centred else found


class UnitLayout:
    """All sides of a transformer's blocks.

    Parameters
    ----------
    scorer
        Its sites, parts and channels.
    partition
        The nodes.
    silent
        Sites that lose their output bias when ablated (`compgraph.ablation.baselines.silent_sites`).
    memory
        Bytes that the products of a block may take.

    Attributes
    ----------
    sources
        Site -> side, in order.
    targets
        Site -> the sides that read there.
    """

    def __init__(self, scorer: UnitScorer, partition: Partition, silent: Collection[str], memory: int) -> None:
        self.net, self.scorer = scorer.net, scorer
        architecture, self.partition = with_patterns(self.net, partition)
        self.architecture = architecture
        self.channels = edge_channels(architecture, scorer.split_qkv)
        self.targets = {site: self._targets(site) for site in scorer.sites[1:]}
        widest = max(self.width(site) for site in self.targets)
        self.limit = max(64, min(TILE, memory // (widest * max(4, self.net.dtype.itemsize))))
        self.sources = {site: self._source(site, site in silent) for site in scorer.sites[:-1]}

    def read_by(self, site: str) -> list[SourceSide]:
        """The sources of a site, in the order of their nodes."""
        return [self.sources[s] for s in self.net.architecture.reads[site] if s in self.sources]

    def width(self, site: str) -> int:
        """Rows of all products and corrections of a block into a site."""
        return sum(len(side.products) * len(side.units.node) + side.units.n_nodes for side in self.targets[site])

    def _source(self, site: str, silent: bool) -> SourceSide:
        units, condensed = self._units(self.scorer.parts[site], silent)
        return SourceSide(site, self.partition.node_slice(site), units, condensed, units.cut(self.limit))

    def _units(self, parts: Parts, silent: bool = False) -> tuple[UnitGroups, bool]:
        """A silent site's bias is part of its node's write, not of any unit's."""
        d = self.net.spec.d_model
        if silent or len(parts) * d <= sum(len(index) for index in parts.index):
            return UnitGroups.condensed(len(parts), d, self.net.device), True
        return UnitGroups.from_parts(parts), False

    def _targets(self, site: str) -> list[TargetSide]:
        scorer, split = self.scorer, self.scorer.split_qkv
        readers = reader_rows(self.net, site)[0]
        if site in scorer.divided:
            return self._patterns(site) if site in scorer.served else []
        if site == "logits" or self.net.architecture.site(site).n_features:  # one node over all pre-activations
            n = next(iter(readers.values())).shape[0]
            parts = Parts([torch.arange(n, device=self.net.device)], n, n)
        else:
            parts = scorer.parts[site]
        groups: list[tuple[str, tuple[str, ...]]]
        if site in scorer.served:
            return [*self._patterns(site), self._side(site, site, "v" if split else "", ("v",), parts)]
        if site.startswith("attn"):
            groups = [(name, (name,)) for name in "qkv"] if split else [("", ("q", "k", "v"))]
            return [self._side(site, site, name, reads, parts) for name, reads in groups]
        return [self._side(site, site, "", tuple(readers), parts)]

    def _patterns(self, site: str) -> list[TargetSide]:
        split = self.scorer.split_qkv
        groups: list[tuple[str, tuple[str, ...]]] = [("q", ("q",)), ("k", ("k",))] if split else [("", ("q", "k"))]
        return [self._side(pattern_of(site), site, name, reads, self.scorer.heads) for name, reads in groups]

    def _side(self, site: str, reader: str, channel: str, reads: tuple[str, ...], parts: Parts) -> TargetSide:
        units, condensed = self._units(parts)
        nodes = self.partition.node_slice(site)
        return TargetSide(site, reader, channel, self.channels.index(channel), reads, parts, nodes, units, condensed)
