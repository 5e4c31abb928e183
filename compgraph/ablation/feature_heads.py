"""Features at attention sites: what each reads through every head, mixed by the patterns, without a pass per feature.

A feature's pre-activation is linear in the values that it reads. With e its encoder (in space `write` times W_O), split
into heads, and x the stream that it reads, with inverse scale s,

    pre[t] = Σ_h Σ_t' P_h[t, t'] u_h[t'] + const,      u_h[t'] = <e_h, W_V γ x[t'] s[t'] + W_V β + b_V>

so a head is one number per token for a feature, not d_head of them. <e_h, W_V γ x> is that of the stream which all
rows start from, a product with all encoders at once, plus the changes of the kept sources times (W_dec γ W_V) e_h. P_h
is the current pattern where the edge from it is kept, else the baseline's.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from compgraph.ablation.feature_encoders import FeatureEncoder
from compgraph.ablation.masked_readers import Anchors, Reader, csr, formed, scales
from compgraph.ablation.plan import Ints
from compgraph.ablation.unit_plan import Row, Sparse, UnitSite
from compgraph.dictionaries.attached import FeatureTransformer

NUMBERS = 2**20
"""Numbers that some features read through all heads at all tokens; and in a table of what units write into heads."""


class FeatureHeads:
    """One attention site with a dictionary, for one batch and circuit.

    Parameters
    ----------
    labels
        Part of every unit.
    anchors
        Streams that the values are read from.
    old, new
        Patterns of the baseline run and current ones [batch, heads, query, key].
    """

    def __init__(
        self, net: FeatureTransformer, site: UnitSite, labels: Ints, anchors: Anchors, old: Tensor, new: Tensor
    ) -> None:
        self.net, self.site, self.labels, self.anchors, self.old, self.new = net, site, labels, anchors, old, new
        self.layer = int(site.name.split(".")[1])
        self.encoder = FeatureEncoder(net, site.name)
        block, self.heads = net.weights.blocks[self.layer], (net.spec.n_heads, net.spec.d_head)
        values = net.per_query_head(block.w_v.transpose(0, 1)).flatten(1)
        reader = Reader({"": values}, block.attn_norm, anchors.base.dtype)
        self.columns, self.bias = reader.columns[""], reader.bias[""]

    def units(self, before: Tensor) -> Tensor:
        """Units [batch, time, n_units], of which those that read nothing are as before."""
        out = before.flatten(0, 1).clone()
        reads = self.site.reads[0]
        for row in reads.formed:
            self._fill_whole(row, out)
        for rows in reads.sparse:
            direct = np.array([self.encoder.serves(one) for one in rows.readers])
            for k in np.flatnonzero(~direct).tolist():
                units = rows.units[rows.bounds[k] : rows.bounds[k + 1]]
                self._fill_whole(Row(units, rows.sign, rows.readers[k]), out)
            self._fill(rows, np.flatnonzero(direct), out)
        return out.unflatten(0, before.shape[:2])

    def _fill_whole(self, row: Row, out: Tensor) -> None:
        """Units of a row by running the site on its stream, once for all that keep the same edges from patterns."""
        stream = formed(row, self.anchors)
        scale = self.anchors.scale(stream)
        raw = stream @ self.columns * (scale[:, None] if isinstance(scale, Tensor) else scale)
        raw = (raw if self.bias is None else raw + self.bias).to(self.net.dtype)
        batch = (len(self.old), -1)
        v = self.net.values(self.layer, raw.unflatten(-1, self.heads).unflatten(0, batch))
        through, which = np.unique(self._through(row.readers), axis=0, return_inverse=True)
        for k, one in enumerate(through):
            own = torch.from_numpy(row.readers[which.reshape(-1) == k]).to(out.device)
            kept = torch.from_numpy(one).to(out.device)[:, None, None]
            z = self.net.mix(torch.where(kept, self.new, self.old), v)
            out[:, own] = self.net.represent(self.site.name, z).flatten(0, 1)[:, own]

    def _through(self, units: Ints) -> np.ndarray:
        """Which patterns units mix by are the current ones, bool [units, heads]."""
        found: np.ndarray = self.site.through[self.labels[units]]
        return found

    def _fill(self, rows: Sparse, chosen: Ints, out: Tensor) -> None:
        """Units of sparse rows of features."""
        if len(chosen) == 0:
            return
        scale = scales(rows, self.anchors)
        scale = scale if scale.dim() == 2 else scale.expand(len(rows), len(out))
        start = (self.anchors.stream(rows.sign) @ self.columns).unflatten(-1, self.heads).permute(1, 2, 0)
        zero = self.net.values(self.layer, torch.zeros(1, *self.heads, dtype=self.net.dtype, device=out.device))[0]
        constant = zero.to(start) if self.bias is None else zero.to(start) + self.bias.unflatten(-1, self.heads)
        for some in self._chunks(rows, chosen, len(out)):
            counts = np.array([len(rows.readers[k]) for k in some])
            columns, row = np.concatenate([rows.readers[k] for k in some]), np.repeat(some, counts)
            encoder = self.encoder.matrix(columns).to(start).unflatten(-1, self.heads).transpose(0, 1)
            read = torch.bmm(encoder, start) + rows.sign * self._moved(rows, row, encoder)
            read = read * scale[torch.from_numpy(row).to(out.device)]
            read = read + torch.einsum("hnd,hd->hn", encoder, constant)[..., None]
            pre = self._mixed(read.to(self.net.dtype), columns) + self.encoder.constant(columns)
            out[:, torch.from_numpy(columns).to(out.device)] = self.encoder.units(pre, columns)

    def _chunks(self, rows: Sparse, chosen: Ints, tokens: int) -> Iterator[Ints]:
        """Some rows at a time: few readers, and few units."""
        size = np.array([max(len(rows.readers[k]), 1) for k in chosen]) * self.heads[0] * tokens
        size = np.maximum(size, rows.counts[chosen] * len(self.columns[0]))
        number = (np.cumsum(size) - size) // NUMBERS
        yield from np.split(chosen, np.flatnonzero(np.diff(number)) + 1)

    def _moved(self, rows: Sparse, row: Ints, encoder: Tensor) -> Tensor:
        """What the changes of kept sources give every column through each head [heads, columns, tokens]."""
        writers, changes = self.anchors.writers, self.anchors.changes
        units = [rows.units[rows.bounds[k] : rows.bounds[k + 1]] for k in row]
        pointer = np.cumsum([0, *(len(one) for one in units)])
        used, place = np.unique(np.concatenate(units), return_inverse=True)
        index = torch.from_numpy(used).to(writers.device)
        table = (writers[index] @ self.columns).unflatten(-1, self.heads)
        column = torch.from_numpy(np.repeat(np.arange(len(row)), np.diff(pointer))).to(writers.device)
        kept = torch.from_numpy(place.reshape(-1)).to(writers.device)
        shape, moved = (len(row), len(used)), changes[index]
        out = [
            csr(pointer, place.reshape(-1), (table[kept, h] * encoder[h, column]).sum(-1), shape) @ moved
            for h in range(self.heads[0])
        ]
        return torch.stack(out)

    def _mixed(self, read: Tensor, columns: Ints) -> Tensor:
        """Sums over heads and keys [tokens, columns] of what is read [heads, columns, tokens]."""
        n_batch, _, n_query, _ = self.old.shape
        read = read.unflatten(-1, (n_batch, -1)).permute(2, 0, 3, 1)  # [batch, heads, key, columns]
        kept = torch.from_numpy(self._through(columns)).to(read.device).T[None, :, None]
        out = read.new_zeros(n_batch, n_query, len(columns))
        for pattern, own in ((self.old, ~kept), (self.new, kept)):
            if own.any():
                flat = pattern.permute(0, 2, 1, 3).flatten(2)
                out = torch.baddbmm(out, flat, (read * own).flatten(1, 2))
        return out.flatten(0, 1)
