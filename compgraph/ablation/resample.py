"""Resampling: the values of another example."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from compgraph.ablation.baselines import Units, reference_about
from compgraph.data.batches import Batch
from compgraph.errors import DataError
from compgraph.models.network import Network
from compgraph.models.transformer import Transformer


class Resample:
    """The clean run of another example, drawn at random from the data or a reference set (resample ablation; Chan et
    al. 2022, causal scrubbing).

    A prompt's donor is one of as many tokens, so that positions correspond; where there is none, a longer one without
    its last tokens (the run of a prefix is the prefix of the run), the shortest such length. The same donor serves all
    sites: the baseline run is a run of the network.

    Raises
    ------
    DataError
        A prompt longer than all others, a single image, images of another shape.
    """

    name = "resample"
    consistent = True

    def __init__(self, net: Network, pairs: Any, reference: Any, seed: int) -> None:
        self.data, self.other, self.seed = (pairs, False, seed) if reference is None else (reference, True, seed)
        if self.data.clean.ndim != pairs.clean.ndim or self.data.clean.shape[2:] != pairs.clean.shape[2:]:
            raise DataError("baseline 'resample': the reference data are of another kind or shape than the data")
        self.lengths = _lengths(self.data)
        self.donors = self._draw(pairs)
        self.cut = int((_lengths(pairs) < self.lengths[self.donors]).sum())

    def _draw(self, pairs: Any) -> npt.NDArray[np.int64]:
        """The number of the donor of every example."""
        wanted = _lengths(pairs)
        known = np.unique(self.lengths)
        donors = np.zeros(pairs.n, np.int64)
        for i, length in enumerate(wanted):
            rng = np.random.default_rng([self.seed, i])
            for candidate in known[known >= length]:
                rows = np.flatnonzero(self.lengths == candidate)
                rows = rows if self.other else rows[rows != i]
                if len(rows):
                    donors[i] = rng.choice(rows)
                    break
            else:
                raise DataError(
                    f"baseline 'resample': there is no other example as long as {pairs.ids[i]!r} ({length} tokens); "
                    "give reference data with longer prompts, or take another baseline"
                )
        return donors

    def units(self, net: Network, batch: Batch, sites: Collection[str]) -> Units:
        """See `Baseline`."""
        with torch.no_grad():
            inputs = self._inputs(batch)
            if isinstance(net, Transformer) and "logits" not in sites:
                return net.capture(inputs, batch.mask, sites)
            return net.run(inputs, batch.mask, capture=sites, positions=batch.positions).units

    def _inputs(self, batch: Batch) -> Tensor:
        """The donors' inputs, their tokens at the places of the real tokens of the batch."""
        donors = self.donors[batch.rows]
        if batch.clean.is_floating_point():
            return torch.from_numpy(np.ascontiguousarray(self.data.clean[donors])).to(batch.clean)
        inputs = batch.clean.clone()
        real = torch.ones_like(inputs, dtype=torch.bool) if batch.mask is None else batch.mask
        for row, used, donor in zip(inputs, real, donors, strict=True):
            tokens = self.data.clean[donor]
            tokens = tokens if self.data.mask is None else tokens[self.data.mask[donor]]
            row[used] = torch.from_numpy(np.ascontiguousarray(tokens[: int(used.sum())])).to(row)
        return inputs

    def about(self) -> dict[str, Any]:
        """See `Baseline`; `baseline_cut` counts the examples whose donor was longer."""
        said = {"baseline": self.name, "baseline_seed": self.seed, "baseline_cut": self.cut}
        return said | reference_about(self.data if self.other else None)


def _lengths(pairs: Any) -> npt.NDArray[np.int64]:
    """Real tokens of each example; 1 for images."""
    if pairs.clean.ndim > 2:
        return np.ones(pairs.n, np.int64)
    if pairs.mask is None:
        return np.full(pairs.n, pairs.clean.shape[1])
    return np.asarray(pairs.mask.sum(1), np.int64)
