"""What the parts of a transformer's sites write to the residual stream and read from it, as vectors.

A writer A maps what its part reads to the stream, a reader B the stream to what its part feeds. Of the map A between
many inputs and the stream only its row space matters here, so that a part has rows V with Vᵀ V = Aᵀ A (for a reader
B Bᵀ), no more of them than its units or the width.

| site | writer A | reader B |
| --- | --- | --- |
| embed | W_E | |
| attention | W_V W_O | q: W_Q W_Kᵀ, k: W_K W_Qᵀ, v: W_V W_O |
| MLP, neuron by neuron | |w_in| w_out | |w_out| w_in |
| gated MLP | |w_in| |w_gate| w_out | |w_out| [|w_gate| w_in, |w_in| w_gate] |
| logits | | W_U |

A neuron counts by the lengths of all of its vectors, as a head by its whole maps: what it computes does not change
when a factor goes from one of them to another (of the two that a gated neuron multiplies; of ReLU neurons).

Gains of norms are folded into the weights (of the norm in front into readers, of a norm behind into writers), and all
that reads or writes the stream is centred where norms centre, the far side of a head's maps too: what norms remove
counts nowhere. Biases, the norms' scales and rotary rotations are left out: queries and keys are compared at equal
positions.

Features of a dictionary write their decoder rows. What their encoder reads is followed back through the site: through
the values and, in an MLP, through neurons taken as linear. Coordinates of the error read what the site's own do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from compgraph.dictionaries.attached import FeatureTransformer
from compgraph.models.spec import BlockWeights, NormWeights
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition
from compgraph.patterns import pattern_of, splits_heads

Via = Literal["in", "gate"]


@dataclass
class Vectors:
    """Vectors of the parts of a site, side by side; dead units are left out.

    Attributes
    ----------
    values
        [n, d_model].
    part
        Part of each, int64 [n], ascending.
    n_parts
        Number of parts; some may have no vector.
    """

    values: Tensor
    part: Tensor
    n_parts: int

    @classmethod
    def of(cls, values: Tensor, part: Tensor, n_parts: int) -> Vectors:
        """In order, without dead units (-1); parts of more vectors than the width are reduced to triangular factors."""
        order = part.argsort(stable=True)
        order = order[int((part < 0).sum()) :]
        made = cls(values[order], part[order], n_parts)
        return made._reduced() if n_parts and int(made.sizes.max()) > values.shape[1] else made

    def _reduced(self) -> Vectors:
        rows = [_triangular(self.values[a:b]) for a, b in self.ranges()]
        counts = torch.tensor([len(r) for r in rows])
        return Vectors(torch.cat(rows), torch.arange(self.n_parts).repeat_interleave(counts), self.n_parts)

    @cached_property
    def sizes(self) -> Tensor:
        """Vectors of each part, int64 [n_parts]."""
        return torch.bincount(self.part, minlength=self.n_parts)

    @cached_property
    def single(self) -> bool:
        """Whether every part has one vector."""
        return bool((self.sizes == 1).all())

    def ranges(self) -> list[tuple[int, int]]:
        """First and last + 1 vector of each part."""
        ends = self.sizes.cumsum(0).tolist()
        return list(zip([0, *ends[:-1]], ends, strict=True))

    def sums(self, values: Tensor) -> Tensor:
        """Sums over the vectors of each part: [n, ..] -> [n_parts, ..]."""
        if self.single:
            return values
        return values.new_zeros(self.n_parts, *values.shape[1:]).index_add_(0, self.part, values)

    @cached_property
    def squares(self) -> Tensor:
        """Sum of the squares of each part's vectors, [n_parts]."""
        return self.sums(self.values.square().sum(1))

    def normed(self) -> Vectors:
        """Those of each part divided by the root of their sum of squares; zeros stay."""
        norms = self.squares.sqrt()[self.part, None]
        return Vectors(torch.where(norms > 0, self.values / norms, 0.0), self.part, self.n_parts)

    def slice(self, start: int, stop: int) -> Vectors:
        """The parts from start to stop."""
        first, last = (int(torch.searchsorted(self.part, torch.tensor(k))) for k in (start, stop))
        return Vectors(self.values[first:last], self.part[first:last] - start, stop - start)


class Ends:
    """Writers and readers of a network for a partition.

    Parameters
    ----------
    net, partition
        A transformer and its nodes, without pattern sites.
    whole
        Whether the vectors stand for the whole map of a part (see above). Else they are, unit by unit, what the unit
        writes and what it reads, as far as it has one vector for that: what its inputs or its outputs weigh does not
        count, and a feature of an attention site reads through all heads at one position.
    lengths
        Whether a neuron counts by the lengths of all of its vectors (see above).
    via
        What a neuron of a gated MLP reads, unless `whole`: by `in` or by `gate`.
    """

    def __init__(
        self, net: Transformer, partition: Partition, *, whole: bool = True, via: Via = "in", lengths: bool = True
    ) -> None:
        self.net, self.partition, self.whole, self.via, self.lengths = net, partition, whole, via, lengths
        self.spec = net.spec
        self.dimension = net.spec.d_model - (net.spec.norm == "layer")
        self.split = {
            site.name: splits_heads(site, partition.labels[site.name])
            for site in net.architecture.node_sites
            if site.kind == "attn"
        }

    def readers(self, site: str) -> Iterator[tuple[str, str, Vectors]]:
        """(node site, channel, what its parts read) of a site; queries and keys may be read by its patterns."""
        if site == "logits":
            yield site, "", self._of(site, self.unembedding())
        elif site.startswith("mlp."):
            yield site, "", self._mlp(site)
        else:
            yield from self._attention(site)

    def writer(self, site: str) -> Vectors:
        """What the parts of a site write."""
        if site == "embed":
            return self._embed()
        rows = self._written(site)
        if site.startswith("mlp."):
            read = torch.cat(self._neurons(site), 1).norm(dim=1, keepdim=True)
            return self._of(site, rows * read if self.lengths else rows)
        if not self.whole:
            return self._of(site, rows)
        values, group = self._folded(site, self._inner(site), rows)
        return Vectors.of(values, group // self.spec.n_heads, self.partition.n_parts(site))

    def unembedding(self) -> Tensor:
        """What every output reads, [vocabulary, d_model]."""
        return self._centred(_gained(_wide(self.net.weights.unembedding), self.net.weights.final_norm))

    def head_maps(self, layer: int) -> dict[str, Tensor]:
        """What the coordinates of heads read as `q`, `k`, `v` and write as `o`, each [heads, d_head, d_model]."""
        site = f"attn.{layer}"
        block = self._block(site)
        q, k, v = (self._per_head(block, w) for w in (block.w_q, block.w_k, block.w_v))
        written = self._written(site).unflatten(0, (self.spec.n_heads, -1))
        return {"q": _scaled(q, block.q_norm), "k": _scaled(k, block.k_norm), "v": v, "o": written}

    def served(self, site: str) -> Tensor:
        """How much of what each part reads as values comes through each head: roots of shares, [n_parts, heads]."""
        values, group = self._value_groups(site)
        shape = (self.partition.n_parts(site), self.spec.n_heads)
        live = group >= 0
        squares = values.new_zeros(shape[0] * shape[1]).index_add_(0, group[live], values[live].square().sum(1))
        squares = squares.reshape(shape)
        return (squares / squares.sum(1, keepdim=True)).nan_to_num(0.0).sqrt()

    def _embed(self) -> Vectors:
        factor = _triangular(_wide(self.net.weights.embedding))
        labels, n = self._labels("embed"), self.partition.n_parts("embed")
        masked = torch.cat([factor * (labels == k) for k in range(n)])
        return Vectors.of(self._centred(masked), torch.arange(n).repeat_interleave(len(factor)), n)

    def _mlp(self, site: str) -> Vectors:
        rows = self._neurons(site)
        if self.lengths:
            lengths = self._written(site).norm(dim=1, keepdim=True)
            rows = [one * lengths for one in rows]
        return self._of(site, torch.cat(rows), len(rows))

    def _neurons(self, site: str) -> list[Tensor]:
        """What units of an MLP read, [units, d_model] for each of the projections that count."""
        block = self._block(site)
        assert block.w_in is not None
        up = self._centred(_gained(_wide(block.w_in).T, block.mlp_norm))
        if block.w_gate is None:
            return [self._encoded(site, up)]
        gate = self._centred(_gained(_wide(block.w_gate).T, block.mlp_norm))
        if self.lengths:
            up, gate = up * gate.norm(dim=1, keepdim=True), gate * up.norm(dim=1, keepdim=True)
        rows = [up, gate] if self.whole else [{"in": up, "gate": gate}[self.via]]
        return [self._encoded(site, one) for one in rows]

    def _attention(self, site: str) -> Iterator[tuple[str, str, Vectors]]:
        block = self._block(site)
        q = _scaled(self._per_head(block, block.w_q), block.q_norm)
        k = _scaled(self._per_head(block, block.w_k), block.k_norm)
        for channel, reader, other in (("q", q, k), ("k", k, q)):
            rows = _right_factor(other.transpose(1, 2)) @ reader
            if self.split[site]:
                heads = torch.arange(self.spec.n_heads).repeat_interleave(rows.shape[1])
                yield pattern_of(site), channel, Vectors.of(rows.flatten(0, 1), heads, self.spec.n_heads)
            else:
                yield site, channel, self._of(site, rows.flatten(0, 1), per_head=True)
        yield site, "v", self._values(site)

    def _values(self, site: str) -> Vectors:
        if self.whole:
            values, group = self._value_groups(site)
            return Vectors.of(values, group // self.spec.n_heads, self.partition.n_parts(site))
        block = self._block(site)
        return self._of(site, self._encoded(site, self._per_head(block, block.w_v).flatten(0, 1)))

    def _value_groups(self, site: str) -> tuple[Tensor, Tensor]:
        """What parts read as values through each head, as `_folded` gives it."""
        block = self._block(site)
        v = self._per_head(block, block.w_v)
        outer, encoder = self._written(site), self._encoder(site)
        if encoder is None:
            return self._folded(site, outer, v.flatten(0, 1))
        encoders = encoder.unflatten(0, (len(v), -1))
        heads = [self._folded(site, outer, e.T @ w) for e, w in zip(encoders, v, strict=True)]
        return torch.cat([h[0] for h in heads]), torch.cat([h[1] + k for k, h in enumerate(heads)])

    def _inner(self, site: str) -> Tensor:
        """What each unit of an attention site takes from the values' inputs, up to a rotation: [units, ..]."""
        block = self._block(site)
        factors = _right_factor(self._per_head(block, block.w_v).transpose(1, 2))  # [heads, k, d_head]
        encoder = self._encoder(site)
        if encoder is None:
            return factors.transpose(1, 2).flatten(0, 1)
        return torch.cat([f @ e for f, e in zip(factors, encoder.unflatten(0, (len(factors), -1)), strict=True)]).T

    def _folded(self, site: str, outer: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors of the maps that sum `outer_u rows_uᵀ` over the units of a part, and part * heads + head of each.

        Without a dictionary the units of one head do not mix with those of another, whose inputs are at other
        positions and whose outer vectors share no space with theirs; with one all count as of head 0.
        """
        labels, n_heads = self._labels(site), self.spec.n_heads
        group = labels * n_heads
        if not self._has_dictionary(site):
            group = group + torch.arange(n_heads).repeat_interleave(self.spec.d_head)
        order = torch.where(labels < 0, -1, group).argsort(stable=True)[int((labels < 0).sum()) :]
        counts = torch.bincount(group[order], minlength=self.partition.n_parts(site) * n_heads)
        values, groups = [rows[:0]], [group[:0]]
        for size in counts[counts > 0].unique().tolist():
            units = order[counts[group[order]] == size].unflatten(0, (-1, size))
            one = outer[units]
            factor = one.norm(dim=2)[..., None] if size == 1 else _right_factor(one.transpose(1, 2))
            values.append((factor @ rows[units]).flatten(0, 1))
            groups.append(group[units[:, 0]].repeat_interleave(factor.shape[1]))
        return torch.cat(values), torch.cat(groups)

    def _of(self, site: str, rows: Tensor, times: int = 1, *, per_head: bool = False) -> Vectors:
        """Vectors of a site's units, all of them `times` times over (`per_head`: as many of each head as there are)."""
        labels = self._labels(site)
        if per_head:
            first = labels.unflatten(0, (self.spec.n_heads, -1)) if not self._has_dictionary(site) else labels[:1, None]
            labels = first[:, 0].expand(self.spec.n_heads).repeat_interleave(len(rows) // self.spec.n_heads)
        return Vectors.of(rows, labels.repeat(times), self.partition.n_parts(site))

    def _has_dictionary(self, site: str) -> bool:
        return isinstance(self.net, FeatureTransformer) and site in self.net.dictionaries

    def _encoder(self, site: str) -> Tensor | None:
        """What features and error read of the units that the site computes [hidden, n_units]; None: units are nodes."""
        if not isinstance(self.net, FeatureTransformer) or site not in self.net.dictionaries:
            return None
        one = self.net.dictionaries[site]
        rows, _, post = self.net.inner.decoder(site)
        rows, encoder = _wide(rows), _wide(one.encoder)
        described = torch.eye(one.width, dtype=rows.dtype) if one.space == "hidden" else _gained(rows, post)
        read = described @ encoder
        return read if one.complete else torch.cat([read, described], 1)

    def _encoded(self, site: str, rows: Tensor) -> Tensor:
        encoder = self._encoder(site)
        return rows if encoder is None else encoder.T @ rows

    def _per_head(self, block: BlockWeights, reader: Tensor) -> Tensor:
        """[query heads, d_head, d_model], centred, the gain in front folded in."""
        repeat = self.spec.n_heads // reader.shape[0]
        return self._centred(_gained(_wide(reader).transpose(1, 2), block.attn_norm)).repeat_interleave(repeat, 0)

    def _written(self, site: str) -> Tensor:
        """What the units of a site write [units, d_model]."""
        rows, _, post = self.net.decoder(site)
        return self._centred(_gained(_wide(rows), post))

    def _block(self, site: str) -> BlockWeights:
        return self.net.weights.blocks[int(site.split(".")[1])]

    def _labels(self, site: str) -> Tensor:
        return torch.from_numpy(np.asarray(self.partition.labels[site], dtype=np.int64))

    def _centred(self, rows: Tensor) -> Tensor:
        return rows - rows.mean(-1, keepdim=True) if self.spec.norm == "layer" else rows


def _wide(x: Tensor) -> Tensor:
    """On the CPU, in float32 at least: half precision has no factorisations."""
    return x.detach().cpu().to(torch.float64 if x.dtype == torch.float64 else torch.float32)


def _gained(rows: Tensor, norm: NormWeights | None) -> Tensor:
    """Fold a norm's gain into vectors of the stream [.., d_model]."""
    return rows if norm is None or norm.gain is None else rows * _wide(norm.gain)


def _scaled(reader: Tensor, norm: NormWeights | None) -> Tensor:
    """Fold the gain of a norm over the head's own coordinates into its reader [heads, d_head, d_model]."""
    return reader if norm is None or norm.gain is None else reader * _wide(norm.gain)[:, None]


def _triangular(rows: Tensor) -> Tensor:
    """At most d rows with the Gram matrix of `rows` [n, d]."""
    return _right_factor(rows) if len(rows) > rows.shape[1] else rows


def _right_factor(x: Tensor) -> Tensor:
    """R of x = Q R for a batch of matrices [.., n, k] -> [.., min(n, k), k]."""
    return torch.linalg.qr(x, mode="r").R
