"""Scores of all edges of a chain (CNN, MLP) in blocks.

With A the changes of a source's units, G the gradients at the pre-activations of the next site (a row per example) and
W the map between them, the score of two nodes is the sum of (Gᵀ A) * W over their units. Rows of W are images of unit
vectors under the adjoint map, so that a convolution is never a matrix of units by units. Where either site has few
nodes, gradients are pulled back or changes pushed forward node by node, as soon as they are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from compgraph.ablation.baselines import Units
from compgraph.architectural import edge_channels
from compgraph.connectivity.blockwise.block import Block, Extent
from compgraph.connectivity.effective.chains import ChainScorer
from compgraph.connectivity.effective.passes import PassResult
from compgraph.connectivity.effective.products import is_few
from compgraph.connectivity.effective.scratch import RowStore
from compgraph.connectivity.effective.unit_groups import UnitGroups
from compgraph.data.batches import Batch
from compgraph.errors import DataError
from compgraph.models.sequential import Sequential
from compgraph.partition import Partition


class ChainUnitScorer(ChainScorer):
    """A scorer whose scores are never asked for at once."""

    def bytes_per_example(self, pairs: Any) -> int:
        """Units and pre-activations of all sites, and the images of one site's few nodes."""
        widths = [sum(parts.n_units for parts in of.values()) for of in (self.parts, self.pre_parts)]
        images = [
            len(self.pre_parts[v]) * self.parts[u].n_units
            for u, v in pairwise(self.sites)
            if is_few(self.pre_parts[v])
        ]
        return (4 * sum(widths) + 2 * max(images, default=0)) * torch.finfo(self.net.dtype).bits // 8


class ChainBlocks:
    """`ScoreBlocks` of a chain.

    Parameters
    ----------
    net, partition
        The nodes.
    store
        For the rows.
    n_examples
        By which sums are divided.
    memory
        Bytes that the products of a block may take.
    """

    def __init__(self, net: Sequential, partition: Partition, store: RowStore, n_examples: int, memory: int) -> None:
        self.net, self.partition, self.store, self.n_examples = net, partition, store, n_examples
        self.scorer = ChainUnitScorer(net, partition)
        self.architecture, self.channels = net.architecture, edge_channels(net)
        self.sites = self.scorer.sites[1:]
        self.before = dict(zip(self.sites, self.scorer.sources, strict=True))
        self.dtype = torch.float64 if net.dtype == torch.float64 else torch.float32
        self.sources = {site: UnitGroups.from_parts(parts) for site, parts in self.scorer.parts.items()}
        self.targets = {site: UnitGroups.from_parts(parts) for site, parts in self.scorer.pre_parts.items()}
        self.limit = {site: self._limit(site, memory) for site in self.sites}
        self.slices = {site: self.targets[site].cut(self.limit[site]) for site in self.sites}
        self.memory = memory
        self.few: dict[str, Tensor] = {
            site: torch.zeros(self._shape(site), dtype=torch.float64, device=net.device)
            for site in self.sites
            if is_few(self.scorer.pre_parts[site]) or is_few(self.scorer.parts[self.before[site]])
        }

    def _limit(self, site: str, memory: int) -> int:
        """Pre-activations whose rows of W are there at a time."""
        width = self.scorer.parts[self.before[site]].n_units + self.scorer.pre_parts[site].n_units
        return max(1, memory // (4 * width * self.dtype.itemsize))

    def _shape(self, site: str) -> tuple[int, int]:
        return self.targets[site].n_nodes, self.sources[self.before[site]].n_nodes

    def add(self, passes: Iterable[tuple[Units, PassResult, float]], batch: Batch) -> None:
        """See `ScoreBlocks`. Passes with one change share its rows: their gradients are added up."""
        current: Units | None = None
        total: list[Tensor] = []
        for change, result, weight in passes:
            found = torch.autograd.grad(result.metric.sum(), [result.tape[site] for site in self.sites])
            gradients = [one.flatten(1) * weight for one in found]
            if change is current:
                total = [one + other for one, other in zip(total, gradients, strict=True)]
                continue
            self._flush(current, total)
            current, total = change, gradients
        self._flush(current, total)

    def _flush(self, change: Units | None, gradients: list[Tensor]) -> None:
        if change is None:
            return
        with torch.no_grad():
            for site, gradient in zip(self.sites, gradients, strict=True):
                if not torch.isfinite(gradient).all():
                    raise DataError(f"gradients of the metric at what {site} reads are not finite")
                moved = change[self.before[site]]
                if 0 in self._shape(site):
                    continue
                if site in self.few:
                    self.few[site] += self._between_few(site, moved, gradient)
                    continue
                self.store.append(f"change/{site}", self.sources[self.before[site]].pick(moved).to(self.dtype))
                picked = self.targets[site].pick(gradient).to(self.dtype)
                for k, (a, b) in enumerate(self.slices[site]):
                    self.store.append(f"gradient/{site}/{k}", picked[:, self.targets[site].units(a, b)])

    def _between_few(self, site: str, moved: Tensor, gradient: Tensor) -> Tensor:
        """Sums over the batch [targets, sources]: gradients pulled back, or changes pushed forward."""
        sources, targets = self.scorer.parts[self.before[site]], self.scorer.pre_parts[site]
        if is_few(targets):
            return sources.sums((self.scorer._pull_back(site, gradient) * moved).sum(1).double())
        reader, out = self.net.reader(site), []
        for index in sources.index:
            only = torch.zeros_like(moved)
            only[:, index] = moved[:, index]
            out.append(targets.sums((reader(only, bias=False).flatten(1) * gradient).sum(0).double()))
        return torch.stack(out, 1)

    def into(self, site: str) -> Iterator[Block]:
        """See `ScoreBlocks`."""
        if 0 in self._shape(site):
            return
        if site in self.few:
            yield Block(site, "", 0, self.before[site], 0, (self.few[site] / self.n_examples).to(self.dtype))
            return
        for k, (a, b) in enumerate(self.slices[site]):
            yield Block(site, "", a, self.before[site], 0, self._scores(site, k, a, b))

    def _scores(self, site: str, k: int, a: int, b: int) -> Tensor:
        """Of the edges into the nodes from a to b, a piece of their pre-activations at a time."""
        source, target, limit = self.sources[self.before[site]], self.targets[site], self.limit[site]
        at = target.units(a, b)
        out = torch.zeros(b - a, source.n_nodes, dtype=self.dtype, device=self.net.device)
        for start in range(at.start, at.stop, limit):
            units = slice(start, min(start + limit, at.stop))
            product = self._product(site, k, slice(units.start - at.start, units.stop - at.start))
            product *= source.pick(self._weights(site, target, units))
            out.index_add_(0, target.node[units] - a, source.sums(product, 1))
        return out / self.n_examples

    def _product(self, site: str, k: int, units: slice) -> Tensor:
        """Gᵀ A of some of a slice's pre-activations with all source units, some rows at a time."""
        changes, gradients = f"change/{site}", f"gradient/{site}/{k}"
        n, out = self.store.length(changes), None
        per_row = 2 * sum(self.store.shape[key][1] for key in (changes, gradients)) * self.dtype.itemsize
        step = max(16, self.memory // per_row)
        for a in range(0, n, step):
            g, moved = (self.store.read(key, a, min(a + step, n)).to(self.net.device) for key in (gradients, changes))
            term = g[:, units].T @ moved
            out = term if out is None else out.add_(term)
        assert out is not None
        return out

    def _weights(self, site: str, target: UnitGroups, units: slice) -> Tensor:
        """Rows of W [units, source units]."""
        reader, n = self.net.reader(site), self.scorer.pre_parts[site].n_units
        at = torch.arange(units.start, units.stop, device=self.net.device)
        at = at if target.order is None else target.order[at]
        if reader.kind == "linear":
            return reader.weight[at].to(self.dtype)
        unit = torch.zeros(len(at), n, dtype=self.net.dtype, device=self.net.device)
        unit[torch.arange(len(at)), at] = 1
        return reader.transpose(unit).to(self.dtype)

    def extents(self) -> Iterator[Extent]:
        """See `ScoreBlocks`."""
        for site in self.sites:
            shape = self._shape(site)
            if all(shape):
                a, b = (0, shape[0]) if site in self.few else self.slices[site][0]
                yield Extent(site, "", self.before[site], shape, (b - a, shape[1]))
