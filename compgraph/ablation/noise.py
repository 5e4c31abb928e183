"""Gaussian noise with the mean and covariance of each site."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compgraph.ablation.means import Mean, real_tokens
from compgraph.data.batches import Batch
from compgraph.errors import DataError
from compgraph.models.network import Network
from compgraph.patterns import SUFFIX

MOST_UNITS = 8192
"""Sites of more units are refused: their covariance would take more than half a gigabyte."""
JITTER = 1e-9
"""Added to the variances, as a share of their mean, so that a covariance of few samples can be factored."""


class Noise(Mean):
    """A draw from the Gaussian with the mean and covariance of the site's units over all real positions.

    Every position of every example has a draw of its own, independent between positions and sites, from a seed of its
    own (seed, site, example), so that it does not depend on the batches. Patterns of attention, which a Gaussian would
    not leave patterns, take their mean. The covariance is that of the reference set (divisor n), factored with
    `JITTER`.

    Raises
    ------
    DataError
        A site of more than `MOST_UNITS` units.
    """

    name = "noise"

    def __init__(self, net: Network, pairs: Any, reference: Any, seed: int) -> None:
        super().__init__(net, pairs, reference, seed)
        self.seed = seed
        self.origin: dict[str, Tensor] = {}
        self.squares: dict[str, Tensor] = {}
        self.factors: dict[str, Tensor] = {}

    def about(self) -> dict[str, Any]:
        """See `Baseline`."""
        return {**super().about(), "baseline_seed": self.seed}

    def _add(self, site: str, units: Tensor, batch: Batch) -> None:
        super()._add(site, units, batch)
        if site.endswith(SUFFIX):
            return
        if units.shape[-1] > MOST_UNITS:
            raise DataError(
                f"baseline 'noise': the covariance of site {site!r} with its {units.shape[-1]:,} units is too large; "
                f"at most {MOST_UNITS:,} can be served"
            )
        samples = units if units.dim() == 2 else units[real_tokens(batch)]
        # About an origin near the mean (the first samples'), so that the subtraction of means loses no digits.
        origin = self.origin.setdefault(site, samples.mean(0))
        samples = samples - origin
        product = samples.T @ samples
        self.squares[site] = self.squares[site] + product if site in self.squares else product

    def _units(self, net: Network, batch: Batch, site: str) -> Tensor:
        mean = super()._units(net, batch, site)
        if site.endswith(SUFFIX):
            return mean
        factor = self._factor(site)
        draws = torch.zeros(mean.shape, dtype=torch.float64)
        real = None if mean.dim() == 2 else real_tokens(batch).cpu()
        for k, row in enumerate(batch.rows):
            rng = np.random.default_rng([self.seed, zlib.crc32(site.encode()), int(row)])
            if real is None:
                draws[k] = torch.from_numpy(rng.standard_normal(mean.shape[-1]))
            else:
                draws[k, real[k]] = torch.from_numpy(rng.standard_normal((int(real[k].sum()), mean.shape[-1])))
        return mean + draws.to(mean.device) @ factor.T

    def _factor(self, site: str) -> Tensor:
        """Lower triangle L with L Lᵀ the covariance."""
        if site not in self.factors:
            n = self.counts[site]
            away = self.sums[site] / n - self.origin[site]
            covariance = self.squares.pop(site) / n - torch.outer(away, away)
            variances = covariance.diagonal().clamp_min(0)
            size = variances.mean()
            if size == 0:  # nothing varies: the mean is all there is
                self.factors[site] = torch.zeros_like(covariance)
                return self.factors[site]
            covariance.diagonal().add_(JITTER * size)
            self.factors[site] = torch.linalg.cholesky(covariance)
        return self.factors[site]
