"""Scores of all edges of a transformer from one gradient pass.

With D_s the change of source s's write and g_v the gradient of the metric at the pre-activations that
destination v computes with reader rows r_v, the score of s -> v is `<D_s, Jᵀ(g_v r_v)>`, J being the Jacobian
of the norm in front of v. With xhat the normalised stream, 1/σ its inverse scale, γ the gain and
R_v = (g_v / σ) (γ r_v):

    Jᵀ(g_v r_v) = R_v - mean(R_v) - xhat <xhat, R_v> / d        (RMSNorm: without the mean)

Everything is a batched matrix product over (time · width): one forward and one backward pass serve all edges,
no node has a pass of its own. A destination reads at every position except `logits`, which reads at the scored
one only. Where parts are finer than heads, patterns are nodes (`compgraph.patterns`): their q and k are read as
those of whole heads, and the score of pattern -> part is the pattern's change times the gradient at the pattern
through the part's units.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from compgraph.ablation.baselines import Units
from compgraph.connectivity.effective.endpoints import (
    Destination,
    Projection,
    Source,
    change_of,
    destinations,
    projection,
)
from compgraph.connectivity.effective.passes import Edit, PassResult
from compgraph.connectivity.effective.products import (
    is_few,
    streams_with_streams,
    streams_with_units,
    units_with_streams,
    units_with_units,
)
from compgraph.data.batches import Batch
from compgraph.metrics import Metric, Targets
from compgraph.models.tape import Reading, Tape
from compgraph.models.transformer import Transformer
from compgraph.models.writes import check_writes
from compgraph.partition import Partition
from compgraph.parts import Parts
from compgraph.patterns import pattern_of, served_parts, splits_heads

BLOCK_BYTES = 2**26
"""Memory of one block of the streams of a many-node site."""
STREAM = "stream"
"""Among the channels of a site's gradients: that at the stream that it reads."""


@dataclass
class Change:
    """What ablation changes: `streams` [few sources, batch, time, d_model] of the sites whose nodes are few,
    `sources` of the others, and `patterns`, the change of the units of fine attention sites by their patterns."""

    streams: Tensor
    sources: dict[str, Source]
    patterns: Units


class StreamScorer:
    """Scores of the edges between the nodes of a partition of a transformer.

    Parameters
    ----------
    net, partition
        The nodes.
    split_qkv
        Whether q, k and v of a head are destinations of their own.

    Attributes
    ----------
    heads_of
        Attention site -> which heads each part depends on, bool [parts, heads].
    served
        Of these the sites whose patterns are nodes of their own.
    per_example
        Whether scores are those of every example ([batch, edges]) or sums over the batch ([1, edges]), which
        is so where some edge joins two sites of many nodes each.
    """

    from_streams = True
    """Whether sites that are one destination are scored from autograd's gradient at the stream that they read, without
    a product with their readers; else all gradients are those at pre-activations."""

    def __init__(self, net: Transformer, partition: Partition, split_qkv: bool) -> None:
        check_writes(net)
        self.net, self.split_qkv = net, split_qkv
        sites = net.architecture.node_sites
        self.sites = [site.name for site in sites]
        labels = partition.labels
        attention = [site for site in sites if site.kind == "attn"]
        self.heads_of = {s.name: torch.from_numpy(served_parts(s, partition)).to(net.device) for s in attention}
        self.served = {s.name: self.heads_of[s.name] for s in attention if splits_heads(s, labels[s.name])}
        self.parts = {s: Parts.from_labels(labels[s], partition.n_parts(s), net.device) for s in self.sites[:-1]}
        self.count = {site: len(parts) for site, parts in self.parts.items()}
        self.few = [site for site in self.sites[:-1] if is_few(self.parts[site])]
        many = [site for site in self.sites[1:-1] if site not in self.few]
        self.per_example = len(many) < 2
        head, n = net.spec.d_head, net.spec.n_heads
        self.heads = Parts(list(torch.arange(n * head, device=net.device).split(head)), head, n * head)
        self.whole = [site for site in self.sites[1:] if self.from_streams and self._is_whole(site)]
        self._memory: Tensor | None = None

    def _is_whole(self, site: str) -> bool:
        """Whether a site is one destination, so that autograd's gradient at its stream is all that is needed."""
        if site == "logits":
            return True
        parts = self.parts[site]
        one = len(parts) == 1 and len(parts.index[0]) == parts.n_units
        return one and not (site.startswith("attn") and self.split_qkv)

    @property
    def sources(self) -> list[str]:
        """Sites whose units (and patterns) a pass must keep."""
        return [*self.sites[:-1], *(pattern_of(site) for site in self.served)]

    @property
    def differentiated(self) -> list[str]:
        """Sites at whose units (or patterns) gradients are wanted too."""
        return list(self.served)

    def bytes_per_example(self, pairs: Any) -> int:
        """Writes of few-node sites, units of the others, and the gradients of one site's nodes."""
        channels = 3 if self.split_qkv else 1
        widest = max((self.count[s] for s in self.few), default=0)
        streams = (sum(self.count[s] for s in self.few) + channels * widest) * self.net.spec.d_model
        units = 4 * sum(self.parts[s].n_units for s in self.sites[:-1])
        return int((streams + units) * pairs.clean.shape[1] * self.net.weights.embedding.element_size())

    def run(self, batch: Batch, edit: Mapping[str, Edit], metric: Metric, targets: Targets) -> PassResult:
        """Forward pass with a tape, on which `differentiated` units stay differentiable."""
        tape, wanted = Tape(whole=self.whole), self.differentiated
        capture = {*self.sources, *wanted}
        out = self.net.run(batch.clean, batch.mask, capture=capture, positions=batch.positions, edit=edit, tape=tape)
        tape.units = {name: out.units[name] for name in wanted}
        units = {name: out.units[name].detach() for name in self.sources}
        return PassResult(units, metric(out.logits, targets), tape)

    def change(self, clean: Units, baseline: Units, silent: Collection[str] = ()) -> Change:
        """Change of every source's write."""
        with torch.no_grad():
            sources = {
                site: change_of(self.net, site, clean, baseline, silent, self.parts[site]) for site in self.sites[:-1]
            }
            shape = *clean["embed"].shape[:-1], self.net.spec.d_model
            streams = clean["embed"].new_empty(sum(self.count[site] for site in self.few), *shape)
            for site, out in zip(self.few, streams.split([self.count[s] for s in self.few]), strict=True):
                sources.pop(site).write_into(out)
            patterns = {site: baseline[pattern_of(site)] - clean[pattern_of(site)] for site in self.served}
            return Change(streams, sources, patterns)

    def all_streams(self, change: Change) -> Tensor:
        """Change of the write of every source, many-node sites too: [sources, batch, time, d_model]."""
        return torch.cat(list(self.stream_blocks(change, self.sites[:-1])))

    def stream_blocks(self, change: Change, sites: Collection[str]) -> Iterator[Tensor]:
        """Changes of the writes of all nodes of some sites, in order: [m, batch, time, d_model].

        Those of many-node sites are made block by block, each of at most `BLOCK_BYTES`.
        """
        few = dict(zip(self.few, change.streams.split([self.count[s] for s in self.few]), strict=True))
        for site in self.sites[:-1]:
            if site not in sites:
                continue
            if site in few:
                yield few[site]
                continue
            source = change.sources[site]
            yield from map(source.writes, self.node_blocks(site, source.change.shape[:-1].numel()))

    def node_blocks(self, site: str, tokens: int) -> tuple[Tensor, ...]:
        """Nodes of a site in runs whose streams at so many tokens take at most `BLOCK_BYTES`."""
        size = tokens * self.net.spec.d_model * self.net.dtype.itemsize
        return torch.arange(self.count[site], device=self.net.device).split(max(1, BLOCK_BYTES // size))

    # ------------------------------------------------------------ scores

    def scores(self, change: Change, result: PassResult, batch: Batch, *, keep: bool = False) -> Tensor:
        """Scores of every edge in canonical order: [batch, edges], or [1, edges] (see `per_example`)."""
        gradients, at_units = self._gradients(result.tape, result.metric.sum(), keep)
        columns: list[Tensor] = []
        with torch.no_grad():
            for site in self.sites[1:]:
                columns += self._columns(site, change, result, gradients.pop(site), at_units, batch)
        self._memory = None  # the next pass needs it for its tape
        return torch.cat(columns, 1)

    def _columns(
        self,
        site: str,
        change: Change,
        result: PassResult,
        gradient: Mapping[str, Tensor],
        at_units: Units,
        batch: Batch,
    ) -> list[Tensor]:
        """Edges into a site, behind those into its patterns if they are nodes, each [batch or 1, edges]."""
        if STREAM in gradient:
            return [self._into_whole(site, change, gradient[STREAM], batch)]
        reading: Reading = result.tape.readings[site]
        if site in self.served:
            return self._into_fine_attention(site, change, reading, gradient, at_units[site], batch)
        block = self._into(site, change, self._reads(site, reading, gradient), reading, batch)
        return [block.transpose(1, 2).flatten(1)]

    @staticmethod
    def _gradients(tape: Tape, total: Tensor, keep: bool) -> tuple[dict[str, dict[str, Tensor]], Units]:
        """Gradient of `total` at every pre-activation (site -> channel -> tensor) and at the tape's units.

        Sites with a stream of their own on the tape have the gradient there instead, as channel `STREAM`.
        """
        divided = [(s, reading) for s, reading in tape.readings.items() if s not in tape.streams]
        keys = [(site, channel) for site, reading in divided for channel in reading.pre]
        inputs = [tape.readings[s].pre[c] for s, c in keys]
        keys += [(site, STREAM) for site in tape.streams]
        inputs += [*tape.streams.values(), *tape.units.values()]
        values = torch.autograd.grad(total, inputs, retain_graph=keep)
        out: dict[str, dict[str, Tensor]] = {}
        for (site, channel), value in zip(keys, values, strict=False):
            out.setdefault(site, {})[channel] = value
        return out, dict(zip(tape.units, values[len(keys) :], strict=True))

    def _reads(self, site: str, reading: Reading, gradient: Mapping[str, Tensor]) -> list[list[Destination]]:
        """Destinations of a site, grouped by the graph's channels: those of a group are added up."""
        parts = self.parts[site] if site != "logits" else _whole(gradient[""].shape[-1])
        found = destinations(self.net, site, reading, gradient, dict.fromkeys(gradient, parts))
        return [[one] for one in found] if self.split_qkv and site.startswith("attn") else [found]

    def _into_whole(self, site: str, change: Change, pulled: Tensor, batch: Batch) -> Tensor:
        """[batch or 1, sources] of the edges into a site that is one node, from the gradient at its stream."""
        if site == "logits":
            assert batch.positions is not None
            change, pulled = at_positions(change, batch.positions), pulled[:, None]
        sources = [s for s in self.net.architecture.reads[site] if s in self.parts]
        return self._joined(self._into_few(pulled[None], change, sources), sources).flatten(1)

    def _into(
        self, site: str, change: Change, reads: list[list[Destination]], reading: Reading, batch: Batch
    ) -> Tensor:
        """[batch or 1, channels, nodes, sources] of the edges into the nodes of a site."""
        project = self._projection(reading)
        if site == "logits":
            assert batch.positions is not None
            change = at_positions(change, batch.positions)
            project = replace(project, xhat=None if project.xhat is None else project.xhat[:, None])
            reads = [[replace(one, gradient=one.gradient[:, None]) for one in group] for group in reads]
        sources = [s for s in self.net.architecture.reads[site] if s in self.parts]
        if is_few(reads[0][0].parts):
            blocks = self._into_few(self._pulled(reads, project), change, sources)
            return self._joined(blocks, sources).unflatten(1, (len(reads), -1))
        groups = [self._joined(self._into_many(group, change, project, sources), sources) for group in reads]
        return torch.stack(groups, 1)

    def _pulled(self, reads: list[list[Destination]], project: Projection) -> Tensor:
        """Gradients of all groups and nodes at the stream: [groups · nodes, batch, time, d_model].

        They lie in memory that the next site uses again.
        """
        first, d_model = reads[0][0], self.net.spec.d_model
        nodes, shape = len(first.parts), first.gradient.shape[:-1]
        size = len(reads) * nodes * shape.numel() * d_model
        if self._memory is None or self._memory.numel() < size or self._memory.dtype != first.gradient.dtype:
            self._memory = first.gradient.new_empty(size)
        out = self._memory[:size].view(len(reads) * nodes, *shape, d_model)
        for group, block in zip(reads, out.split(nodes), strict=True):
            for k, one in enumerate(group):
                one.pull_into(block, add=k > 0)
            if group[0].gain is not None:
                block *= group[0].gain
            project.apply_(block)
        return out

    def _projection(self, reading: Reading) -> Projection:
        return projection(self.net, reading)

    def _joined(self, blocks: Iterator[tuple[str, Tensor]], sources: list[str]) -> Tensor:
        """Blocks [batch, nodes, sources] of few-node and many-node sites side by side, in the order of sources."""
        found = {}
        for name, block in blocks:
            if not self.per_example and len(block) > 1:
                block = block.sum(0, keepdim=True)
            if name:
                found[name] = block
            else:
                few = [s for s in self.few if s in sources]
                found |= dict(zip(few, block.split([self.count[s] for s in few], -1), strict=True))
        return torch.cat([found[s] for s in sources], -1)

    def _streams(self, change: Change, sources: list[str]) -> Tensor:
        """Streams of the few-node sources among these, which come first in the order of sites."""
        return change.streams[: sum(self.count[s] for s in self.few if s in sources)]

    def _into_few(self, pulled: Tensor, change: Change, sources: list[str]) -> Iterator[tuple[str, Tensor]]:
        """Blocks [batch, nodes, sources] of all few-node sources at once (named ""), then of each many-node source.

        `pulled`: gradients at the stream, [nodes, batch, time, d_model].
        """
        yield "", streams_with_streams(self._streams(change, sources), pulled)
        for name in sources:
            if name not in self.few:
                yield name, units_with_streams(change.sources[name], pulled)

    def _into_many(
        self, group: list[Destination], change: Change, project: Projection, sources: list[str]
    ) -> Iterator[tuple[str, Tensor]]:
        projected = project(self._streams(change, sources))
        yield "", torch.stack([streams_with_units(projected, one) for one in group]).sum(0)
        for name in sources:
            if name not in self.few:
                blocks = [units_with_units(change.sources[name], one, project) for one in group]
                yield name, torch.stack(blocks).sum(0)[None]

    # ------------------------------------------------------------ attention finer than heads

    def _into_fine_attention(
        self,
        site: str,
        change: Change,
        reading: Reading,
        gradient: Mapping[str, Tensor],
        at_units: Tensor,
        batch: Batch,
    ) -> list[Tensor]:
        """Edges into the patterns of a site, then into its parts, each [batch or 1, edges]."""
        parts = {"q": self.heads, "k": self.heads, "v": self.parts[site]}
        q, k, v = destinations(self.net, site, reading, gradient, parts)
        patterns = self._into(site, change, [[q], [k]] if self.split_qkv else [[q, k]], reading, batch)
        values = self._into(site, change, [[v]], reading, batch)[:, 0]
        both = self.beside_patterns(site, self._from_patterns(site, change, reading, at_units, batch), values)
        return [patterns.transpose(1, 2).flatten(1), both]

    def beside_patterns(self, site: str, patterns: Tensor, values: Tensor) -> Tensor:
        """Edges into parts [batch, edges] from those of all patterns [batch, parts, heads], of which only those that
        serve a part are edges, and from those by way of values [batch, parts, sources]."""
        served = self.served[site]
        keep = torch.cat([served, served.new_ones(len(served), values.shape[-1])], 1)
        return torch.cat([patterns, values], -1)[:, keep]

    def _from_patterns(self, site: str, change: Change, reading: Reading, at_units: Tensor, batch: Batch) -> Tensor:
        """[batch or 1, parts, heads]: change of each pattern times the gradient at it through each part's units."""
        layer = int(site.split(".")[1])
        v = self.net.values(layer, reading.pre["v"])
        moved = self.net.mix(change.patterns[site], v)
        effect = (at_units * moved).sum(1)
        if not self.per_example:
            effect = effect.sum(0, keepdim=True)
        by_head = effect.unflatten(-1, (self.net.spec.n_heads, -1))
        rows = [self.parts[site].sums(_only(by_head, h).flatten(-2)) for h in range(self.net.spec.n_heads)]
        return torch.stack(rows, -1)


def _only(by_head: Tensor, head: int) -> Tensor:
    out = torch.zeros_like(by_head)
    out[:, head] = by_head[:, head]
    return out


def _whole(n_units: int) -> Parts:
    return Parts([torch.arange(n_units)], n_units, n_units)


def at_positions(change: Change, positions: Tensor) -> Change:
    """The change at the scored position alone, with a time axis of one."""
    rows = torch.arange(len(positions), device=positions.device)
    sources = {
        site: replace(source, change=source.change[rows, positions][:, None]) for site, source in change.sources.items()
    }
    return Change(change.streams[:, rows, positions][:, :, None], sources, {})
