"""Scores of edges from and to the features of dictionaries (`compgraph.dictionaries`).

As sources, features and error are units like any other: their changes times the rows of the decoder. As
destinations, let x be what the dictionary describes, g the gradient of the metric at its features and h that at the
error's coordinates. Where feature v is active it moves as its encoder column says, and the error e = x - f rows - b
moves by what is left, so that at x

    feature v reads  g_v 1[v active] encoder_v        error reads  h - Σ_v (rows_v · h) 1[v active] encoder_v

Since the metric sees features and error through their sum alone, g_v = rows_v · h, and the sum of all of these is h:
the site's own score, exactly, whatever the dictionary. From x to the stream lead `feature_jacobians`; which of the
two ways is taken depends on the numbers of nodes, as in `products`:

| source | destination | order |
| --- | --- | --- |
| any | few | every node's gradient at x pulled back to the stream, then as other few destinations |
| few | many | every source's stream pushed forward to x, then a product with the encoder |
| many | many | active (token, feature) pairs in blocks, each pulled back and multiplied with the decoder rows |

Where few features are active at a token, products with encoder or decoder rows are those of the active ones alone
(`feature_products`).

Attention sites divided into features have patterns as nodes (`compgraph.patterns`): the parts read channel v.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from compgraph.ablation.baselines import Units
from compgraph.connectivity.effective.endpoints import Destination, Projection, Source, destinations
from compgraph.connectivity.effective.feature_jacobians import Jacobian, jacobian
from compgraph.connectivity.effective.feature_products import BLOCK_BYTES, Active, from_features
from compgraph.connectivity.effective.gradients import Gradients
from compgraph.connectivity.effective.products import streams_with_units, units_with_streams
from compgraph.connectivity.effective.stream_sources import Change
from compgraph.connectivity.effective.streams import StreamScorer
from compgraph.data.batches import Batch
from compgraph.dictionaries.attached import FeatureTransformer
from compgraph.dictionaries.dictionary import Dictionary
from compgraph.models.tape import Reading
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition
from compgraph.parts import Parts
from compgraph.patterns import pattern_of

PUSHED = 8
"""So many streams are pushed through a site at a time."""


@dataclass
class FeatureSource(Source):
    """Features and error as writers: `change` and `rows` are those of features, then of the error's coordinates."""

    n_features: int

    @cached_property
    def active(self) -> Active | None:
        """The features that change, by token; None where most do."""
        return Active.of(self.change, self.decoder, self.n_features, self.parts)


@dataclass
class FeatureDestination(Destination):
    """Features and error as readers of x, what their dictionary describes.

    `gradient` [batch, time, n_units] and `readers` [n_units, width] are those at x: of features, and of the
    coordinates of x itself for what the error reads. `through` leads from x to the stream.
    """

    through: Jacobian
    n_features: int

    by_position: ClassVar[bool] = False

    @cached_property
    def active(self) -> Active | None:
        """The features that read, by token; None where most do."""
        return Active.of(self.gradient, self.readers, self.n_features, self.parts)

    def at_described(self, keep: Tensor | None = None) -> Tensor:
        """Gradient at x of every node, or of those with these numbers: [nodes, batch, time, width]."""
        return self.parts.product(self.gradient, self.readers, keep)

    def pulled(self, keep: Tensor | None = None) -> Tensor:
        """Gradient at the normalised stream: [nodes, batch, time, d_model]."""
        return self.through.pull(self.at_described(keep))

    def pull_into(self, out: Tensor, *, add: bool = False) -> None:
        """See `Destination.pull_into`."""
        out.add_(self.pulled()) if add else out.copy_(self.pulled())

    def from_streams(self, pushed: Tensor) -> Tensor:
        """Scores from streams pushed to x [n, batch, time, width]: [batch, nodes, n]."""
        return streams_with_units(pushed, self) if self.active is None else self.active.with_streams(pushed)

    def pairs(self, block: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Gradients at x of active (token, feature) pairs and of the error at every token, by example and token.

        Yields
        ------
        part [m], token [m] in the batch laid flat, gradient at x [m, width]; m is at most `block`, all of one example.
        """
        label, n, time = self.parts.label, self.n_features, self.gradient.shape[1]
        alive = label[:n] < len(self.parts)
        for example, gradient in enumerate(self.gradient):
            token, unit = ((gradient[:, :n] != 0) & alive).nonzero(as_tuple=True)
            for t, u in zip(token.split(block), unit.split(block), strict=True) if len(token) else ():
                yield label[u], example * time + t, gradient[t, u][:, None] * self.readers[u]
            if n < len(label) and label[-1] < len(self.parts):
                for t in torch.arange(time, device=label.device).split(block):
                    yield label[-1].expand(len(t)), example * time + t, gradient[t, n:]


def read_gradient(
    net: FeatureTransformer, site: str, reading: Reading, pattern: Tensor | None, at_units: Tensor
) -> Tensor:
    """Gradient with which features, then the coordinates of x for the error, read: [batch, time, n_units]."""
    one, layer = net.dictionaries[site], int(site.split(".")[1])
    pre = {channel: value.detach() for channel, value in reading.pre.items()}
    hidden = net.mlp_units(layer, pre) if pattern is None else net.mix(pattern, net.values(layer, pre["v"]))
    active = one.active(one.pre_activations(net.described(site, hidden)))
    features, error = at_units.split([one.n_features, one.n_units - one.n_features], -1)
    if one.complete:
        return features * active
    # not from the gradient at the features: a method may have changed that, or hold dead features still
    return torch.cat([features * active, error - ((error @ one.rows.T) * active) @ one.encoder.T], -1)


class FeatureScorer(StreamScorer):
    """`StreamScorer` that serves transformers with dictionaries, too.

    Attributes
    ----------
    divided
        Sites whose features are in several parts.
    """

    def __init__(self, net: Transformer, partition: Partition, split_qkv: bool, recompute: bool = False) -> None:
        super().__init__(net, partition, split_qkv, recompute)
        self.dictionaries = net.dictionaries if isinstance(net, FeatureTransformer) else {}
        self.divided: Sequence[str] = [site for site in self.dictionaries if (partition.labels[site] != 0).any()]
        self.readers = {site: _readers(self.dictionaries[site]) for site in self.divided}

    @property
    def differentiated(self) -> list[str]:
        """See `StreamScorer.differentiated`."""
        return [*super().differentiated, *(site for site in self.divided if site not in self.served)]

    def bytes_per_example(self, pairs: Any) -> int:
        """What `StreamScorer` needs, and what is carried through one divided site at a time."""
        carried = [
            (self.count[site] if site in self.few else PUSHED) * max(self.dictionaries[site].width, self._hidden(site))
            for site in self.divided
        ]
        if self.recompute:  # divided sites read at all positions at once
            most = max((self.count[site] for site in self.few), default=0)
            carried = [one + 3 * most * self.net.spec.d_model for one in carried]
        size = self.net.weights.embedding.element_size()
        return super().bytes_per_example(pairs) + max(carried, default=0) * pairs.clean.shape[1] * size

    def _hidden(self, site: str) -> int:
        """Coordinates that a site computes."""
        return self.net.spec.d_mlp if site.startswith("mlp") else self.heads.n_units

    def _columns(self, site: str, change: Change, step: Gradients, batch: Batch) -> list[Tensor]:
        if site in self.divided:
            return self._into_features(site, change, step, batch)
        return super()._columns(site, change, step, batch)

    def _reads(self, site: str, reading: Reading, gradient: Mapping[str, Tensor]) -> list[list[Destination]]:
        """Of a site whose features are one node: its pre-activations, all together."""
        if site not in self.dictionaries:
            return super()._reads(site, reading, gradient)
        parts = {channel: Parts.whole(g[0, 0].numel(), g.device) for channel, g in gradient.items()}
        found = destinations(self.net, site, reading, gradient, parts)
        return [[one] for one in found] if self.split_qkv and site.startswith("attn") else [found]

    def _into_features(self, site: str, change: Change, step: Gradients, batch: Batch) -> list[Tensor]:
        """Edges into features and error, behind those into their patterns, each [batch or 1, edges]."""
        assert isinstance(self.net, FeatureTransformer)
        reading: Reading = step.tape.readings[site]
        pattern = step.units[pattern_of(site)] if site in self.served else None
        reads = read_gradient(self.net, site, reading, pattern, step.at_units[site])
        one = FeatureDestination(
            site,
            "" if pattern is None else "v",
            reads,
            self.readers[site],
            None,
            self.parts[site],
            self._jacobian(self.net, site, reading, pattern),
            self.dictionaries[site].n_features,
        )
        values = self._into(site, change, [[one]], reading, batch)
        if pattern is None:
            return [values.transpose(1, 2).flatten(1)]
        q, k, _ = destinations(self.net, site, reading, step.at_reads[site], dict.fromkeys("qkv", self.heads))
        patterns = self._into(site, change, [[q], [k]] if self.split_qkv else [[q, k]], reading, batch)
        both = self.beside_patterns(site, self._from_heads(site, change, reading, one, batch), values[:, 0])
        return [patterns.transpose(1, 2).flatten(1), both]

    def _jacobian(self, net: FeatureTransformer, site: str, reading: Reading, pattern: Tensor | None) -> Jacobian:
        return jacobian(net, site, reading, pattern)

    def _from_heads(self, site: str, change: Change, reading: Reading, one: FeatureDestination, batch: Batch) -> Tensor:
        """[batch or 1, parts, heads]: change of each pattern times the gradient at it through each part."""
        layer, heads = int(site.split(".")[1]), self.net.spec.n_heads
        moved = self.net.mix(change.patterns[site], self.net.values(layer, reading.pre["v"]))
        by_head = moved.unflatten(-1, (heads, -1))
        only = moved.new_zeros(heads, *by_head.shape)
        for head in range(heads):
            only[head, ..., head, :] = by_head[..., head, :]
        out = one.from_streams(one.through.output.forward(only.flatten(-2)))
        return out if self.per_example else out.sum(0, keepdim=True)

    def change(self, clean: Units, baseline: Units, silent: Collection[str] = ()) -> Change:
        """See `StreamScorer.change`."""
        out = super().change(clean, baseline, silent)
        for site, source in out.sources.items():
            if site in self.dictionaries and self.kept(site) == site:
                n_features = self.dictionaries[site].n_features
                out.sources[site] = FeatureSource(**vars(source), n_features=n_features)
        return out

    def _many_into_few(self, source: Source, pulled: Tensor) -> Tensor:
        active = source.active if isinstance(source, FeatureSource) else None
        return units_with_streams(source, pulled) if active is None else active.with_streams(pulled).transpose(1, 2)

    def _into_many(
        self, group: list[Destination], change: Change, project: Projection, sources: list[str]
    ) -> Iterator[tuple[str, Tensor]]:
        one = group[0]
        if not isinstance(one, FeatureDestination):
            yield from super()._into_many(group, change, project, sources)
            return
        for name, streams in self.streams(change, sources):
            pushed = map(one.through.push, project(streams).split(PUSHED))
            yield name, torch.cat([one.from_streams(x) for x in pushed], -1)
        many = [name for name in sources if name not in self.few]
        blocks = from_units(one, [change.sources[name] for name in many], project)
        yield from ((name, block[None]) for name, block in zip(many, blocks, strict=True))


def from_units(one: FeatureDestination, sources: list[Source], project: Projection) -> list[Tensor]:
    """Many nodes on both sides: per source site [nodes, sources], summed over the batch."""
    sums = [_sums(one, source) for source in sources]
    if not sums:
        return []
    time, d_model = one.gradient.shape[1], sources[0].decoder.shape[1]
    reach = 1 if one.channel == "" else time
    xhat = None if project.xhat is None else project.xhat.flatten(0, 1)
    numbers = reach * (2 * max(s.width for s in sums) + 4 * d_model) + 2 * one.readers.shape[1]
    block = max(1, BLOCK_BYTES // (numbers * one.gradient.element_size()))
    for part, token, gradient in one.pairs(block):
        streams, tokens = one.through.pull_single(gradient, token)
        single = Projection(None if xhat is None else xhat[tokens].flatten(0, 1), project.centred)
        streams = single(streams.flatten(0, 1)[None])[0].unflatten(0, tokens.shape)
        for s in sums:
            s.add(part, streams, tokens)
    return [s.result() for s in sums]


class _DenseSums:
    """Scores [nodes, units] of the pairs of a destination with all units of a source."""

    def __init__(self, one: FeatureDestination, source: Source) -> None:
        self.parts, self.decoder, self.change = source.parts, source.decoder, source.change.flatten(0, 1)
        self.width = len(self.decoder)
        self.out = one.gradient.new_zeros(len(one.parts), self.width)

    def add(self, part: Tensor, streams: Tensor, tokens: Tensor) -> None:
        self.out.index_add_(0, part, ((streams @ self.decoder.T) * self.change[tokens]).sum(1))

    def result(self) -> Tensor:
        return self.parts.sums(self.out)


class _ActiveSums:
    """Scores [nodes, sources] of the pairs of a destination with the features of a source that change."""

    def __init__(self, one: FeatureDestination, active: Active) -> None:
        self.active, self.width = active, active.unit.shape[1] + 1
        self.out = one.gradient.new_zeros(len(one.parts) + 1, len(active.parts) + 1)

    def add(self, part: Tensor, streams: Tensor, tokens: Tensor) -> None:
        from_features(self.out, part, streams, tokens, self.active)

    def result(self) -> Tensor:
        return self.out[:-1, :-1]


def _sums(one: FeatureDestination, source: Source) -> _DenseSums | _ActiveSums:
    active = source.active if isinstance(source, FeatureSource) else None
    return _DenseSums(one, source) if active is None else _ActiveSums(one, active)


def _readers(one: Dictionary) -> Tensor:
    """Encoder columns as rows, then the coordinates of x: [n_units, width]."""
    columns = one.encoder.T
    if one.complete:
        return columns
    return torch.cat([columns, torch.eye(one.width, dtype=columns.dtype, device=columns.device)])
