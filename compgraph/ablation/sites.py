"""Units of a site for every group of a plan: each distinct computation of one part, from the streams that it reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from compgraph.ablation.plan import Ints, SitePlan
from compgraph.ablation.streams import Base, Versions, at_scored, normed, read_streams
from compgraph.models.spec import NormWeights
from compgraph.models.tape import Reading
from compgraph.models.transformer import Transformer
from compgraph.parts import Parts

Units = Tensor | Sequence[Tensor]
"""Of every group [batch, time, units of the part]; one tensor where the parts are equally large."""
BaseReading = Callable[[], Reading]
"""What the site reads from its baseline stream, with one key and value per query head; made when it is needed."""


class StreamSet:
    """The streams of a site at all or at the scored positions, and what its norm makes of them."""

    def __init__(self, net: Transformer, site: SitePlan, base: Base, versions: Versions, *, late: bool) -> None:
        stream = base.streams[site.shape.name]
        self.net, self.late = net, late
        self.frozen = None if base.frozen is None else base.frozen.get(site.shape.name)
        if late:
            stream = base.scored(stream)
            self.frozen = None if self.frozen is None else base.scored(self.frozen)
        if late:
            self.x = read_streams(stream, site.narrow, versions.late)
        else:
            self.x = read_streams(stream, site.full, versions.full, versions.totals)
        self.times_gain = False
        self.fast = self.x.dtype not in (torch.float16, torch.bfloat16) and net.spec.norm != "none"

    @cached_property
    def scale(self) -> Tensor:
        """Inverse scales [streams or 1, batch, time, 1] of the streams, which are centred already."""
        if self.frozen is not None:
            return self.frozen[None]
        square = torch.linalg.vector_norm(self.x, dim=-1, keepdim=True).square_()
        return square.div_(self.x.shape[-1]).add_(self.net.spec.norm_eps).rsqrt_()

    def gained(self, weights: NormWeights) -> Tensor:
        """All streams times the gain, without their scale; `x` and what it serves must not be used behind it."""
        if weights.gain is not None and not self.times_gain:
            _ = self.scale
            self.x.mul_(weights.gain)
        self.times_gain = True
        return self.x

    def normed(self, streams: Ints, weights: NormWeights) -> Tensor:
        """Some streams behind norm and gain."""
        return self.net.gain(normed(self.net, pick(self.x, streams), self.frozen), weights)


class Attention:
    """An attention site whose parts consist of whole heads."""

    def __init__(self, net: Transformer, name: str, parts: Parts) -> None:
        self.net, self.name, self.layer = net, name, int(name.split(".")[1])
        self.block = net.weights.blocks[self.layer]
        self.heads = [torch.unique(index // net.spec.d_head).cpu().numpy() for index in parts.index]
        self.single = all(len(heads) == 1 for heads in self.heads)
        self.biases: dict[str, Tensor] = {}

    def compute(self, site: SitePlan, base: Base, versions: Versions, reading: BaseReading) -> Units:
        """Units of the site's groups."""
        heads = [self.heads[part] for part in site.parts]
        flat = torch.from_numpy(np.concatenate(heads)).to(versions.full.device)
        full = StreamSet(self.net, site, base, versions, late=False)
        narrow = StreamSet(self.net, site, base, versions, late=True) if site.shape.narrow else full
        readers = (("q", self.block.w_q), ("k", self.block.w_k), ("v", self.block.w_v))
        pre = {
            key: self._read(
                key, reader, site, site.streams[channel], flat, narrow if key == "q" else full, reading, base
            )
            for channel, (key, reader) in enumerate(readers)
        }
        z = self._attend(pre, flat, base, narrow=site.shape.narrow)
        if self.single:
            return z
        bounds = np.cumsum([len(one) for one in heads])[:-1].tolist()
        return [one.permute(1, 2, 0, 3).flatten(2) for one in torch.tensor_split(z, bounds)]

    def _read(
        self,
        key: str,
        reader: Tensor,
        site: SitePlan,
        streams: Ints,
        flat: Tensor,
        read: StreamSet,
        reading: BaseReading,
        base: Base,
    ) -> Tensor:
        """Queries, keys or values of every group's heads in order, without bias: [heads, batch, time, d_head]."""
        per_head = np.repeat(streams, [len(self.heads[part]) for part in site.parts])
        moved = np.flatnonzero(per_head >= 0)
        if len(moved) == 0:
            return self._at_baseline(key, reading, base, read.late, flat)
        heads = flat.cpu().numpy()[moved]
        pairs, back = np.unique(np.stack([per_head[moved], heads]), axis=1, return_inverse=True)
        back = back.reshape(-1)
        values = self._project(key, reader, pairs, read)
        if len(moved) == len(per_head) and np.array_equal(back, np.arange(len(back))):
            return values
        out = values.new_empty(len(per_head), *values.shape[1:])
        out[torch.from_numpy(moved).to(out.device)] = values[torch.from_numpy(back).to(out.device)]
        still = torch.from_numpy(np.flatnonzero(per_head < 0)).to(out.device)
        if len(still):
            out[still] = self._at_baseline(key, reading, base, read.late, flat[still])
        return out

    def _at_baseline(self, key: str, reading: BaseReading, base: Base, late: bool, heads: Tensor) -> Tensor:
        value = reading().pre[key][:, :, heads].permute(2, 0, 1, 3)
        return base.scored(value) if late else value

    def _project(self, key: str, reader: Tensor, pairs: Ints, read: StreamSet) -> Tensor:
        """What heads read from streams, pairs [(stream, head), n] sorted by stream: [n, batch, time, d_head]."""
        streams, owner = pairs[0], pairs[1] * len(reader) // self.net.spec.n_heads
        out = read.x.new_empty(len(streams), *read.x.shape[1:-1], reader.shape[-1])
        if not read.fast:
            for stream in np.unique(streams):
                run = slice(*np.searchsorted(streams, [stream, stream + 1]).tolist())
                y = read.normed(streams[run][:1], self.block.attn_norm)[0]
                out[run] = self.net.project(y, pick(reader, owner[run])).permute(2, 0, 1, 3)
            return out
        # The norm's gain goes into the streams, its scale and bias behind the product.
        y, flat = read.gained(self.block.attn_norm).flatten(1, 2), out.flatten(1, 2)
        for run, shared in _stretches(streams, owner):
            stream, head, n = int(streams[run.start]), int(owner[run.start]), run.stop - run.start
            weights = reader[head : head + n]
            if shared:
                both = y[stream] @ weights.transpose(0, 1).flatten(1)
                flat[run] = both.unflatten(1, (n, -1)).transpose(0, 1)
            elif n == 1:
                torch.mm(y[stream], weights[0], out=flat[run.start])
            else:
                torch.bmm(y[stream : stream + n], weights, out=flat[run])
        scale, bias = read.scale, self._bias(key, reader)
        out.mul_(scale if len(scale) == 1 else pick(scale, streams))
        if bias is not None:
            out.add_(pick(bias, owner)[:, None, None])
        return out

    def _bias(self, key: str, reader: Tensor) -> Tensor | None:
        """What the bias of the norm gives every head, [heads, d_head]."""
        bias = self.block.attn_norm.bias
        if bias is not None and key not in self.biases:
            self.biases[key] = bias @ reader
        return self.biases.get(key)

    def _attend(self, pre: dict[str, Tensor], heads: Tensor, base: Base, *, narrow: bool) -> Tensor:
        """[heads, batch, time, d_head]"""
        pre = {key: value.permute(1, 2, 0, 3) for key, value in pre.items()}
        if not narrow:
            z = self.net.attend(self.layer, pre, base.context, heads)
        else:
            assert base.batch.positions is not None
            context = at_scored(base.context, base.batch.positions)
            q = self.net.rotated(self.layer, dict.fromkeys("qkv", pre["q"]), context, heads)[0]
            _, k, v = self.net.rotated(self.layer, {**pre, "q": pre["k"]}, base.context, heads)
            z = self.net.mix(self.net.pattern(self.layer, q, k, context), v)
        return z.unflatten(-1, (len(heads), -1)).permute(2, 0, 1, 3)


class Mlp:
    """An MLP site; parts are any sets of neurons."""

    def __init__(self, net: Transformer, name: str, parts: Parts) -> None:
        self.net, self.name, self.parts, self.layer = net, name, parts, int(name.split(".")[1])
        self.block = net.weights.blocks[self.layer]
        self.whole = len(parts) == 1 and len(parts.index[0]) == parts.n_units

    def compute(self, site: SitePlan, base: Base, versions: Versions, reading: BaseReading) -> Units:
        """Units of the site's groups."""
        narrow = site.shape.narrow
        streams = StreamSet(self.net, site, base, versions, late=narrow)
        assert self.block.w_in is not None and self.block.mlp_norm is not None
        readers = {"": self.block.w_in} | ({} if self.block.w_gate is None else {"gate": self.block.w_gate})
        old = reading().pre if (site.streams < 0).any() else {}
        if narrow:
            old = {key: base.scored(value) for key, value in old.items()}
        y = streams.normed(np.arange(len(streams.x)), self.block.mlp_norm)
        if self.whole:
            return self.net.mlp_units(self.layer, self._all(site.streams[0], y, readers, old))
        return self._by_part(site, y, readers, old)

    def _all(self, streams: Ints, y: Tensor, readers: dict[str, Tensor], old: dict[str, Tensor]) -> dict[str, Tensor]:
        """Pre-activations of groups that are the whole site: [groups, batch, time, n_units]."""
        moved = torch.from_numpy(streams[streams >= 0])
        pre = {}
        for key, reader in readers.items():
            new = pick(y, moved.numpy()) @ reader
            if len(moved) < len(streams):
                both = new.new_empty(len(streams), *new.shape[1:]) if len(moved) else old[key].expand(1, -1, -1, -1)
                if len(moved):
                    both[torch.from_numpy(streams >= 0).to(both.device)] = new
                    both[torch.from_numpy(streams < 0).to(both.device)] = old[key]
                new = both
            pre[key] = new
        return pre

    def _by_part(self, site: SitePlan, y: Tensor, readers: dict[str, Tensor], old: dict[str, Tensor]) -> list[Tensor]:
        """Groups of different parts share one pass through the non-linearity."""
        depth, counts = np.zeros(len(site.parts), np.int64), np.zeros(len(self.parts), np.int64)
        for group, part in enumerate(site.parts):
            depth[group], counts[part] = counts[part], counts[part] + 1
        out: list[Tensor] = [y.new_empty(0)] * len(site.parts)
        for level in range(int(counts.max())):
            groups = np.flatnonzero(depth == level)
            pre = {}
            for key, reader in readers.items():
                pre[key] = (old[key] if old else y[0]).new_zeros(
                    *(old[key] if old else y[0]).shape[:-1], self.parts.n_units
                )
                for group in groups:
                    index, stream = self.parts.index[site.parts[group]], int(site.streams[0, group])
                    pre[key][..., index] = old[key][..., index] if stream < 0 else y[stream] @ reader[:, index]
            units = self.net.mlp_units(self.layer, pre)
            for group in groups:
                out[group] = units[..., self.parts.index[site.parts[group]]]
        return out


def runs(numbers: Ints) -> Iterator[slice]:
    """Places of longest stretches in which every number is one more than the one before."""
    breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
    bounds = [0, *breaks.tolist(), len(numbers)]
    for start, stop in pairwise(bounds):
        if stop > start:
            yield slice(start, stop)


def _stretches(streams: Ints, heads: Ints) -> Iterator[tuple[slice, bool]]:
    """Longest stretches of consecutive heads that read consecutive streams, or share one; and whether they share."""
    first = 0
    while first < len(streams):
        last, step = first + 1, int(streams[min(first + 1, len(streams) - 1)] - streams[first])
        while (
            last < len(streams)
            and step in (0, 1)
            and heads[last] == heads[last - 1] + 1
            and streams[last] == streams[last - 1] + step
        ):
            last += 1
        yield slice(first, last), step == 0 and last > first + 1
        first = last


def pick(values: Tensor, index: Ints) -> Tensor:
    """values[index], as a view where the index is a stretch."""
    if len(index) and (np.diff(index) == 1).all():
        return values[int(index[0]) : int(index[0]) + len(index)]
    return values[torch.from_numpy(index).to(values.device)]
