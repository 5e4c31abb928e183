"""Sites with dictionaries, whose features and errors read streams of their own.

A feature depends on everything that its site computes, so a part reads by running the whole site on its stream and
keeping its own features. Parts that keep the same edges share one such run; where edges have weights every part has a
run of its own, and its units are differentiable in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from compgraph.ablation.fine_attention import FineAttention
from compgraph.ablation.streams import Base, Streams, blended, normed
from compgraph.architecture import Architecture
from compgraph.dictionaries.attached import FeatureTransformer
from compgraph.models.tape import Reading
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition
from compgraph.parts import Parts
from compgraph.patterns import pattern_of

NUMBERS = 2**22
"""Numbers that the runs of a site made at once may take: their products fill a processor, and more does not pay."""


class FeatureAttention(FineAttention):
    """An attention site divided into features, with patterns as nodes."""

    def units(self, reading: Reading, base: Base, pattern: Streams, values: Streams, through: Tensor) -> Tensor:
        """See `FineAttention.units`."""
        old, new = base.units[pattern_of(self.name)], self._pattern(reading, base, pattern)
        block = self.net.weights.blocks[self.layer]
        active = values.active[0] | (through.bool() & pattern.active.any(0)).any(-1)

        def run(some: Sequence[int]) -> Tensor:
            y = self.net.gain(normed(self.net, values.of(0, some), values.scale), block.attn_norm)
            v = self.net.values(self.layer, self.net.project(y, block.w_v))
            mixed = blended(through[some][:, None, :, None, None], new, old)
            z = self.net.mix(mixed.flatten(0, 1), v.flatten(0, 1)).unflatten(0, (len(some), -1))
            return self.net.represent(self.name, z)

        kept = torch.cat([values.rows[0], through], 1)
        each = old.shape[1] * old.shape[-1] + 3 * old.shape[1] * self.net.spec.d_head + base.units[self.name].shape[-1]
        return filled(base.units[self.name], self.parts, list(groups(kept, active)), run, each)


class FeatureMlp:
    """An MLP site with a dictionary."""

    def __init__(self, net: FeatureTransformer, name: str, parts: Parts) -> None:
        self.net, self.name, self.parts, self.layer = net, name, parts, int(name.split(".")[1])

    def units(self, base: Base, streams: Streams) -> Tensor:
        """Units [batch, time, n_units]."""
        block = self.net.weights.blocks[self.layer]
        norm, w_in = block.mlp_norm, block.w_in
        assert norm is not None and w_in is not None
        readers = {"": w_in} | ({} if block.w_gate is None else {"gate": block.w_gate})

        def run(some: Sequence[int]) -> Tensor:
            y = self.net.gain(normed(self.net, streams.of(0, some), streams.scale), norm)
            hidden = self.net.mlp_units(self.layer, {key: y @ reader for key, reader in readers.items()})
            return self.net.represent(self.name, hidden)

        old, found = base.units[self.name], list(groups(streams.rows[0], streams.active[0]))
        return filled(old, self.parts, found, run, 3 * w_in.shape[1] + old.shape[-1])


class UndividedFeatures:
    """An attention site with a dictionary that is one part, with q, k and v streams of its own."""

    def __init__(self, net: FeatureTransformer, name: str, parts: Parts) -> None:
        self.net, self.name, self.parts, self.layer = net, name, parts, int(name.split(".")[1])

    def units(self, reading: Reading, base: Base, streams: Streams) -> Tensor:
        """Units [batch, time, n_units].

        Parameters
        ----------
        reading
            Of the site in the baseline run.
        """
        block, pre = self.net.weights.blocks[self.layer], dict(reading.pre)
        for channel, (key, reader) in enumerate((("q", block.w_q), ("k", block.w_k), ("v", block.w_v))):
            if streams.active[channel].any():
                y = self.net.gain(normed(self.net, streams.of(channel)[0], streams.scale), block.attn_norm)
                pre[key] = self.net.project(y, reader)
        return self.net.represent(self.name, self.net.attend(self.layer, pre, base.context))


def fine_sites(net: Transformer, architecture: Architecture, refined: Partition) -> dict[str, FineAttention]:
    """The attention sites that have patterns as nodes, by name (both arguments from `with_patterns`)."""
    return {
        site.name: (FeatureAttention if site.n_features else FineAttention)(net, site, refined)
        for site in architecture.node_sites
        if pattern_of(site.name) in refined.labels
    }


def feature_sites(
    net: FeatureTransformer, parts: dict[str, Parts], fine: dict[str, FineAttention]
) -> dict[str, FeatureMlp | UndividedFeatures]:
    """The other sites that have dictionaries."""
    return {
        name: (FeatureMlp if name.startswith("mlp.") else UndividedFeatures)(net, name, parts[name])
        for name in net.dictionaries
        if name not in fine
    }


def groups(kept: Tensor, active: Tensor) -> Iterator[list[int]]:
    """Active parts that keep the same edges, bool [parts, edges], together; with weights, every part by itself."""
    index = active.nonzero().flatten()
    if len(index) == 0:
        return
    if kept.dtype != torch.bool:  # parts of equal weights have gradients of their own
        yield from ([part] for part in index.tolist())
        return
    some = torch.nn.functional.pad(kept[index], (1, 0))  # `unique` refuses rows without columns
    inverse = torch.unique(some, dim=0, return_inverse=True)[1]
    order = inverse.argsort(stable=True)
    for part in index[order].split(torch.bincount(inverse).tolist()):
        yield part.tolist()


def filled(
    old: Tensor, parts: Parts, found: list[list[int]], run: Callable[[Sequence[int]], Tensor], each: int
) -> Tensor:
    """Units of a site [batch, time, n_units]: those of groups of parts as run, all others as before.

    Parameters
    ----------
    run
        Parts, one of each group -> the site's units on the stream of each [parts, batch, time, n_units].
    each
        Numbers that a run takes for a token.
    """
    at_once = max(1, NUMBERS // (old.shape[:-1].numel() * each))
    places, values = [], []
    for start in range(0, len(found), at_once):
        some = found[start : start + at_once]
        for group, units in zip(some, run([group[0] for group in some]), strict=True):
            places.append(torch.cat([parts.index[part] for part in group]))
            values.append(units[..., places[-1]])
    return old.index_copy(-1, torch.cat(places), torch.cat(values, -1)) if places else old
