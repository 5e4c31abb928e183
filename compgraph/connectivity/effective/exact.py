"""Exact effect of every edge: the mean metric with that one edge ablated, minus the mean clean metric.

No gradients: for the edge s -> d the stream that d reads is patched by the change of s's write, d computes, and
the pass goes on behind d's site. Edges into one site share the clean pass up to it, and are run as one batch.
Cost: an edge into the site at depth x of the network costs about (1 - x) forward passes, a third on average.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from compgraph.ablation.baselines import Baseline, silent_sites
from compgraph.ablation.chain_runner import ChainRunner
from compgraph.ablation.circuits import CircuitMasks
from compgraph.connectivity.effective.setting import Setting
from compgraph.connectivity.effective.streams import StreamScorer
from compgraph.connectivity.effective.tally import EdgeTally
from compgraph.connectivity.effective.walk import Step, walk
from compgraph.data.batches import Batch, batches
from compgraph.errors import ModelError
from compgraph.graph import ComputationalGraph
from compgraph.metrics import get_metric, needs_reference
from compgraph.models.sequential import Sequential
from compgraph.models.tape import Reading
from compgraph.models.transformer import Transformer
from compgraph.models.writes import check_heads
from compgraph.partition import Partition
from compgraph.progress import progress

MEMORY_PER_STEP = 2**28
"""Bytes that the streams of the edges run at once may take."""


def compute(setting: Setting) -> ComputationalGraph:
    """See `compgraph.effective_connectivity`; any metric will do, differentiable or not."""
    net, pairs = setting.net, setting.pairs
    get_metric(setting.metric)
    tally = EdgeTally(setting)
    size = setting.batch_size or min(pairs.n, 64)
    steps = tally.n_edges * -(-pairs.n // size)
    with torch.no_grad(), progress("exact", total=steps, unit="edges") as bar:
        for batch in batches(net, pairs, size):
            start = 0
            for effects in _effects(setting, batch):
                tally.add(effects.T.double().cpu().numpy(), batch.rows, start)
                start += len(effects)
                bar.advance(len(effects))
    return tally.graph(setting.about("exact"))


def _effects(setting: Setting, batch: Batch) -> Iterator[Tensor]:
    """Change of the metric by every edge, in canonical order, as blocks [edges, batch]."""
    net = setting.net
    clean = net.run(batch.clean, batch.mask, positions=batch.positions).logits
    targets = replace(batch.targets, reference=clean) if needs_reference(setting.metric) else batch.targets
    measure = get_metric(setting.metric)
    before = measure(clean, targets)

    def change(logits: Tensor) -> Tensor:
        """[edges, batch, classes] -> [edges, batch]."""
        return torch.stack([measure(one, targets) for one in logits]) - before

    if isinstance(net, Transformer):
        for logits in TransformerEdges(net, setting.partition, setting.split_qkv, batch, setting.baseline):
            yield change(logits)
    elif isinstance(net, Sequential):
        for logits in _chain_edges(net, setting.partition, batch, setting.baseline):
            yield change(logits)
    else:
        raise ModelError(f"exact effects are not defined for {type(net).__name__}")


def _chain_edges(net: Sequential, partition: Partition, batch: Batch, baseline: Baseline) -> Iterator[Tensor]:
    """The chain without each edge in turn: logits [1, batch, classes]."""
    frame, runner = CircuitMasks(net, partition, split_qkv=True), ChainRunner(net, partition)
    base = runner.baseline(batch, baseline)
    for edge in range(frame.n_edges):
        mask = np.ones(frame.n_edges, bool)
        mask[edge] = False
        yield runner.run(base, frame.kept(mask))[None]


class TransformerEdges:
    """Iterates over the edges of a transformer in canonical order: logits [edges, batch, vocabulary] without each.

    All edges of one destination and channel are run as one batch (or a few, to bound memory).
    """

    def __init__(
        self, net: Transformer, partition: Partition, split_qkv: bool, batch: Batch, baseline: Baseline
    ) -> None:
        self.net, self.batch, self.split_qkv = net, batch, split_qkv
        check_heads(net, partition)
        self.scorer = StreamScorer(net, partition, split_qkv)
        sources = self.scorer.sources
        units = baseline.units(net, batch, sources)
        clean = net.run(batch.clean, batch.mask, capture=sources, positions=batch.positions).units
        change = self.scorer.change(clean, units, silent_sites(partition, baseline))
        self.changes = self.scorer.all_streams(change)
        self.context = net.context(batch.clean, batch.mask)
        streams = 8 * batch.clean.numel() * net.spec.d_model * net.weights.embedding.element_size()
        self.chunk = max(1, MEMORY_PER_STEP // streams)

    def __iter__(self) -> Iterator[Tensor]:
        for step in walk(self.net, self.batch, self.context):
            n = sum(self.scorer.count[s] for s in self.net.architecture.reads[step.site])
            if step.site == "logits":
                at = torch.arange(len(self.batch), device=self.changes.device)
                x = step.stream + self.changes[:n, at, self.batch.positions]
                yield self.net.logits(self.net.read_logits(x).pre[""])
                continue
            parts = self.scorer.parts[step.site]
            for index in parts.index:
                for channels in self._channels(step.site):
                    for changes in self.changes[:n].split(self.chunk):
                        yield self._without(step, index, channels, changes)

    def _channels(self, site: str) -> tuple[tuple[str, ...], ...]:
        if not site.startswith("attn"):
            return (("",),)
        return (("q",), ("k",), ("v",)) if self.split_qkv else (("q", "k", "v"),)

    def _without(self, step: Step, part: Tensor, channels: tuple[str, ...], changes: Tensor) -> Tensor:
        """Logits when one part reads the stream changed in each of several ways: [edges, batch, vocabulary]."""
        edges = len(changes)
        stream = (step.stream + changes).flatten(0, 1)
        read = self._attention if step.site.startswith("attn") else self._mlp
        values = read(step, part, channels, stream, edges)
        after = self._after(step, part, values, edges)
        assert step.before is not None and self.batch.positions is not None
        logits = self.net.resume(
            step.site,
            after,
            step.before.repeat(edges, 1, 1),
            self.context.repeat(edges),
            self.batch.positions.repeat(edges),
        )
        return logits.unflatten(0, (edges, -1))

    def _attention(self, step: Step, part: Tensor, channels: tuple[str, ...], stream: Tensor, edges: int) -> Tensor:
        """Units of the part's heads: [edges · batch, time, units of the part]."""
        layer = int(step.site.split(".")[1])
        block = self.net.weights.blocks[layer]
        heads = torch.unique(part // self.net.spec.d_head)
        y = self.net.gain(self.net.normalise(stream)[0], block.attn_norm)
        pre = {}
        for channel, reader in (("q", block.w_q), ("k", block.w_k), ("v", block.w_v)):
            if channel in channels:
                pre[channel] = self.net.project(y, reader[heads * len(reader) // self.net.spec.n_heads])
            else:
                pre[channel] = step.reading.pre[channel][:, :, heads].repeat(edges, 1, 1, 1)
        return self.net.attend(layer, pre, self.context.repeat(edges), heads)

    def _mlp(self, step: Step, part: Tensor, channels: tuple[str, ...], stream: Tensor, edges: int) -> Tensor:
        """Units of the part's neurons: [edges · batch, time, units of the part]."""
        layer = int(step.site.split(".")[1])
        return self.net.mlp_units(layer, self.net.read_mlp(layer, stream).pre)[..., part]

    def _after(self, step: Step, part: Tensor, values: Tensor, edges: int) -> Tensor:
        """The stream behind the site when the part's units are these."""
        assert step.units is not None and step.after is not None
        rows, _, post = self.net.decoder(step.site)
        if post is None:
            change = (values.unflatten(0, (edges, -1)) - step.units[..., part]) @ rows[part]
            return (step.after + change).flatten(0, 1)
        units = step.units.repeat(edges, 1, 1)
        units[..., part] = values
        old = self.net.write(step.site, step.units, Reading(step.units, None, {}))
        new = self.net.write(step.site, units, Reading(units, None, {}))
        return ((step.after - old) + new.unflatten(0, (edges, -1))).flatten(0, 1)
