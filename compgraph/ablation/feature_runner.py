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
from compgraph.ablation.plan import SitePlan
from compgraph.ablation.stream_runner import StreamRunner
from compgraph.ablation.streams import Base, Streams, normed
from compgraph.dictionaries.attached import FeatureTransformer
from compgraph.models.spec import BlockWeights
from compgraph.models.tape import Reading
from compgraph.partition import Partition
from compgraph.patterns import pattern_of


class FeatureAttention(FineAttention):
    """An attention site divided into features, with patterns as nodes."""

    def units(self, reading: Reading, base: Base, pattern: Streams, values: Streams, through: Tensor) -> Tensor:
        """See `FineAttention.units`."""
        old, new = base.units[pattern_of(self.name)], self._pattern(reading, base, pattern)
        out = base.units[self.name].clone()
        active = values.active[0] | (through & pattern.active.any(0)).any(-1)
        for parts in groups(torch.cat([values.rows[0], through], 1), active):
            y = self.net.gain(normed(self.net, stream(values, parts[0]), values.scale), self._block.attn_norm)
            v = self.net.values(self.layer, self.net.project(y, self._block.w_v))
            mixed = self.net.mix(torch.where(through[parts[0]][:, None, None], new, old), v)
            own = torch.cat([self.parts.index[k] for k in parts])
            out[..., own] = self.net.represent(self.name, mixed)[..., own]
        return out

    @property
    def _block(self) -> BlockWeights:
        return self.net.weights.blocks[self.layer]


class FeatureRunner(StreamRunner):
    """Runs circuits of a transformer with dictionaries."""

    def __init__(self, net: FeatureTransformer, partition: Partition, norm_scale: str = "exact") -> None:
        self.dictionaries = frozenset(net.dictionaries)
        super().__init__(net, partition, norm_scale)
        for name in net.dictionaries:
            if name in self.fine:
                self.fine[name] = FeatureAttention(net, net.architecture.site(name), self.refined)

    def _has_heads(self, site: str) -> bool:
        return super()._has_heads(site) and site not in self.dictionaries

    def _kind(self, site: str) -> str:
        return "whole" if site in self.dictionaries else super()._kind(site)

    def _whole(self, site: SitePlan, state: int, base: Base, changes: Tensor) -> Tensor:
        name = site.shape.name
        if name in self.fine:
            return super()._whole(site, state, base, changes)
        streams = self._streams(name, site, state, base, changes)
        if name.startswith("attn."):
            return self._undivided(name, streams, base)
        layer, out = int(name.split(".")[1]), base.units[name].clone()
        block = self.net.weights.blocks[layer]
        assert block.mlp_norm is not None and block.w_in is not None
        readers = {"": block.w_in} | ({} if block.w_gate is None else {"gate": block.w_gate})
        for parts in groups(streams.rows[0], streams.active[0]):
            y = self.net.gain(normed(self.net, stream(streams, parts[0]), streams.scale), block.mlp_norm)
            hidden = self.net.mlp_units(layer, {key: y @ reader for key, reader in readers.items()})
            own = torch.cat([self.parts[name].index[k] for k in parts])
            out[..., own] = self.net.represent(name, hidden)[..., own]
        return out

    def _undivided(self, name: str, streams: Streams, base: Base) -> Tensor:
        """Units of an attention site that is one part with q, k and v streams of its own."""
        layer = int(name.split(".")[1])
        block, pre = self.net.weights.blocks[layer], dict(self._reading(name, base).pre)
        for channel, (key, reader) in enumerate((("q", block.w_q), ("k", block.w_k), ("v", block.w_v))):
            if streams.active[channel].any():
                y = self.net.gain(normed(self.net, streams.of(channel)[0], streams.scale), block.attn_norm)
                pre[key] = self.net.project(y, reader)
        units = self.net.represent(name, self.net.attend(layer, pre, base.context))
        dead = torch.from_numpy(self.partition.labels[name] < 0).to(units.device)
        return torch.where(dead, base.units[name], units)


def groups(kept: Tensor, active: Tensor) -> Iterator[list[int]]:
    """Active parts that keep the same edges, bool [parts, edges], together."""
    index = active.nonzero().flatten()
    if len(index) == 0:
        return
    some = torch.nn.functional.pad(kept[index], (1, 0))  # `unique` refuses rows without columns
    inverse = torch.unique(some, dim=0, return_inverse=True)[1]
    order = inverse.argsort(stable=True)
    for part in index[order].split(torch.bincount(inverse).tolist()):
        yield part.tolist()


def stream(streams: Streams, part: int) -> Tensor:
    """What one part reads through the only channel: [batch, time, d_model]."""
    row = streams.rows[0, part].to(streams.base.dtype)
    return streams.base + (row @ streams.changes.flatten(1)).unflatten(0, streams.base.shape)
