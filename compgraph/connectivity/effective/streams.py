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

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from compgraph.connectivity.effective.endpoints import Destination, Projection, Source, destinations, projection
from compgraph.connectivity.effective.gradients import STREAM, Gradients, Layers, gradients
from compgraph.connectivity.effective.passes import Edit, PassResult
from compgraph.connectivity.effective.products import (
    is_few,
    streams_with_streams,
    streams_with_units,
    units_with_streams,
    units_with_units,
)
from compgraph.connectivity.effective.stream_sources import BLOCK_BYTES, Change, StreamSources
from compgraph.data.batches import Batch
from compgraph.metrics import Metric, Targets
from compgraph.models.tape import Reading, Tape
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition
from compgraph.parts import Parts


class StreamScorer(StreamSources):
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

    from_streams = True
    """Whether sites that are one destination are scored from autograd's gradient at the stream that they read, without
    a product with their readers; else all gradients are those at pre-activations."""

    def __init__(self, net: Transformer, partition: Partition, split_qkv: bool, recompute: bool = False) -> None:
        super().__init__(net, partition, recompute)
        self.split_qkv = split_qkv
        many = [site for site in self.sites[1:-1] if site not in self.few]
        self.per_example = len(many) < 2
        self.whole = [site for site in self.sites[1:] if self.from_streams and self._is_whole(site)]
        self._memory: Tensor | None = None

    def _is_whole(self, site: str) -> bool:
        """Whether a site is one destination, so that autograd's gradient at its stream is all that is needed."""
        if site == "logits":
            return True
        return self.parts[site].is_whole and not (site.startswith("attn") and self.split_qkv)

    @property
    def differentiated(self) -> list[str]:
        """Sites at whose units (or patterns) gradients are wanted too."""
        return list(self.served)

    def bytes_per_example(self, pairs: Any) -> int:
        """Writes of few-node sites, units of the others, and the gradients of one site's nodes.

        With recomputation what the passes keep of sources, streams at borders, and activations of one layer.
        """
        spec, time = self.net.spec, int(pairs.clean.shape[1])
        size = time * self.net.weights.embedding.element_size()
        if self.recompute:
            kept = sum(self.parts[s].n_units if self.kept(s) == s else spec.d_model for s in self.sites[:-1])
            layer = 16 * spec.d_model + 6 * self.parts[self.sites[-2]].n_units + 4 * spec.n_heads * time
            return size * (3 * kept + (spec.n_layers + 1) * spec.d_model + layer)
        channels = 3 if self.split_qkv else 1
        widest = max((self.count[s] for s in self.few), default=0)
        streams = (sum(self.count[s] for s in self.few) + channels * widest) * spec.d_model
        return size * (streams + 4 * sum(self.parts[s].n_units for s in self.sites[:-1]))

    def run(self, batch: Batch, edit: Mapping[str, Edit], metric: Metric, targets: Targets) -> PassResult:
        """Forward pass with a tape, on which `differentiated` units stay differentiable."""
        wanted = self.differentiated
        if self.recompute:
            layers = Layers.run(self.net, batch, edit, self.sources, self.whole, wanted)
            return PassResult(layers.units, metric(layers.logits, targets), layers)
        tape, capture = Tape(whole=self.whole), {*self.sources, *wanted}
        out = self.net.run(batch.clean, batch.mask, capture=capture, positions=batch.positions, edit=edit, tape=tape)
        tape.units = {name: out.units[name] for name in wanted}
        units = {name: out.units[name].detach() for name in self.sources}
        return PassResult(units, metric(out.logits, targets), tape)

    def steps_back(self, result: PassResult, *, keep: bool = False) -> Iterator[Gradients]:
        """Gradients of a pass: of all layers at once, or a layer at a time."""
        tape: Tape | Layers = result.tape
        if isinstance(tape, Layers):
            yield from tape.back(result.metric.sum(), keep=keep)
        else:
            yield gradients(tape, result.metric.sum(), result.units, keep=keep)

    # ------------------------------------------------------------ scores

    def scores(self, change: Change, result: PassResult, batch: Batch, *, keep: bool = False) -> Tensor:
        """Scores of every edge in canonical order: [batch, edges], or [1, edges] (see `per_example`)."""
        columns: dict[str, list[Tensor]] = {}
        for step in self.steps_back(result, keep=keep):
            with torch.no_grad():
                for site in list(step.at_reads):
                    columns[site] = self._columns(site, change, step, batch)
                    del step.at_reads[site]
            del step  # a layer's activations, before the next one is run
        self._memory = None  # the next pass needs it for its tape
        return torch.cat([column for site in self.sites[1:] for column in columns[site]], 1)

    def _columns(self, site: str, change: Change, step: Gradients, batch: Batch) -> list[Tensor]:
        """Edges into a site, behind those into its patterns if they are nodes, each [batch or 1, edges]."""
        gradient = step.at_reads[site]
        if STREAM in gradient:
            return [self._into_whole(site, change, gradient[STREAM], batch)]
        reading: Reading = step.tape.readings[site]
        if site in self.served:
            return self._into_fine_attention(site, change, reading, gradient, step.at_units[site], batch)
        block = self._into(site, change, self._reads(site, reading, gradient), reading, batch)
        return [block.transpose(1, 2).flatten(1)]

    def _reads(self, site: str, reading: Reading, gradient: Mapping[str, Tensor]) -> list[list[Destination]]:
        """Destinations of a site, grouped by the graph's channels: those of a group are added up."""
        parts = self.parts[site] if site != "logits" else Parts.whole(gradient[""].shape[-1], gradient[""].device)
        found = destinations(self.net, site, reading, gradient, dict.fromkeys(gradient, parts))
        return [[one] for one in found] if self.split_qkv and site.startswith("attn") else [found]

    def _into_whole(self, site: str, change: Change, pulled: Tensor, batch: Batch) -> Tensor:
        """[batch or 1, sources] of the edges into a site that is one node, from the gradient at its stream."""
        if site == "logits":
            assert batch.positions is not None
            change, pulled = change.at(batch.positions), pulled[:, None]
        sources = [s for s in self.net.architecture.reads[site] if s in self.parts]
        blocks = [
            self._joined(self._into_few(pulled[None, :, cut], change.between(cut), sources), sources)
            for cut in self._cuts(1, pulled)
        ]
        return _total(blocks).flatten(1)

    def _into(
        self, site: str, change: Change, reads: list[list[Destination]], reading: Reading, batch: Batch
    ) -> Tensor:
        """[batch or 1, channels, nodes, sources] of the edges into the nodes of a site."""
        project = self._projection(reading)
        if site == "logits":
            assert batch.positions is not None
            change = change.at(batch.positions)
            project = replace(project, xhat=None if project.xhat is None else project.xhat[:, None])
            reads = [[replace(one, gradient=one.gradient[:, None]) for one in group] for group in reads]
        sources = [s for s in self.net.architecture.reads[site] if s in self.parts]
        first = reads[0][0]
        if not first.by_position:
            return self._into_positions(reads, change, project, sources)
        nodes = len(reads) * len(first.parts) if is_few(first.parts) else 0
        return _total(
            [
                self._into_positions(
                    [[replace(one, gradient=one.gradient[:, cut]) for one in group] for group in reads],
                    change.between(cut),
                    project.between(cut),
                    sources,
                )
                for cut in self._cuts(nodes, first.gradient)
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

    def _cuts(self, nodes: int, like: Tensor) -> list[slice]:
        """Positions of `like` [batch, time, …] to score at once; all where streams are carried anyway."""
        batch, time = like.shape[:2]
        if not self.recompute:
            return [slice(None)]
        streams = nodes + 2 * max((self.count[site] for site in self.few), default=0)
        at_once = max(1, BLOCK_BYTES // (max(1, streams) * batch * self.net.spec.d_model * like.element_size()))
        return [slice(start, start + at_once) for start in range(0, time, at_once)]

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
        """Blocks [batch, nodes, sources] of sites (those carried as streams at once, named "") side by side, in the
        order of sources."""
        found = {}
        for name, block in blocks:
            if not self.per_example and len(block) > 1:
                block = block.sum(0, keepdim=True)
            if name:
                found[name] = block
            else:
                carried = [s for s in self.carried if s in sources]
                found |= dict(zip(carried, block.split([self.count[s] for s in carried], -1), strict=True))
        return torch.cat([found[s] for s in sources], -1)

    def _into_few(self, pulled: Tensor, change: Change, sources: list[str]) -> Iterator[tuple[str, Tensor]]:
        """Blocks [batch, nodes, sources] of few-node sources (see `StreamSources.streams`), then of each many-node one.

        `pulled`: gradients at the stream, [nodes, batch, time, d_model].
        """
        for name, streams in self.streams(change, sources):
            yield name, streams_with_streams(streams, pulled)
        for name in sources:
            if name not in self.few:
                yield name, self._many_into_few(change.sources[name], pulled)

    def _many_into_few(self, source: Source, pulled: Tensor) -> Tensor:
        return units_with_streams(source, pulled)

    def _into_many(
        self, group: list[Destination], change: Change, project: Projection, sources: list[str]
    ) -> Iterator[tuple[str, Tensor]]:
        for name, streams in self.streams(change, sources):
            projected = project(streams)
            yield name, _total([streams_with_units(projected, one) for one in group])
        for name in sources:
            if name not in self.few:
                yield name, _total([units_with_units(change.sources[name], one, project) for one in group])[None]

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


def _total(blocks: list[Tensor]) -> Tensor:
    return blocks[0] if len(blocks) == 1 else torch.stack(blocks).sum(0)
