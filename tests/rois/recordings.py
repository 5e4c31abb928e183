"""A recording in memory, with units that follow hidden factors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from compgraph.architecture import Architecture
from compgraph.rois.recordings import ArrayRecording
from compgraph.rois.signals import Units, units_of


class MemoryRecording:
    """What `find_rois` reads of an activation buffer, over arrays site -> [rows, units]."""

    def __init__(self, architecture: Architecture, arrays: dict[str, np.ndarray], chunk: int = 64) -> None:
        self.architecture, self.arrays, self._chunk = architecture, arrays, chunk
        self.n_rows = len(next(iter(arrays.values())))

    @property
    def n_chunks(self) -> int:
        return -(-self.n_rows // self._chunk)

    @property
    def items(self) -> pd.DataFrame:
        return pd.DataFrame({"item": np.arange(self.n_rows), "position": 0})

    @property
    def sites(self) -> pd.DataFrame:
        return pd.DataFrame({"site": list(self.arrays)})

    def chunks(self, sites: Iterable[str]) -> Iterator[dict[str, np.ndarray]]:
        for start in range(0, self.n_rows, self._chunk):
            yield {site: self.arrays[site][start : start + self._chunk] for site in sites}

    def mean(self, site: str) -> np.ndarray:
        return self.arrays[site].mean(axis=0, dtype=np.float64)

    def variance(self, site: str) -> np.ndarray:
        return self.arrays[site].var(axis=0, dtype=np.float64)


def factor_signals(n_rows: int, labels: np.ndarray, seed: int, noise: float = 0.7) -> np.ndarray:
    """Units that follow the factor of their group, with loadings of unequal size, far from mean 0."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(n_rows, int(labels.max()) + 1))
    loading = rng.uniform(0.6, 1.4, size=len(labels))
    return 50 + factors[:, labels] * loading + noise * rng.normal(size=(n_rows, len(labels)))


def units(signals: np.ndarray, site: str = "units") -> Units:
    """The units of plain signals."""
    return units_of(ArrayRecording(None, {site: signals}), [site])
