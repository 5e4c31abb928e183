"""What the data have to say about every unit, a row per example and position, gathered in one pass.

Of every source the change of its units, of every target channel the gradient at its pre-activations over the norm's
scale and the rank-one factor of the norm's Jacobian, of every reading site the normalised stream. Rows in which
ablation changes nothing are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from compgraph.connectivity.effective.endpoints import destinations, projection
from compgraph.connectivity.effective.passes import PassResult
from compgraph.connectivity.effective.scratch import RowStore
from compgraph.connectivity.effective.stream_sources import Change
from compgraph.connectivity.effective.unit_layout import UnitLayout
from compgraph.connectivity.effective.unit_scorer import UnitScorer
from compgraph.data.batches import Batch
from compgraph.errors import DataError
from compgraph.models.tape import Reading


class Features(Protocol):
    """Keeps what the features of divided sites have to say (`unit_features.FeatureBlocks`)."""

    def add(self, site: str, change: Change, result: PassResult, at_units: Tensor, one: RowPass) -> None:
        """Of one pass."""
        ...


class UnitRows:
    """The rows of all batches.

    A pass is numbered by its place among the passes of its batch, and so is a change of writes; passes that share a
    change share its rows, and their gradients are added up.

    Attributes
    ----------
    change_of_pass
        Number of the change for each pass.
    patterns
        Attention site -> sum over examples of the scores pattern -> part, float64 [parts, heads].
    features
        Of sites whose features are nodes.
    n_batches, spans
        Batches so far; number of a change and batch -> where its rows begin, and their shape (batch, time).
    """

    features: Features

    def __init__(self, layout: UnitLayout, scorer: UnitScorer, store: RowStore) -> None:
        self.layout, self.scorer, self.net, self.store = layout, scorer, layout.net, store
        self.dtype = torch.float64 if self.net.dtype == torch.float64 else torch.float32
        self.change_of_pass: list[int] = []
        self.patterns: dict[str, Tensor] = {}
        self.n_batches = 0
        self.spans: dict[tuple[int, int], tuple[int, tuple[int, int]]] = {}
        # Values of attention reach over tokens, which must therefore all be there.
        self.whole = any(site.startswith("attn") for site in scorer.divided)

    def change_key(self, change: int, site: str, tile: int) -> str:
        """Matrix [rows, units] of the change of a tile of units."""
        return f"change/{change}/{site}/{tile}"

    def gradient_key(self, change: int, side: str, product: str) -> str:
        """Matrix [rows, units] of the gradients of the passes of a change, times their weights."""
        return f"gradient/{change}/{side}/{product}"

    def along_key(self, number: int, side: str) -> str:
        """Matrix [rows, nodes] of the rank-one factors of a pass, times its weight."""
        return f"along/{number}/{side}"

    def xhat_key(self, number: int, site: str) -> str:
        """Matrix [rows, d_model] of the normalised stream of a pass."""
        return f"xhat/{number}/{site}"

    def add(self, passes: Iterable[tuple[Change, PassResult, float]], batch: Batch) -> None:
        """Add the rows of one batch."""
        current, moved = None, torch.zeros(0)
        changes: list[int] = []
        total: dict[str, Tensor] = {}
        for change, result, weight in passes:
            if change is not current:
                self._flush(total)
                current, number = change, changes[-1] + 1 if changes else 0
                with torch.no_grad():
                    moved = self._add_change(change, number)
                self._add_span(number, len(moved), batch)
            one = RowPass(len(changes), number, weight, batch, moved)
            changes.append(number)
            self._add_pass(change, result, one, total)
        self._flush(total)
        if self.change_of_pass and changes != self.change_of_pass:
            raise ValueError("a method must make the same passes over every batch")
        self.change_of_pass = changes
        self.n_batches += 1

    def _add_span(self, number: int, n: int, batch: Batch) -> None:
        start, shape = self.spans.get((number, self.n_batches - 1), (0, (0, 0)))
        here = (len(batch), batch.clean.shape[1]) if self.whole else (1, n)
        self.spans[number, self.n_batches] = start + shape[0] * shape[1], here

    def read(self, key: str, number: int, batch: int, *, alone: bool = False) -> Tensor:
        """Rows of one change and batch [batch, time, width] (one example where not all rows are there); `alone`: the
        matrix has those of this batch only."""
        start, shape = self.spans[number, batch]
        start = 0 if alone else start
        return self.store.read(key, start, start + shape[0] * shape[1]).to(self.net.device).unflatten(0, shape)

    def append(self, key: str, site: str, values: Tensor, one: RowPass) -> None:
        """Add rows of a pass from values [batch, time, n]."""
        self.store.append(key, self._rows(site, values, one))

    def add_patterns(self, site: str, scores: Tensor) -> None:
        """Add scores pattern -> part [batch or 1, parts, heads]."""
        scores = scores.sum(0).double()
        self.patterns[site] = self.patterns.get(site, torch.zeros_like(scores)) + scores

    @staticmethod
    def check(site: str, values: Tensor) -> None:
        """Refuse gradients that are not finite."""
        if not torch.isfinite(values).all():
            raise DataError(f"gradients of the metric at what {site} reads are not finite")

    def _flush(self, total: dict[str, Tensor]) -> None:
        for key in list(total):
            self.store.append(key, total.pop(key))

    def _add_change(self, change: Change, number: int) -> Tensor:
        """Keep the rows with a change, and return their places among those of the batch."""
        sources = change.sources.values()
        any_moved = torch.stack([source.change.flatten(0, 1).ne(0).any(1) for source in sources]).any(0)
        if self.whole or any(source.constant is not None for source in sources):
            any_moved = torch.ones_like(any_moved)
        moved = any_moved.nonzero()[:, 0]
        for site, side in self.layout.sources.items():
            columns = side.columns(change.sources[site])[moved].to(self.dtype)
            for tile, (start, stop) in enumerate(side.tiles):
                self.store.append(self.change_key(number, site, tile), columns[:, side.units.units(start, stop)])
        return moved

    def _add_pass(self, change: Change, result: PassResult, one: RowPass, total: dict[str, Tensor]) -> None:
        [step] = self.scorer.steps_back(result)
        with torch.no_grad():
            for site in self.layout.targets:
                reading = result.tape.readings[site]
                if site in self.scorer.divided:
                    self.features.add(site, change, result, step.at_units[site], one)
                elif site in step.at_units:
                    scores = self.scorer._from_patterns(site, change, reading, step.at_units[site], one.batch)
                    self.add_patterns(site, scores * one.weight)
                self._add_site(site, reading, step.at_reads.pop(site), one, total)

    def _add_site(
        self, site: str, reading: Reading, gradient: Mapping[str, Tensor], one: RowPass, total: dict[str, Tensor]
    ) -> None:
        xhat = projection(self.net, reading).xhat
        if xhat is not None:
            xhat = self._rows(site, xhat, one)
            self.store.append(self.xhat_key(one.number, site), xhat)
        for side in self.layout.targets[site]:
            found = destinations(self.net, site, reading, gradient, dict.fromkeys(gradient, side.parts))
            values = [self._rows(site, g, one).mul_(one.weight) for g in side.gradients({d.channel: d for d in found})]
            for product, value in zip(side.products, values, strict=True):
                self.check(site, value)
                key = self.gradient_key(one.change, side.key, product)
                total[key] = value if key not in total else total[key] + value
            if xhat is not None:
                self.store.append(self.along_key(one.number, side.key), side.along(self.net, values, xhat))

    def _rows(self, site: str, values: Tensor, one: RowPass) -> Tensor:
        """Those of the rows [batch, (time,) n] in which something changes: a copy [rows, n]."""
        if site == "logits":
            values = _at_scored(values, one.batch)
        return values.flatten(0, 1)[one.moved].to(self.dtype)


@dataclass
class RowPass:
    """A pass over a batch: its number, that of its change, its weight, and the rows that change."""

    number: int
    change: int
    weight: float
    batch: Batch
    moved: Tensor


def _at_scored(values: Tensor, batch: Batch) -> Tensor:
    """[batch, n] at scored positions -> [batch, time, n], zero elsewhere."""
    assert batch.positions is not None
    out = values.new_zeros(len(values), batch.clean.shape[1], values.shape[-1])
    out[torch.arange(len(values), device=values.device), batch.positions] = values
    return out
