"""Means and standard errors over examples of the scores of all edges."""

from __future__ import annotations

from typing import Any

import numpy as np

from compgraph.architectural import architectural_edges
from compgraph.graph import ComputationalGraph
from compgraph.models.network import Network
from compgraph.partition import Partition


class EdgeTally:
    """Sums over examples, in float64, in the canonical order of edges.

    Parameters
    ----------
    per_example
        Whether scores come example by example; where they come as sums there is no standard error.
    """

    def __init__(self, net: Network, partition: Partition, split_qkv: bool, per_example: bool = True) -> None:
        self.per_example = per_example
        self.net, self.partition, self.split_qkv = net, partition, split_qkv
        self.n_edges = len(architectural_edges(net, partition, split_qkv)[0])
        self.total, self.squares = np.zeros(self.n_edges), np.zeros(self.n_edges)

    def add(self, scores: np.ndarray, start: int = 0) -> None:
        """Add examples' scores [examples, edges] of the edges from `start` on."""
        at = slice(start, start + scores.shape[1])
        self.total[at] += scores.sum(0)
        self.squares[at] += np.square(scores).sum(0)

    def graph(self, n_examples: int, attributes: dict[str, Any]) -> ComputationalGraph:
        """The mean over examples, a true one whatever the batches were, with its standard error."""
        mean = self.total / n_examples
        columns = {}
        if self.per_example:
            variance = np.maximum(self.squares / n_examples - mean**2, 0) * n_examples / max(n_examples - 1, 1)
            columns["stderr"] = np.sqrt(variance / n_examples)
        return ComputationalGraph.from_architecture(
            self.net,
            self.partition,
            mean,
            split_qkv=self.split_qkv,
            kind="effective",
            attributes=attributes | {"split_qkv": self.split_qkv, "n_examples": int(n_examples)},
            columns=columns,
        )
