"""Edge ablation of transformers with dictionaries: features and errors read streams of their own.

A feature depends on everything that its site computes, so a part reads by running the whole site on its stream and
keeping its own features. Parts that keep the same edges share one such run; a circuit whose features all keep
different edges costs one run of the site for each.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from compgraph.ablation.fine_attention import FineAttention
from compgraph.ablation.stream_runner import StreamRunner
from compgraph.ablation.streams import Base, Streams
from compgraph.dictionaries.attached import FeatureTransformer
from compgraph.models.spec import BlockWeights
from compgraph.models.tape import Reading
from compgraph.partition import Partition
from compgraph.patterns import pattern_of, with_patterns


class FeatureAttention(FineAttention):
    """An attention site divided into features, with patterns as nodes."""

    def units(
        self, reading: Reading, base: Base, pattern: Streams, values: Streams, kept: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `FineAttention.units`."""
        keeps = kept[:, self.patterns]
        moved = pattern.active.any(0) | (not base.consistent)
        active = values.active | (keeps & moved).any(-1)
        old, new = base.units[pattern_of(self.name)], self._pattern(reading, base, pattern)
        out = base.units[self.name].clone()
        for parts in groups(torch.cat([values.rows[0], keeps], 1), active[0]):
            y = self.net.gain(self.net.normalise(stream(values, parts[0]))[0], self._block.attn_norm)
            v = self.net.values(self.layer, self.net.project(y, self._block.w_v))
            mixed = self.net.mix(torch.where(keeps[parts[0]][:, None, None], new, old), v)
            own = torch.cat([self.parts.index[k] for k in parts])
            out[..., own] = self.net.represent(self.name, mixed)[..., own]
        return out, active

    @property
    def _block(self) -> BlockWeights:
        return self.net.weights.blocks[self.layer]


class FeatureRunner(StreamRunner):
    """Runs circuits of a transformer with dictionaries."""

    def __init__(self, net: FeatureTransformer, partition: Partition) -> None:
        super().__init__(net, partition)
        self.dictionaries = frozenset(net.dictionaries)
        refined = with_patterns(net, partition)[1]
        for name in net.dictionaries:
            if name in self.fine:
                self.fine[name] = FeatureAttention(net, net.architecture.site(name), refined)
            elif name in self.heads_of:
                self.heads_of[name] = [torch.arange(net.spec.n_heads, device=net.device)]

    def _attention(self, name: str, base: Base, streams: Streams) -> Tensor:
        return self.net.represent(name, super()._attention(name, base, streams))

    def _mlp(self, name: str, base: Base, streams: Streams) -> Tensor:
        if name not in self.dictionaries:
            return super()._mlp(name, base, streams)
        layer, out = int(name.split(".")[1]), base.units[name].clone()
        for parts in groups(streams.rows[0], streams.active[0]):
            hidden = self.net.mlp_units(layer, self.net.read_mlp(layer, stream(streams, parts[0])).pre)
            own = torch.cat([self.parts[name].index[k] for k in parts])
            out[..., own] = self.net.represent(name, hidden)[..., own]
        return out


def groups(kept: Tensor, active: Tensor) -> Iterator[list[int]]:
    """Active parts that keep the same edges, bool [parts, edges], together."""
    index = active.nonzero().flatten()
    if len(index) == 0:
        return
    inverse = torch.unique(kept[index], dim=0, return_inverse=True)[1]
    order = inverse.argsort(stable=True)
    for part in index[order].split(torch.bincount(inverse).tolist()):
        yield part.tolist()


def stream(streams: Streams, part: int) -> Tensor:
    """What one part reads through the only channel: [batch, time, d_model]."""
    row = streams.rows[0, part].to(streams.base.dtype)
    return streams.base + (row @ streams.changes.flatten(1)).unflatten(0, streams.base.shape)
