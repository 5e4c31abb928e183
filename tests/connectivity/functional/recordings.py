"""A buffer in memory, with the interface of a recorded one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
import pandas as pd

from compgraph.architecture import Architecture, Site


class Memory:
    """Activations [rows, units] per site, handed out in chunks of the given numbers of rows (repeated)."""

    def __init__(
        self, data: dict[str, np.ndarray], chunk: int | list[int] = 7, items: pd.DataFrame | None = None
    ) -> None:
        self.data, self.chunk = data, [chunk] if isinstance(chunk, int) else chunk
        sites = tuple(Site(name, "mlp", k, values.shape[1]) for k, (name, values) in enumerate(data.items()))
        self.architecture = Architecture("transformer", "test", sites, {})
        self.sites = pd.DataFrame({"site": list(data)})
        self.n_rows = len(next(iter(data.values())))
        alone = pd.DataFrame({"item": np.arange(self.n_rows), "position": 0, "task": "all"})
        self.items = alone if items is None else items
        self.n_chunks = len(self._bounds()) - 1
        self.passes = 0

    def _bounds(self) -> list[int]:
        bounds = [0]
        while bounds[-1] < self.n_rows:
            bounds.append(min(bounds[-1] + self.chunk[(len(bounds) - 1) % len(self.chunk)], self.n_rows))
        return bounds

    def chunks(self, sites: Iterable[str]) -> Iterator[dict[str, np.ndarray]]:
        self.passes += 1
        names, bounds = list(sites), self._bounds()
        for begin, end in pairwise(bounds):
            yield {name: self.data[name][begin:end] for name in names}

    def mean(self, site: str) -> np.ndarray:
        return self.data[site].mean(axis=0, dtype=np.float64)

    def variance(self, site: str) -> np.ndarray:
        return self.data[site].var(axis=0, dtype=np.float64)
