"""Scores of the edges into the features of dictionaries, a tile of features at a time.

What a feature reads goes through a Jacobian that differs from token to token (`feature_jacobians`), so that there is no
product over tokens as in `unit_blocks`. Rows of the Jacobian and of the gradients at the features are kept, like those
of other sites; then, for one tile of features after another, the tokens at which they are active are pulled back
to the stream and multiplied with what changes there (`features.from_units`). Sites of few nodes are pushed forward
instead, as soon as a pass is there: their scores are few.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from compgraph.connectivity.blockwise.block import Block, Extent
from compgraph.connectivity.effective import unit_blocks
from compgraph.connectivity.effective.endpoints import Projection, Source, decoder_rows, projection
from compgraph.connectivity.effective.feature_jacobians import (
    Jacobian,
    MlpJacobian,
    Output,
    ValueJacobian,
    jacobian,
)
from compgraph.connectivity.effective.features import (
    PUSHED,
    FeatureDestination,
    FeatureScorer,
    FeatureSource,
    from_units,
    read_gradient,
)
from compgraph.connectivity.effective.passes import PassResult
from compgraph.connectivity.effective.stream_sources import Change
from compgraph.connectivity.effective.unit_groups import UnitGroups
from compgraph.connectivity.effective.unit_layout import SourceSide, UnitLayout
from compgraph.connectivity.effective.unit_rows import RowPass, UnitRows
from compgraph.connectivity.effective.unit_scorer import UnitScorer
from compgraph.dictionaries.attached import FeatureTransformer
from compgraph.models.tape import Reading
from compgraph.parts import Parts
from compgraph.patterns import pattern_of


class FeatureUnitScorer(FeatureScorer, UnitScorer):
    """`UnitScorer` of a transformer with dictionaries."""

    def bytes_per_example(self, pairs: Any) -> int:
        """See `FeatureScorer`; and the writes of sites of few nodes."""
        few = sum(self.count[site] for site in self.few) * self.net.spec.d_model * pairs.clean.shape[1]
        return super().bytes_per_example(pairs) + int(few * self.net.weights.embedding.element_size())


@dataclass
class Tile:
    """Some nodes of a site with features: numbers of the first and one behind the last, and their units in order."""

    start: int
    stop: int
    units: Tensor
    parts: Parts
    n_features: int


class FeatureBlocks:
    """Rows and scores of the sites whose features are nodes.

    Parameters
    ----------
    layout, rows
        Of the other sites; the rows' store is shared.
    scorer
        Its divided sites.
    n_examples
        By which sums are divided.
    memory
        Bytes that the scores of a tile may take.
    """

    def __init__(
        self, layout: UnitLayout, rows: UnitRows, scorer: FeatureUnitScorer, n_examples: int, memory: int
    ) -> None:
        self.layout, self.rows, self.scorer, self.n_examples = layout, rows, scorer, n_examples
        assert isinstance(scorer.net, FeatureTransformer)
        self.net = scorer.net
        self.tiles = {site: self._tiles(site, memory) for site in scorer.divided}
        self.few = {site: self._no_scores(site) for site in scorer.divided}
        self.weights: dict[str, Jacobian] = {}
        self.streams: tuple[Change | None, Tensor] = (None, torch.zeros(0))

    def _tiles(self, site: str, memory: int) -> list[Tile]:
        parts, n_features = self.scorer.parts[site], self.net.dictionaries[site].n_features
        width = sum(len(side.units.node) for side in self._many(site))
        step, piece = max(1, memory // (2 * max(1, width) * self.rows.dtype.itemsize)), self._piece(site)
        step = max(piece, step - step % piece)
        found = []
        for start in range(0, len(parts), step):
            stop = min(start + step, len(parts))
            units = ((parts.label >= start) & (parts.label < stop)).nonzero()[:, 0]
            labels = (parts.label[units] - start).cpu().numpy()
            own = Parts.from_labels(labels, stop - start, self.net.device)
            found.append(Tile(start, stop, units, own, int((units < n_features).sum())))
        return found

    def _piece(self, site: str) -> int:
        """Nodes of a tile whose scores are handed out at a time."""
        return max(1, unit_blocks.SLICE // max(1, *(side.units.n_nodes for side in self.layout.read_by(site))))

    def _no_scores(self, site: str) -> Tensor:
        """Of the nodes of all sites with few of them, float64 [parts, nodes]."""
        n = sum(self.scorer.count[side.site] for side in self.layout.read_by(site) if side.site in self.scorer.few)
        return torch.zeros(len(self.scorer.parts[site]), n, dtype=torch.float64, device=self.net.device)

    def _many(self, site: str) -> list[SourceSide]:
        return [side for side in self.layout.read_by(site) if side.site not in self.scorer.few]

    def channel(self, site: str) -> str:
        """By which features read the stream."""
        return "v" if self.scorer.split_qkv and site.startswith("attn") else ""

    # ------------------------------------------------------------ rows

    def add(self, site: str, change: Change, result: PassResult, at_units: Tensor, one: RowPass) -> None:
        """Add what one pass has to say of the features of a site."""
        reading: Reading = result.tape.readings[site]
        pattern = result.units[pattern_of(site)] if site in self.scorer.served else None
        through = jacobian(self.net, site, reading, pattern)
        reads = read_gradient(self.net, site, reading, pattern, at_units * one.weight)
        self.rows.check(site, reads)
        readers, parts = self.scorer.readers[site], self.scorer.parts[site]
        n_features = self.net.dictionaries[site].n_features
        whole = FeatureDestination(site, "", reads, readers, None, parts, through, n_features)
        self._add_few(site, change, reading, whole)
        if pattern is not None:
            self.rows.add_patterns(site, self.scorer._from_heads(site, change, reading, whole, one.batch))
        if not self._many(site):
            return
        for k, tile in enumerate(self.tiles[site]):
            self.rows.append(f"features/{one.number}/{site}/{k}", site, reads[..., tile.units], one)
        for name, values in _per_token(through).items():
            self.rows.append(f"jacobian/{one.number}/{site}/{name}", site, values, one)
        if isinstance(through, ValueJacobian):
            by_query = through.pattern.transpose(1, 2).flatten(2)
            self.rows.append(f"pattern/{one.number}/{site}/{self.rows.n_batches}", site, by_query, one)
        self.weights.setdefault(site, _weights(through, self.rows.dtype))

    def _add_few(self, site: str, change: Change, reading: Reading, whole: FeatureDestination) -> None:
        """Scores from the nodes of all sites with few of them."""
        if self.streams[0] is not change:
            writes = [change.sources[name].writes() for name in self.scorer.few]
            self.streams = change, torch.cat(writes) if writes else torch.zeros(0)
        n = self.few[site].shape[1]
        if n:
            streams = projection(self.net, reading)(self.streams[1][:n]).split(PUSHED)
            found = [whole.from_streams(whole.through.push(x)).sum(0) for x in streams]
            self.few[site] += torch.cat(found, -1).double()

    # ------------------------------------------------------------ scores

    def into(self, site: str) -> Iterator[Block]:
        """Blocks of the edges into the features of a site, but those from its patterns."""
        many, piece = self._many(site), self._piece(site)
        self.streams = None, torch.zeros(0)
        for k, tile in enumerate(self.tiles[site]):
            sums = self._sums(site, k, tile, many) if many else {}
            for start in range(tile.start, tile.stop, piece):
                stop = min(start + piece, tile.stop)
                inside = {name: values[start - tile.start : stop - tile.start] for name, values in sums.items()}
                yield from self._blocks(site, start, stop, inside)

    def _blocks(self, site: str, start: int, stop: int, sums: dict[str, Tensor]) -> Iterator[Block]:
        """Of the edges into the nodes from start to stop, in the order of sources."""
        column = 0
        for side in self.layout.read_by(site):
            n = side.units.n_nodes
            if side.site in sums:
                scores = sums[side.site] / self.n_examples
            else:
                scores = (self.few[site][start:stop, column : column + n] / self.n_examples).to(self.rows.dtype)
                column += n
            if n:
                yield Block(site, self.channel(site), start, side.site, 0, scores)

    def _sums(self, site: str, k: int, tile: Tile, many: list[SourceSide]) -> dict[str, Tensor]:
        """Source site -> scores [nodes of the tile, sources], summed over passes and batches."""
        total: dict[str, Tensor] = {}
        for number, change in enumerate(self.rows.change_of_pass):
            for batch in range(self.rows.n_batches):
                one, project = self._destination(site, k, tile, number, batch)
                sources = [self._source(side, change, batch) for side in many]
                for source, found in zip(sources, from_units(one, sources, project), strict=True):
                    total[source.site] = total[source.site].add_(found) if source.site in total else found
        return total

    def _destination(
        self, site: str, k: int, tile: Tile, number: int, batch: int
    ) -> tuple[FeatureDestination, Projection]:
        """The nodes of a tile as readers in one pass over one batch."""
        rows, weights, change = self.rows, self.weights[site], self.rows.change_of_pass[number]
        gradient = rows.read(f"features/{number}/{site}/{k}", change, batch)
        values = {name: rows.read(f"jacobian/{number}/{site}/{name}", change, batch) for name in _per_token(weights)}
        pattern = None
        if isinstance(weights, ValueJacobian):
            by_query = rows.read(f"pattern/{number}/{site}/{batch}", change, batch, alone=True)
            pattern = by_query.unflatten(-1, (self.net.spec.n_heads, -1)).transpose(1, 2)
        readers = self.scorer.readers[site][tile.units].to(rows.dtype)
        through = _joined(weights, values, pattern)
        one = FeatureDestination(site, "", gradient, readers, None, tile.parts, through, tile.n_features)
        xhat = None if self.net.spec.norm == "none" else rows.read(rows.xhat_key(number, site), change, batch)
        return one, Projection(xhat, self.net.spec.norm == "layer")

    def _source(self, side: SourceSide, change: int, batch: int) -> Source:
        """The change of a site's units in one batch."""
        keys = [self.rows.change_key(change, side.site, tile) for tile in range(len(side.tiles))]
        columns = torch.cat([self.rows.read(key, change, batch) for key in keys], -1)
        if side.condensed:
            rows = side.decoder(self.net, 0, side.units.n_nodes).to(columns.dtype)
            return Source(side.site, columns, rows, None, _parts(side.units))
        parts, moved = self.scorer.parts[side.site], columns
        if side.units.order is not None:
            moved = columns.new_zeros(*columns.shape[:-1], parts.n_units)
            moved[..., side.units.order] = columns
        known = decoder_rows(self.net, side.site)
        source = Source(side.site, moved, None if known is None else known.to(columns.dtype), None, parts)
        if side.site not in self.net.dictionaries:
            return source
        return FeatureSource(**vars(source), n_features=self.net.dictionaries[side.site].n_features)

    def extents(self, site: str) -> Iterator[Extent]:
        """What `into` gives in all."""
        n, first = len(self.scorer.parts[site]), self.tiles[site][0] if self.tiles[site] else None
        for side in self.layout.read_by(site):
            if first is not None and side.units.n_nodes:
                shape = n, side.units.n_nodes
                rows = min(self._piece(site), first.stop - first.start)
                yield Extent(site, self.channel(site), side.site, shape, (rows, shape[1]))


def _parts(units: UnitGroups) -> Parts:
    return Parts.from_labels(units.node.cpu().numpy(), units.n_nodes, units.node.device)


# ---------------------------------------------------------------- Jacobians as rows


def _per_token(through: Jacobian) -> dict[str, Tensor]:
    """What differs from token to token [batch, time, n], but patterns, by name."""
    assert isinstance(through, MlpJacobian | ValueJacobian)
    found = {"factor": through.factor}
    if through.output.xhat is not None and through.output.scale is not None:
        found |= {"xhat": through.output.xhat, "scale": through.output.scale}
    if isinstance(through, MlpJacobian):
        found |= {f"slope {channel}": slope for channel, slope in through.slopes.items()}
    return found


def _weights(through: Jacobian, dtype: torch.dtype) -> Jacobian:
    """The same without what differs from token to token (empty tensors in its place), in a precision."""
    none = torch.zeros(0)
    output = replace(
        through.output,
        rows=None if through.output.rows is None else through.output.rows.to(dtype),
        gain=None if through.output.gain is None else through.output.gain.to(dtype),
        xhat=None if through.output.xhat is None else none,
        scale=None if through.output.scale is None else none,
    )
    if isinstance(through, MlpJacobian):
        readers = {channel: one.to(dtype) for channel, one in through.readers.items()}
        return MlpJacobian(dict.fromkeys(through.slopes, none), readers, none, output)
    assert isinstance(through, ValueJacobian)
    return ValueJacobian(none, through.readers.to(dtype), none, output)


def _joined(weights: Jacobian, values: dict[str, Tensor], pattern: Tensor | None) -> Jacobian:
    """A Jacobian from its weights and what differs from token to token."""
    output: Output = weights.output
    if "xhat" in values:
        output = replace(output, xhat=values["xhat"], scale=values["scale"])
    if isinstance(weights, MlpJacobian):
        slopes = {channel: values[f"slope {channel}"] for channel in weights.slopes}
        return MlpJacobian(slopes, weights.readers, values["factor"], output)
    assert isinstance(weights, ValueJacobian) and pattern is not None
    return ValueJacobian(pattern, weights.readers, values["factor"], output)
