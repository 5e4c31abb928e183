"""What is known of all scores though few are kept: their sums by node, their number and their histogram."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from compgraph.errors import DataError

LOWEST, HIGHEST = -126, 127
"""Exponents of the outermost bins, those of float32; scores beyond them are counted there."""

_BITS = {torch.float32: (torch.int32, 23, 0xFF, 127), torch.float64: (torch.int64, 52, 0x7FF, 1023)}


class Histogram:
    """Counts of scores by sign and power of two.

    The edges are fixed: bin e of a sign holds the scores with 2^e <= |score| < 2^(e+1); scores of exactly 0 are counted
    apart. The exponent is a field of the number itself, so that counting costs no logarithm.
    """

    def __init__(self) -> None:
        self.counts = np.zeros((2, HIGHEST - LOWEST + 1), np.int64)
        self.zero = 0

    @property
    def n(self) -> int:
        """Number of scores."""
        return int(self.counts.sum()) + self.zero

    def add(self, scores: Tensor) -> None:
        """Count scores (float32 or float64, contiguous, any shape).

        Raises
        ------
        DataError
            One of them is not finite.
        """
        kind, shift, mask, bias = _BITS[scores.dtype]
        field = scores.reshape(-1).view(kind).bitwise_right_shift(shift).bitwise_and_(2 * mask + 1)
        counts = torch.bincount(field, minlength=2 * mask + 2).cpu().numpy().reshape(2, mask + 1)
        if counts[:, mask].any():
            raise DataError("a score is not finite")
        zero = int((scores == 0).sum()) if counts[:, 0].any() else 0
        low = LOWEST + bias  # exponent field of the lowest bin
        self.counts += counts[:, low : low + self.counts.shape[1]]
        self.counts[:, 0] += counts[:, :low].sum(1)
        self.counts[:, -1] += counts[:, low + self.counts.shape[1] :].sum(1)
        if zero:
            negative = int(torch.signbit(scores[scores == 0]).sum())
            self.counts[1, 0] -= negative
            self.counts[0, 0] -= zero - negative
            self.zero += zero

    def about(self) -> dict[str, Any]:
        """JSON-able: `zero`, and for the bins from the first to the last that is not empty `exponents` e (see above),
        `positive` and `negative`."""
        used = np.flatnonzero(self.counts.any(0))
        bins = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 0)
        return {
            "zero": self.zero,
            "exponents": list(range(LOWEST + bins.start, LOWEST + bins.stop)),
            "positive": self.counts[0, bins].tolist(),
            "negative": self.counts[1, bins].tolist(),
        }


class NodeSums:
    """Sums of scores and of their absolute values over the edges into and out of every node, in float64."""

    def __init__(self, n_nodes: int) -> None:
        self.into, self.out = np.zeros((2, n_nodes)), np.zeros((2, n_nodes))

    def add(self, scores: Tensor, absolute: Tensor, target: int, source: int) -> None:
        """Add a block [targets, sources] whose first nodes have these numbers."""
        targets, sources = slice(target, target + scores.shape[0]), slice(source, source + scores.shape[1])
        for row, values in enumerate((scores, absolute)):
            self.into[row, targets] += values.sum(1).double().cpu().numpy()
            self.out[row, sources] += values.sum(0).double().cpu().numpy()

    def columns(self) -> dict[str, np.ndarray]:
        """Columns of the table of nodes: `in_sum`, `in_absolute`, `out_sum`, `out_absolute`, over all channels."""
        return {
            "in_sum": self.into[0],
            "in_absolute": self.into[1],
            "out_sum": self.out[0],
            "out_absolute": self.out[1],
        }
