"""Edge ablation at attention sites whose parts cut through heads: patterns are nodes of their own.

The pattern of a head is made from q and k, each read from a stream of its own; a part reads its values from its
own stream and, per head, mixes them by the current pattern where the edge from it is kept, else by the baseline's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from compgraph.ablation.streams import Base, Streams, blended, normed
from compgraph.architecture import Site
from compgraph.models.tape import Reading
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition
from compgraph.parts import Parts
from compgraph.patterns import pattern_of


class FineAttention:
    """One attention site with patterns as nodes.

    Parameters
    ----------
    refined
        The partition with pattern sites.
    """

    def __init__(self, net: Transformer, site: Site, refined: Partition) -> None:
        self.net, self.name = net, site.name
        self.layer = int(site.name.split(".")[1])
        labels = refined.labels[site.name]
        self.parts = Parts.from_labels(labels, refined.n_parts(site.name), net.device)
        self.labels = torch.from_numpy(labels.astype("int64")).to(net.device)
        self.head = torch.arange(site.n_units, device=net.device) // net.spec.d_head
        self.patterns = refined.node_slice(pattern_of(site.name))

    def units(self, reading: Reading, base: Base, pattern: Streams, values: Streams, through: Tensor) -> Tensor:
        """Units [batch, time, n_units].

        Parameters
        ----------
        reading
            Of the site in the baseline run.
        pattern, values
            What the patterns and the parts read.
        through
            bool [parts, heads]: kept edges from patterns to parts; or their weights.
        """
        v = self.net.values(self.layer, self._values(reading, values))
        mixed = self.mixed(base.units[pattern_of(self.name)], self._pattern(reading, base, pattern), v, through)
        return torch.where(self.labels >= 0, mixed, base.units[self.name])

    def mixed(self, old: Tensor, new: Tensor, v: Tensor, through: Tensor) -> Tensor:
        """Values mixed by the current pattern where a part keeps the edge from it, else by the baseline's."""
        kept = through[self.labels.clamp_min(0), self.head] * (self.labels >= 0)
        return blended(kept, self.net.mix(new, v), self.net.mix(old, v))

    def _pattern(self, reading: Reading, base: Base, streams: Streams) -> Tensor:
        """Current patterns [batch, heads, query, key]."""
        block, pre = self.net.weights.blocks[self.layer], dict(reading.pre)
        for channel, (key, reader) in enumerate((("q", block.w_q), ("k", block.w_k))):
            heads = streams.active[channel].nonzero().flatten()
            if len(heads) == 0:
                continue
            y = self.net.gain(normed(self.net, streams.of(channel), streams.scale), block.attn_norm)
            read = torch.bmm(y.flatten(1, 2), reader[heads * len(reader) // self.net.spec.n_heads])
            pre[key] = pre[key].clone()
            pre[key][:, :, heads] = read.unflatten(1, y.shape[1:3]).permute(1, 2, 0, 3)
        q, k, _ = self.net.rotated(self.layer, pre, base.context)
        return self.net.pattern(self.layer, q, k, base.context)

    def _values(self, reading: Reading, streams: Streams) -> Tensor:
        """Current raw values [batch, time, heads, d_head]."""
        block, spec = self.net.weights.blocks[self.layer], self.net.spec
        out = reading.pre["v"].flatten(-2)
        parts = streams.active[0].nonzero().flatten()
        if len(parts) == 0:
            return out.unflatten(-1, (spec.n_heads, spec.d_head))
        y = self.net.gain(normed(self.net, streams.of(0), streams.scale), block.attn_norm)
        columns = self.net.per_query_head(block.w_v.permute(1, 0, 2)).flatten(-2)
        index = [self.parts.index[part] for part in parts.tolist()]
        read = [one @ columns[:, own] for one, own in zip(y, index, strict=True)]
        return out.index_copy(-1, torch.cat(index), torch.cat(read, -1)).unflatten(-1, (spec.n_heads, spec.d_head))
