"""Scores between the units of two sites from rows that were gathered before.

With a row r per example and position, A the changes of source units, G the gradients of target units over the norm's
scale, W_dec and W_read their rows (the latter centred if the norm centres) and xhat the normalised stream,

    score = (Gᵀ A) * (W_read W_decᵀ) - G'ᵀ A' / d,   G' = G * (xhat W_readᵀ),   A' = A * (xhat W_decᵀ)

(design, section 4): three matrix products for all pairs of units, the last between nodes only, since sums over a
node's units can be taken first. G' comes with the rows; A' depends on the reading site, and is shared by its channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from compgraph.connectivity.blockwise.block import Block
from compgraph.connectivity.effective.unit_layout import SourceSide, TargetSide, UnitLayout
from compgraph.connectivity.effective.unit_rows import UnitRows

SLICE = 2**20
"""Scores that are finished and handed out at a time: few enough to stay in the processor's cache."""


class UnitBlocks:
    """Blocks of mean scores, site by site.

    Parameters
    ----------
    layout, rows
        Sides and data.
    n_examples
        By which sums are divided.
    memory
        Bytes that the rows read at a time may take.
    """

    def __init__(self, layout: UnitLayout, rows: UnitRows, n_examples: int, memory: int) -> None:
        self.layout, self.rows, self.net, self.n_examples = layout, rows, layout.net, n_examples
        self.memory = memory
        self.centred = self.net.spec.norm == "layer"
        self.active: dict[str, Tensor | None] = {}

    def into(self, site: str) -> Iterator[Block]:
        """Blocks of all edges into a site but those from its own patterns; per channel and target in the order of
        sources."""
        self.active.clear()
        sides = [side for side in self.layout.targets[site] if side.units.n_nodes]
        if not sides:
            return
        readers = [self._readers(side) for side in sides]
        for source in self.layout.read_by(site):
            for tile in range(len(source.tiles)):
                yield from self._tile(site, sides, readers, source, tile)

    def _readers(self, side: TargetSide) -> list[Tensor]:
        return [rows.to(self.rows.dtype) for rows in side.rows(self.net, centred=self.centred)]

    def _tile(
        self, site: str, sides: list[TargetSide], readers: list[list[Tensor]], source: SourceSide, tile: int
    ) -> Iterator[Block]:
        start, stop = source.tiles[tile]
        decoder = source.decoder(self.net, start, stop).to(self.rows.dtype) / self.n_examples
        sums = self._sums(_Tile(site, sides, source, tile, decoder))
        columns = decoder.T.contiguous()
        for side, rows, one in zip(sides, readers, sums, strict=True):
            for a, b in target_slices(self.layout, side):
                at = side.units.units(a, b)
                total = None
                for product, reader in zip(one.products, rows, strict=True):
                    term = product[at].mul_(reader[at] @ columns)
                    total = term if total is None else total.add_(term)
                assert total is not None
                scores = source.units.sums(side.units.sums(total, 0, a, b), 1, start, stop)
                if one.correction is not None:
                    scores -= one.correction[a:b]
                yield Block(side.site, side.channel, a, source.site, start, scores)

    def _sums(self, tile: _Tile) -> list[_Sums]:
        normed = self.net.spec.norm != "none"
        start, stop = tile.source.tiles[tile.index]
        new = tile.decoder.new_zeros
        sums = [
            _Sums(
                [new(len(side.units.node), len(tile.decoder)) for _ in side.products],
                new(side.units.n_nodes, stop - start) if normed else None,
            )
            for side in tile.sides
        ]
        for change in range(self.rows.change_of_pass[-1] + 1):
            key = self.rows.change_key(change, tile.source.site, tile.index)
            for a, b in self._chunks(key, tile.site):
                moved = self._read(key, a, b)
                self._add_products(tile, sums, change, moved, a, b)
                for number, of in enumerate(self.rows.change_of_pass):
                    if normed and of == change:
                        self._add_corrections(tile, sums, number, moved, a, b)
        return sums

    def _add_products(self, tile: _Tile, sums: list[_Sums], change: int, moved: Tensor, a: int, b: int) -> None:
        for side, one in zip(tile.sides, sums, strict=True):
            for name, product in zip(side.products, one.products, strict=True):
                key = self.rows.gradient_key(change, side.key, name)
                gradient = self._read(key, a, b)
                active = self._active(f"{key}/{a}", [gradient])
                product.addmm_(_only(gradient, active).T, _only(moved, active))

    def _add_corrections(self, tile: _Tile, sums: list[_Sums], number: int, moved: Tensor, a: int, b: int) -> None:
        factors = [self._read(self.rows.along_key(number, side.key), a, b) for side in tile.sides]
        active = self._active(f"{number}/{tile.site}/{a}", factors)
        xhat = _only(self._read(self.rows.xhat_key(number, tile.site), a, b), active)
        along = (xhat @ tile.decoder.T).mul_(_only(moved, active))
        along = tile.source.units.sums(along, 1, *tile.source.tiles[tile.index])
        for factor, one in zip(factors, sums, strict=True):
            assert one.correction is not None
            one.correction.addmm_(_only(factor, active).T, along, alpha=1 / xhat.shape[1])

    def _read(self, key: str, a: int, b: int) -> Tensor:
        return self.rows.store.read(key, a, b).to(self.net.device)

    def _chunks(self, key: str, site: str) -> list[tuple[int, int]]:
        """Ranges of rows that are read at a time."""
        per_row = 2 * (self.layout.width(site) + self.layout.limit) * self.rows.dtype.itemsize
        step, n = max(16, self.memory // per_row), self.rows.store.length(key)
        return [(a, min(a + step, n)) for a in range(0, n, step)]

    def _active(self, key: str, values: list[Tensor]) -> Tensor | None:
        """Rows that are not zero, None for all: in the last layer most positions have no gradient."""
        if key not in self.active:
            some = torch.stack([value.ne(0).any(1) for value in values]).any(0)
            self.active[key] = None if some.all() else some.nonzero()[:, 0]
        return self.active[key]


def target_slices(layout: UnitLayout, side: TargetSide) -> list[tuple[int, int]]:
    """Ranges of nodes whose scores are finished at a time, the same whatever the source."""
    return side.units.cut(max(1, SLICE // layout.limit))


@dataclass
class _Tile:
    """Nodes of a source whose edges into all sides of a site are computed at once; their decoder rows, divided by
    the number of examples."""

    site: str
    sides: list[TargetSide]
    source: SourceSide
    index: int
    decoder: Tensor


@dataclass
class _Sums:
    """Of one side: the products Gᵀ A [units, units], and G'ᵀ A' / d [nodes, nodes] if there is a norm."""

    products: list[Tensor]
    correction: Tensor | None


def _only(values: Tensor, rows: Tensor | None) -> Tensor:
    return values if rows is None else values[rows]
