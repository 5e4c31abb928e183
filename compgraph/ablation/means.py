"""Baselines made from averages over a reference set: mean, per-position mean, and Gaussian noise.

The reference set is walked once, when units of a site are first asked for. Sums are kept in float64, so that the
batches in which it is walked do not matter. Positions are counted along the real tokens of an example, wherever the
padding is.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from compgraph.ablation.baselines import Units, one_row, reference_about
from compgraph.data.batches import Batch, batches
from compgraph.errors import DataError
from compgraph.models.network import Network
from compgraph.patterns import SUFFIX
from compgraph.progress import track

BATCH = 64
"""Examples of the reference set in a pass."""


class Mean:
    """The mean of a unit over all real positions of all examples.

    A pattern of attention has no mean over positions; its baseline is the mean over examples of each query and key
    position, whose rows sum to 1 like those of a pattern.
    """

    name = "mean"
    consistent = False

    def __init__(self, net: Network, pairs: Any, reference: Any, seed: int) -> None:
        self.data, self.other = (pairs, False) if reference is None else (reference, True)
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, Tensor] = {}

    def units(self, net: Network, batch: Batch, sites: Collection[str]) -> Units:
        """See `Baseline`."""
        self._prepare(net, sites)
        found = {site: self._units(net, batch, site) for site in sites}
        return {site: one_row(units).to(net.dtype).expand_as(units) for site, units in found.items()}

    def about(self) -> dict[str, Any]:
        """See `Baseline`."""
        return {"baseline": self.name, **reference_about(self.data if self.other else None)}

    @property
    def preparation(self) -> int:
        """Passes of single examples that are counted with those of the call that the baseline serves."""
        return int(self.data.n)

    # ------------------------------------------------------------ the reference set

    def _prepare(self, net: Network, sites: Collection[str]) -> None:
        new = [site for site in sites if site not in self.sums]
        if not new:
            return
        total = -(-self.data.n // BATCH)
        with torch.no_grad():
            for batch in track(batches(net, self.data, BATCH), f"{self.name} of the data", total=total, unit="batch"):
                run = net.run(batch.clean, batch.mask, capture=new, positions=batch.positions)
                for site in new:
                    self._add(site, run.units[site].double(), batch)

    def _add(self, site: str, units: Tensor, batch: Batch) -> None:
        if units.dim() == 2:
            self._accumulate(site, units.sum(0), torch.tensor(len(units), device=units.device))
        elif site.endswith(SUFFIX):
            self._add_patterns(site, units, batch)
        else:
            self._add_tokens(site, units, batch)

    def _add_tokens(self, site: str, units: Tensor, batch: Batch) -> None:
        real = units[real_tokens(batch)]
        self._accumulate(site, real.sum(0), torch.tensor(len(real), device=units.device))

    def _add_patterns(self, site: str, patterns: Tensor, batch: Batch) -> None:
        """Sums by query and key position [heads, time, time], counts by query position [time]."""
        real, heads = real_tokens(batch), patterns.shape[1]
        longest = int(real.sum(1).max())
        total, count = patterns.new_zeros(heads, longest, longest), patterns.new_zeros(longest)
        for one, used in zip(patterns, real, strict=True):
            n = int(used.sum())
            total[:, :n, :n] += one[:, used][:, :, used]
            count[:n] += 1
        self._accumulate(site, total, count)

    def _accumulate(self, site: str, total: Tensor, count: Tensor) -> None:
        """Add sums and counts, whose position axes may have grown."""
        if site not in self.sums:
            self.sums[site], self.counts[site] = total, count
            return
        shape = [max(sizes) for sizes in zip(self.sums[site].shape, total.shape, strict=True)]
        self.sums[site] = _padded(self.sums[site], shape) + _padded(total, shape)
        rows = [max(sizes) for sizes in zip(self.counts[site].shape, count.shape, strict=True)]
        self.counts[site] = _padded(self.counts[site], rows) + _padded(count, rows)

    # ------------------------------------------------------------ what a batch gets

    def _units(self, net: Network, batch: Batch, site: str) -> Tensor:
        if site.endswith(SUFFIX):
            return self._patterns(batch, site)
        mean = self.sums[site] / self.counts[site]
        lead = batch.clean.shape[:2] if net.kind == "transformer" else batch.clean.shape[:1]
        return mean.expand(*lead, -1)

    def _patterns(self, batch: Batch, site: str) -> Tensor:
        mean = self.sums[site] / self.counts[site][:, None]
        time = batch.clean.shape[1]
        out = mean.new_zeros(len(batch), len(mean), time, time)
        for row, used in zip(out, real_tokens(batch), strict=True):
            n = int(used.sum())
            self._check_length(n, mean.shape[-1])
            at = used.nonzero().flatten()
            row[:, at[:, None], at] = mean[:, :n, :n]
        return out

    def _check_length(self, n: int, known: int) -> None:
        if n > known:
            raise DataError(
                f"baseline {self.name!r}: a prompt has {n} tokens, and the longest of the reference data {known}; "
                "give reference data as long, or take the baseline 'mean'"
            )


class PositionMean(Mean):
    """The mean of a unit over examples at the same token position; images have one position."""

    name = "position-mean"

    def _add_tokens(self, site: str, units: Tensor, batch: Batch) -> None:
        real = real_tokens(batch)
        longest = int(real.sum(1).max())
        at = _position_ids(real)[real]
        total = units.new_zeros(longest, units.shape[-1]).index_add_(0, at, units[real])
        self._accumulate(site, total, torch.bincount(at, minlength=longest)[:, None])

    def _units(self, net: Network, batch: Batch, site: str) -> Tensor:
        if net.kind != "transformer" or site.endswith(SUFFIX):
            return super()._units(net, batch, site)
        mean, real = self.sums[site] / self.counts[site], real_tokens(batch)
        self._check_length(int(real.sum(1).max()), len(mean))
        return mean[_position_ids(real)]


def real_tokens(batch: Batch) -> Tensor:
    """[batch, time] bool: the tokens that are no padding."""
    return torch.ones_like(batch.clean, dtype=torch.bool) if batch.mask is None else batch.mask


def _position_ids(real: Tensor) -> Tensor:
    """Number of the real token at each place, 0 for padding in front."""
    return (real.long().cumsum(1) - 1).clamp_min(0)


def _padded(values: Tensor, shape: list[int]) -> Tensor:
    """Zeros behind every axis up to a shape."""
    if list(values.shape) == list(shape):
        return values
    out = values.new_zeros(shape)
    out[tuple(slice(size) for size in values.shape)] = values
    return out
