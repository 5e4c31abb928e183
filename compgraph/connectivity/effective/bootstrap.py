"""Bootstrap over examples, in the same pass as the scores.

Resample b of n examples counts example i w_b(i) times, w_b multinomial: its mean score is Σ_i w_b(i) s_i / n. All
counts are drawn before the data are walked, so that one product of counts and scores a batch adds up every resample's
mean and no score need be kept (Efron & Tibshirani 1993).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from compgraph.errors import DataError

MEMORY = 2**30
"""Bytes that the resamples' sums may take."""
LEVEL = 0.95
"""Coverage of the intervals."""


class Bootstrap:
    """Resamples of the examples and the sums of the scores of all edges in them.

    Parameters
    ----------
    n_examples, n_edges
        Sizes.
    resamples
        Number of resamples.
    seed
        Of the draws.

    Raises
    ------
    DataError
        Sums that take more than `MEMORY` bytes.
    """

    def __init__(self, n_examples: int, n_edges: int, resamples: int, seed: int) -> None:
        most = max(0, MEMORY // (8 * max(1, n_edges)))
        if resamples > most:
            raise DataError(f"bootstrap is {resamples}: with {n_edges:,} edges it can be at most {most}")
        rng = np.random.default_rng([seed, n_examples])
        self.counts = np.zeros((resamples, n_examples), np.uint16)
        for row in self.counts:
            row[:] = np.bincount(rng.integers(n_examples, size=n_examples), minlength=n_examples)
        self.total = np.zeros((resamples, n_edges))
        self.signs = np.zeros((2, n_edges), np.int64)

    def add(self, scores: npt.NDArray[Any], rows: npt.NDArray[Any], at: slice) -> None:
        """Add scores [examples, edges] of some edges and the examples with these indices."""
        self.total[:, at] += self.counts[:, rows].astype(scores.dtype) @ scores
        self.signs[0, at] += (scores > 0).sum(0)
        self.signs[1, at] += (scores < 0).sum(0)

    def columns(self, mean: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """`low` and `high`, the percentile interval of the mean, and `sign_consistency`, the share of examples whose
        score has the mean's sign."""
        n = self.counts.shape[1]
        tail = (1 - LEVEL) / 2
        low, high = np.quantile(self.total / n, [tail, 1 - tail], axis=0)
        same = np.where(mean > 0, self.signs[0], np.where(mean < 0, self.signs[1], n - self.signs.sum(0)))
        return {"low": low, "high": high, "sign_consistency": same / n}
