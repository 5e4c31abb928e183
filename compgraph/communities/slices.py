"""Multislice modularity of sequences with too many pairs of nodes for matrices: sparse graphs tied node by node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compgraph.communities.agreement import Labels, canonical
from compgraph.communities.factored import Factored, Signed
from compgraph.communities.large import moved, search_large, search_spectral
from compgraph.communities.pairs import Floats, Mask


@dataclass(frozen=True)
class Slices:
    """Several modularities and ties, as one modularity of steps times nodes that `large` can search.

    Attributes
    ----------
    layers
        Modularity of each graph.
    live
        Nodes with weight, bool [T, n].
    tie
        Worth of a node that keeps its community.
    """

    layers: tuple[Factored | Signed, ...]
    live: Mask
    tie: float

    @property
    def n_nodes(self) -> int:
        """Graphs times nodes."""
        return self.live.size

    @property
    def sizes(self) -> Floats:
        """Nodes with weight in each graph: what its modularity counts, float64 [T]."""
        return self.live.sum(axis=1).astype(np.float64)

    @property
    def total(self) -> float:
        """What the quality is a share of."""
        return float(self.sizes.sum() + self.tie * self._tied.sum())

    @property
    def strength(self) -> Floats:
        """Weight of each node in each graph and its ties, float64 [T n]."""
        own = np.array([s * layer.strength / max(layer.total, 1e-300) for s, layer in self._pairs])
        own[1:] += self.tie * self._tied
        own[:-1] += self.tie * self._tied
        return own.ravel()

    @property
    def self_expected(self) -> Floats:
        """What each node is expected to give to itself, as a share of `total` and counted twice, float64 [T n]."""
        return np.concatenate([s * layer.self_expected for s, layer in self._pairs]) / self.total

    def quality(self, labels: npt.ArrayLike) -> float:
        """Multislice modularity of labels [T n]."""
        given = np.asarray(labels).reshape(self.live.shape)
        within = sum(s * layer.quality(part) for (s, layer), part in zip(self._pairs, given, strict=True))
        kept = int(((given[1:] == given[:-1]) & self._tied).sum())
        return float(within + self.tie * kept) / self.total if self.total else 0.0

    def excess(self, x: Floats) -> Floats:
        """(B + B^T) x for columns x, float64 [T n, k]."""
        steps = x.reshape(*self.live.shape, -1)
        result = np.array([s * layer.excess(part) for (s, layer), part in zip(self._pairs, steps, strict=True)])
        tied = self.tie * self._tied[:, :, None]
        result[1:] += tied * steps[:-1]
        result[:-1] += tied * steps[1:]
        return (result / self.total).reshape(x.shape)

    def search(self, seed: int) -> Labels:
        """Labels of large quality, int32 [T, n]; without ties each graph is searched for itself."""
        if self.tie == 0 or self.total == 0:
            parts, first = [], 0
            for layer in self.layers:
                parts.append(search_large(layer, seed) + first)
                first = int(parts[-1].max(initial=-1)) + 1
            return self._live_only(np.concatenate(parts))
        of_last = np.tile(search_large(self.layers[-1], seed), len(self.layers))
        found = search_spectral(self, seed), moved(self, of_last, seed)
        return self._live_only(max(found, key=self.quality))

    def _live_only(self, labels: npt.NDArray[Any]) -> Labels:
        return canonical(np.where(self.live.ravel(), labels, -1)).reshape(self.live.shape)

    @property
    def _tied(self) -> Mask:
        tied: Mask = self.live[1:] & self.live[:-1]
        return tied

    @property
    def _pairs(self) -> list[tuple[float, Factored | Signed]]:
        return list(zip(self.sizes.tolist(), self.layers, strict=True))
