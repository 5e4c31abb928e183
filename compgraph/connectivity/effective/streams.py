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
from compgraph.connectivity.effective.gradients import STREAM, Gradients, Layers, gradients
from compgraph.connectivity.effective.passes import Edit, PassResult
from compgraph.connectivity.effective.products import (
    is_few,
    source_with_streams,
    source_with_units,
    streams_with_streams,
    streams_with_units,
)
from compgraph.data.batches import Batch
from compgraph.errors import ModelError
from compgraph.metrics import Metric, Targets
from compgraph.models.tape import Reading, Tape
from compgraph.models.transformer import Transformer
from compgraph.models.writes import check_writes
from compgraph.partition import Partition
from compgraph.parts import Parts
from compgraph.patterns import pattern_of, served_parts, splits_heads

MEMORY_PER_SLICE = 2**26
"""Bytes of the streams of one source and one destination site that are formed at once, where layers are recomputed."""


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
    recompute
        Whether a pass keeps the stream in front of every layer alone: each layer is run again on the way back, and
        the writes of sources are formed from their units for every site that reads them, some positions at a time.

    Attributes
    ----------
    per_example
        Whether scores are those of every example ([batch, edges]) or sums over the batch ([1, edges]), which
        is so where some edge joins two sites of many nodes each.
    """

    serves_features = False
    from_streams = True
    """Whether sites that are one destination are scored from autograd's gradient at the stream that they read, without
    a product with their readers; else all gradients are those at pre-activations."""

    def __init__(self, net: Transformer, partition: Partition, split_qkv: bool, recompute: bool = False) -> None:
        check_writes(net)
        if not self.serves_features and any(site.n_features for site in net.architecture.sites):
            raise ModelError("this option or method does not serve networks with dictionaries")
        self.net, self.split_qkv, self.recompute = net, split_qkv, recompute
        sites = net.architecture.node_sites
        self.sites = [site.name for site in sites]
        labels = partition.labels
        self.served = {
            site.name: torch.from_numpy(served_parts(site, partition)).to(net.device)
            for site in sites
            if site.kind == "attn" and splits_heads(site, labels[site.name])
        }
        self.parts = {s: Parts.from_labels(labels[s], partition.n_parts(s), net.device) for s in self.sites[:-1]}
        self.count = {site: len(parts) for site, parts in self.parts.items()}
        self.few = [site for site in self.sites[:-1] if is_few(self.parts[site])]
        self.carried = [] if recompute else self.few
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
        return self.parts[site].is_whole and not (site.startswith("attn") and self.split_qkv)

    def _kept(self, site: str) -> str:
        """What a pass must keep of a source: its units, or what it writes where that is shorter and one node's."""
        return f"{site}/write" if self.recompute and site != "embed" and self.parts[site].is_whole else site

    @property
    def sources(self) -> list[str]:
        """Sites whose units (or writes, and patterns) a pass must keep."""
        return [*map(self._kept, self.sites[:-1]), *(pattern_of(site) for site in self.served)]

    def bytes_per_example(self, pairs: Any) -> int:
        """Writes of few-node sites, units of the others, and the gradients of one site's nodes.

        With recomputation what the passes keep of sources, streams at borders, and activations of one layer.
        """
        if self.recompute:
            return self._bytes_recomputing(int(pairs.clean.shape[1]))
        channels = 3 if self.split_qkv else 1
        widest = max((self.count[s] for s in self.few), default=0)
        streams = (sum(self.count[s] for s in self.few) + channels * widest) * self.net.spec.d_model
        units = 4 * sum(self.parts[s].n_units for s in self.sites[:-1])
        return int((streams + units) * pairs.clean.shape[1] * self.net.weights.embedding.element_size())

    def run(self, batch: Batch, edit: Mapping[str, Edit], metric: Metric, targets: Targets) -> PassResult:
        """Forward pass with a tape; units of fine attention sites stay differentiable on it."""
        if self.recompute:
            layers = Layers.run(self.net, batch, edit, self.sources, self.whole, list(self.served))
            return PassResult(layers.units, metric(layers.logits, targets), layers)
        tape = Tape(whole=self.whole)
        out = self.net.run(
            batch.clean, batch.mask, capture=self.sources, positions=batch.positions, edit=edit, tape=tape
        )
        tape.units = {site: out.units[site] for site in self.served}
        units = {name: value.detach() for name, value in out.units.items()}
        return PassResult(units, metric(out.logits, targets), tape)

    def change(self, clean: Units, baseline: Units, silent: Collection[str] = ()) -> Change:
        """Change of every source's write."""
        with torch.no_grad():
            sources = {site: self._source(site, clean, baseline, silent) for site in self.sites[:-1]}
            shape = *clean["embed"].shape[:-1], self.net.spec.d_model
            streams = clean["embed"].new_empty(sum(self.count[site] for site in self.carried), *shape)
            for site, out in zip(self.carried, streams.split([self.count[s] for s in self.carried]), strict=True):
                sources.pop(site).write_into(out)
            patterns = {site: baseline[pattern_of(site)] - clean[pattern_of(site)] for site in self.served}
            return Change(streams, sources, patterns)

    def _source(self, site: str, clean: Units, baseline: Units, silent: Collection[str]) -> Source:
        kept = self._kept(site)
        if kept == site:
            return change_of(self.net, site, clean, baseline, silent, self.parts[site])
        change = baseline[kept] - clean[kept]
        return Source(site, change, None, None, _whole(change.shape[-1], change.device))

    def all_streams(self, change: Change) -> Tensor:
        """Change of the write of every source, many-node sites too: [sources, batch, time, d_model]."""
        few = dict(zip(self.carried, change.streams.split([self.count[s] for s in self.carried]), strict=True))
        return torch.cat([few[s] if s in few else change.sources[s].writes() for s in self.sites[:-1]])

    # ------------------------------------------------------------ scores

    def scores(self, change: Change, result: PassResult, batch: Batch, *, keep: bool = False) -> Tensor:
        """Scores of every edge in canonical order: [batch, edges], or [1, edges] (see `per_example`)."""
        columns: dict[str, list[Tensor]] = {}
        for step in self._steps(result, keep):
            with torch.no_grad():
                for site in list(step.at_reads):
                    columns[site] = self._columns(site, change, step, batch)
            del step  # a layer's activations, before the next one is run
        self._memory = None  # the next pass needs it for its tape
        return torch.cat([column for site in self.sites[1:] for column in columns[site]], 1)

    def _steps(self, result: PassResult, keep: bool) -> Iterator[Gradients]:
        """Gradients of the pass: of all layers at once, or a layer at a time."""
        tape: Tape | Layers = result.tape
        if isinstance(tape, Layers):
            yield from tape.back(result.metric.sum(), keep=keep)
        else:
            yield Gradients(tape, *self._gradients(tape, result.metric.sum(), keep))

    @staticmethod
    def _gradients(tape: Tape, total: Tensor, keep: bool) -> tuple[dict[str, dict[str, Tensor]], Units]:
        """Gradients of `total` at what sites read and at the tape's units (`Gradients`)."""
        found = gradients(tape, total, keep=keep)
        return found.at_reads, found.at_units

    def _columns(self, site: str, change: Change, step: Gradients, batch: Batch) -> list[Tensor]:
        """[batch or 1, edges] each: edges into a site, those into its patterns first."""
        gradient = step.at_reads.pop(site)
        if site in self.served:
            return self._into_fine_attention(site, change, step.tape, gradient, step.at_units[site])
        if STREAM in gradient:
            return [self._into_whole(site, change, gradient[STREAM], batch)]
        reading = step.tape.readings[site]
        block = self._into(site, change, self._reads(site, reading, gradient), reading, batch)
        return [block.transpose(1, 2).flatten(1)]

    def _reads(self, site: str, reading: Reading, gradient: Mapping[str, Tensor]) -> list[list[Destination]]:
        """Destinations of a site, grouped by the graph's channels: those of a group are added up."""
        parts = self.parts[site] if site != "logits" else _whole(gradient[""].shape[-1], gradient[""].device)
        found = destinations(self.net, site, reading, gradient, dict.fromkeys(gradient, parts))
        return [[one] for one in found] if self.split_qkv and site.startswith("attn") else [found]

    def _into_whole(self, site: str, change: Change, pulled: Tensor, batch: Batch) -> Tensor:
        """[batch or 1, sources] of the edges into a site that is one node, from the gradient at its stream."""
        if site == "logits":
            assert batch.positions is not None
            change, pulled = _at_positions(change, batch.positions), pulled[:, None]
        sources = [s for s in self.net.architecture.reads[site] if s in self.parts]
        blocks = [
            self._joined(self._into_few(pulled[None, :, cut], _between(change, cut), sources), sources)
            for cut in self._slices(1, pulled)
        ]
        return _total(blocks).flatten(1)

    def _into(
        self, site: str, change: Change, reads: list[list[Destination]], reading: Reading, batch: Batch | None
    ) -> Tensor:
        """[batch or 1, channels, nodes, sources] of the edges into the nodes of a site."""
        project = self._projection(reading)
        if site == "logits":
            assert batch is not None and batch.positions is not None
            change = _at_positions(change, batch.positions)
            project = replace(project, xhat=None if project.xhat is None else project.xhat[:, None])
            reads = [[replace(one, gradient=one.gradient[:, None]) for one in group] for group in reads]
        sources = [s for s in self.net.architecture.reads[site] if s in self.parts]
        first = reads[0][0]
        nodes = len(reads) * len(first.parts) if is_few(first.parts) else 0
        return _total(
            [
                self._into_positions(
                    [[replace(one, gradient=one.gradient[:, cut]) for one in group] for group in reads],
                    _between(change, cut),
                    replace(project, xhat=None if project.xhat is None else project.xhat[:, cut]),
                    sources,
                )
                for cut in self._slices(nodes, first.gradient)
            ]
        )

    def _into_positions(
        self, reads: list[list[Destination]], change: Change, project: Projection, sources: list[str]
    ) -> Tensor:
        """[batch or 1, channels, nodes, sources], of the positions that all of these are cut to."""
        if is_few(reads[0][0].parts):
            blocks = self._into_few(self._pulled(reads, project), change, sources)
            return self._joined(blocks, sources).unflatten(1, (len(reads), -1))
        groups = [self._joined(self._into_many(group, change, project, sources), sources) for group in reads]
        return torch.stack(groups, 1)

    def _slices(self, nodes: int, like: Tensor) -> list[slice]:
        """Positions of `like` [batch, time, …] to score at once; all where streams are carried anyway."""
        batch, time = like.shape[:2]
        if not self.recompute:
            return [slice(None)]
        streams = nodes + 2 * max((self.count[site] for site in self.few), default=0)
        at_once = max(1, MEMORY_PER_SLICE // (max(1, streams) * batch * self.net.spec.d_model * like.element_size()))
        return [slice(start, start + at_once) for start in range(0, time, at_once)]

    def _bytes_recomputing(self, time: int) -> int:
        spec = self.net.spec
        kept = sum(spec.d_model if self._kept(s) != s else self.parts[s].n_units for s in self.sites[:-1])
        layer = 16 * spec.d_model + 6 * self.parts[self.sites[-2]].n_units + 4 * spec.n_heads * time
        numbers = 3 * kept + (spec.n_layers + 1) * spec.d_model + layer
        return int(numbers * time * self.net.weights.embedding.element_size())

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
                few = [s for s in self.carried if s in sources]
                found |= dict(zip(few, block.split([self.count[s] for s in few], -1), strict=True))
        return torch.cat([found[s] for s in sources], -1)

    def _streams(self, change: Change, sources: list[str]) -> Tensor:
        """Streams of the few-node sources among these, which come first in the order of sites."""
        return change.streams[: sum(self.count[s] for s in self.carried if s in sources)]

    def _into_few(self, pulled: Tensor, change: Change, sources: list[str]) -> Iterator[tuple[str, Tensor]]:
        """Blocks [batch, nodes, sources] of all few-node sources at once (named ""), then of each many-node source.

        `pulled`: gradients at the stream, [nodes, batch, time, d_model].
        """
        if self.carried:
            yield "", streams_with_streams(self._streams(change, sources), pulled)
        for name in sources:
            if name not in self.carried:
                yield name, source_with_streams(change.sources[name], pulled)

    def _into_many(
        self, group: list[Destination], change: Change, project: Projection, sources: list[str]
    ) -> Iterator[tuple[str, Tensor]]:
        if self.carried:
            projected = project(self._streams(change, sources))
            yield "", _total([streams_with_units(projected, one) for one in group])
        for name in sources:
            if name not in self.carried:
                yield name, source_with_units(change.sources[name], group, project)

    # ------------------------------------------------------------ attention finer than heads

    def _into_fine_attention(
        self, site: str, change: Change, tape: Tape, gradient: Mapping[str, Tensor], at_units: Tensor
    ) -> list[Tensor]:
        """Edges into the patterns of a site, then into its parts, each [batch or 1, edges]."""
        reading = tape.readings[site]
        parts = {"q": self.heads, "k": self.heads, "v": self.parts[site]}
        q, k, v = destinations(self.net, site, reading, gradient, parts)
        patterns = self._into(site, change, [[q], [k]] if self.split_qkv else [[q, k]], reading, None)
        values = self._into(site, change, [[v]], reading, None)[:, 0]
        both = torch.cat([self._from_patterns(site, change, reading, at_units), values], -1)
        served = self.served[site]
        keep = torch.cat([served, served.new_ones(len(served), values.shape[-1])], 1)
        return [patterns.transpose(1, 2).flatten(1), both[:, keep]]

    def _from_patterns(self, site: str, change: Change, reading: Reading, at_units: Tensor) -> Tensor:
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


def _whole(n_units: int, device: torch.device) -> Parts:
    return Parts([torch.arange(n_units, device=device)], n_units, n_units)


def _total(blocks: list[Tensor]) -> Tensor:
    return blocks[0] if len(blocks) == 1 else torch.stack(blocks).sum(0)


def _between(change: Change, cut: slice) -> Change:
    """The change at some positions."""
    if cut == slice(None):
        return change
    sources = {site: replace(source, change=source.change[:, cut]) for site, source in change.sources.items()}
    return Change(change.streams[:, :, cut], sources, {})


def _at_positions(change: Change, positions: Tensor) -> Change:
    """The change at the scored position alone, with a time axis of one."""
    rows = torch.arange(len(positions), device=positions.device)
    sources = {
        site: replace(source, change=source.change[rows, positions][:, None]) for site, source in change.sources.items()
    }
    return Change(change.streams[:, rows, positions][:, :, None], sources, {})
