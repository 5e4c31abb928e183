"""The nodes of a transformer as writers to its stream: what a pass keeps of them, and what ablation changes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from compgraph.ablation.baselines import WRITE, Units
from compgraph.connectivity.effective.endpoints import Source, change_of
from compgraph.connectivity.effective.products import is_few
from compgraph.models.transformer import Transformer
from compgraph.models.writes import check_writes
from compgraph.partition import Partition
from compgraph.parts import Parts
from compgraph.patterns import pattern_of, served_parts, splits_heads

BLOCK_BYTES = 2**26
"""Memory of the streams that are formed at once: of some nodes of a many-node site; where layers are recomputed, of
one source and one destination site at some positions."""


@dataclass
class Change:
    """What ablation changes: `streams` [carried sources, batch, time, d_model] of the sites whose nodes are carried as
    streams, `sources` of the others, and `patterns`, the change of the units of fine attention sites by their
    patterns."""

    streams: Tensor
    sources: dict[str, Source]
    patterns: Units

    def between(self, cut: slice) -> Change:
        """The change of writes at some positions."""
        if cut == slice(None):
            return self  # sources may remember which features are active
        sources = {site: replace(source, change=source.change[:, cut]) for site, source in self.sources.items()}
        return Change(self.streams[:, :, cut], sources, {})

    def at(self, positions: Tensor) -> Change:
        """The change of writes at one position of every example, with a time axis of one."""
        rows = torch.arange(len(positions), device=positions.device)
        sources = {
            site: replace(source, change=source.change[rows, positions][:, None])
            for site, source in self.sources.items()
        }
        return Change(self.streams[:, rows, positions][:, :, None], sources, {})


class StreamSources:
    """Nodes of a partition of a transformer, patterns among them where parts are finer than heads.

    Parameters
    ----------
    net, partition
        The nodes.
    recompute
        Whether little is kept: no stream of a source, and of a site that is one node its write rather than its units
        (see `streams.StreamScorer`).

    Attributes
    ----------
    sites
        All sites with nodes in order, `logits` last.
    parts, count
        Site -> its nodes, and how many they are; `logits` apart.
    few
        Sites with so few nodes that their streams can be formed at once.
    carried
        Of these the sites whose streams are kept.
    heads_of
        Attention site -> which heads each part depends on, bool [parts, heads].
    served
        Of these the sites whose patterns are nodes of their own.
    heads
        The heads of an attention site.
    """

    def __init__(self, net: Transformer, partition: Partition, recompute: bool = False) -> None:
        check_writes(net)
        self.net, self.recompute = net, recompute
        sites = net.architecture.node_sites
        self.sites = [site.name for site in sites]
        labels = partition.labels
        attention = [site for site in sites if site.kind == "attn"]
        self.heads_of = {s.name: torch.from_numpy(served_parts(s, partition)).to(net.device) for s in attention}
        self.served = {s.name: self.heads_of[s.name] for s in attention if splits_heads(s, labels[s.name])}
        self.parts = {s: Parts.from_labels(labels[s], partition.n_parts(s), net.device) for s in self.sites[:-1]}
        self.count = {site: len(parts) for site, parts in self.parts.items()}
        self.few = [site for site in self.sites[:-1] if is_few(self.parts[site])]
        self.carried = [] if recompute else self.few
        head, n = net.spec.d_head, net.spec.n_heads
        self.heads = Parts(list(torch.arange(n * head, device=net.device).split(head)), head, n * head)

    def kept(self, site: str) -> str:
        """What a pass must keep of a source: its units, or what it writes where that is shorter and one node's."""
        return f"{site}{WRITE}" if self.recompute and site != "embed" and self.parts[site].is_whole else site

    @property
    def sources(self) -> list[str]:
        """Sites whose units (or writes, and patterns) a pass must keep."""
        return [*map(self.kept, self.sites[:-1]), *(pattern_of(site) for site in self.served)]

    def change(self, clean: Units, baseline: Units, silent: Collection[str] = ()) -> Change:
        """Change of every source's write."""
        with torch.no_grad():
            sources = {site: self._source(site, clean, baseline, silent) for site in self.sites[:-1]}
            shape = *clean["embed"].shape[:-1], self.net.spec.d_model
            streams = clean["embed"].new_empty(sum(self.count[site] for site in self.carried), *shape)
            for site, out in self.by_site(streams).items():
                sources.pop(site).write_into(out)
            patterns = {site: baseline[pattern_of(site)] - clean[pattern_of(site)] for site in self.served}
            return Change(streams, sources, patterns)

    def _source(self, site: str, clean: Units, baseline: Units, silent: Collection[str]) -> Source:
        kept = self.kept(site)
        if kept == site:
            return change_of(self.net, site, clean, baseline, silent, self.parts[site])
        change = baseline[kept] - clean[kept]
        return Source(site, change, None, None, Parts.whole(change.shape[-1], change.device))

    def by_site(self, streams: Tensor) -> Units:
        """Site -> its own of the streams that are carried [sources, …]."""
        return dict(zip(self.carried, streams.split([self.count[s] for s in self.carried]), strict=True))

    def all_streams(self, change: Change) -> Tensor:
        """Change of the write of every source, many-node sites too: [sources, batch, time, d_model]."""
        return torch.cat(list(self.stream_blocks(change, self.sites[:-1])))

    def stream_blocks(self, change: Change, sites: Collection[str]) -> Iterator[Tensor]:
        """Changes of the writes of all nodes of some sites, in order: [m, batch, time, d_model].

        Those of many-node sites are made block by block, each of at most `BLOCK_BYTES`.
        """
        carried = self.by_site(change.streams)
        for site in self.sites[:-1]:
            if site not in sites:
                continue
            if site in carried:
                yield carried[site]
                continue
            source = change.sources[site]
            yield from map(source.writes, self.node_blocks(site, source.change.shape[:-1].numel()))

    def node_blocks(self, site: str, tokens: int) -> tuple[Tensor, ...]:
        """Nodes of a site in runs whose streams at so many tokens take at most `BLOCK_BYTES`."""
        size = tokens * self.net.spec.d_model * self.net.dtype.itemsize
        return torch.arange(self.count[site], device=self.net.device).split(max(1, BLOCK_BYTES // size))

    def streams(self, change: Change, sites: Collection[str]) -> Iterator[tuple[str, Tensor]]:
        """Changes of the writes of the few-node sites among these, which come first in the order of sites: all that
        are carried at once (named ""), then of each other site [nodes, batch, time, d_model]."""
        if self.carried:
            yield "", change.streams[: sum(self.count[s] for s in self.carried if s in sites)]
        for site in self.few:
            if site in sites and site not in self.carried:
                yield site, change.sources[site].writes()
