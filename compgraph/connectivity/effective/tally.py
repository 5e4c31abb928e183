"""Means, standard errors and bootstrap intervals over examples of the scores of all edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from compgraph.architectural import architectural_edges
from compgraph.connectivity.effective.bootstrap import Bootstrap
from compgraph.connectivity.effective.setting import Setting
from compgraph.errors import DataError
from compgraph.graph import ComputationalGraph


class EdgeTally:
    """Sums over examples, in float64, in the canonical order of edges.

    Parameters
    ----------
    setting
        Network, data, nodes, and how many bootstrap resamples.
    per_example
        Whether scores come example by example; where they come as sums there is no standard error.

    Raises
    ------
    DataError
        A bootstrap of scores that come as sums, or one that takes too much memory.
    """

    def __init__(self, setting: Setting, per_example: bool = True) -> None:
        self.setting, self.per_example = setting, per_example
        self.n_edges = len(architectural_edges(setting.net, setting.partition, setting.split_qkv)[0])
        self.total, self.squares = np.zeros(self.n_edges), np.zeros(self.n_edges)
        if setting.bootstrap and not per_example:
            raise DataError(
                f"bootstrap is {setting.bootstrap}: it needs scores of single examples, which edges between two sites "
                "of many nodes each do not have; use a coarser partition, or 0"
            )
        self.bootstrap = (
            Bootstrap(setting.pairs.n, self.n_edges, setting.bootstrap, setting.seed) if setting.bootstrap else None
        )

    def add(self, scores: npt.NDArray[Any], rows: npt.NDArray[Any], start: int = 0) -> None:
        """Add scores [examples, edges] of the edges from `start` on and the examples with these indices."""
        at = slice(start, start + scores.shape[1])
        self.total[at] += scores.sum(0)
        self.squares[at] += np.square(scores).sum(0)
        if self.bootstrap is not None:
            self.bootstrap.add(scores, rows, at)

    def graph(self, about: dict[str, Any]) -> ComputationalGraph:
        """The mean over examples, a true one whatever the batches were, with its standard error."""
        setting, n = self.setting, int(self.setting.pairs.n)
        mean = self.total / n
        columns: dict[str, npt.NDArray[Any]] = {}
        if self.per_example:
            variance = np.maximum(self.squares / n - mean**2, 0) * n / max(n - 1, 1)
            columns["stderr"] = np.sqrt(variance / n)
        if self.bootstrap is not None:
            columns |= self.bootstrap.columns(mean)
            about = about | {"bootstrap": setting.bootstrap, "seed": setting.seed}
        return ComputationalGraph.from_architecture(
            setting.net,
            setting.partition,
            mean,
            split_qkv=setting.split_qkv,
            kind="effective",
            attributes=about | {"split_qkv": setting.split_qkv, "n_examples": n},
            columns=columns,
        )
