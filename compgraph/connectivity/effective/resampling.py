"""How much a graph depends on which examples it was made from: the same scores from disjoint samples.

The examples are dealt at random into samples of equal size (what is left over is in none). Each sample gives scores
of its own. Reported are the standard deviation of each edge's score over samples, and, for several sizes, the mean
over pairs of samples of the Jaccard index |A ∩ B| / |A ∪ B| of their circuits of the n edges with the largest
absolute score. The standard deviation is that of a score from one sample, not from all examples.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from compgraph.errors import DataError
from compgraph.graph import ComputationalGraph
from compgraph.graph_select import strength, strongest

FRACTIONS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Circuit sizes compared, as shares of the edges; those below one edge are left out."""


class Resamples:
    """Scores of disjoint samples of examples.

    Parameters
    ----------
    n
        Number of examples.
    samples
        Number of samples, 2 … n.
    seed
        Of the dealing.
    method
        Named in errors.

    Raises
    ------
    DataError
        More samples than examples, or fewer than 2.
    """

    def __init__(self, n: int, samples: int, seed: int, method: str) -> None:
        if not 2 <= samples <= n:
            raise DataError(f"{method}: resamples is {samples}; with {n} examples it must be 0, or between 2 and {n}")
        self.samples, self.size = samples, n // samples
        dealt = np.random.default_rng(seed).permutation(n)[: samples * self.size]
        self.sample_of = np.full(n, -1)
        self.sample_of[dealt] = np.repeat(np.arange(samples), self.size)
        self.total: npt.NDArray[Any] | None = None

    def add(self, rows: npt.NDArray[Any], scores: npt.NDArray[Any]) -> None:
        """Add scores [examples, edges] of the examples with these indices."""
        if len(scores) != len(rows):
            raise DataError(
                "resampling needs scores of single examples, which edges between two sites of many nodes each do "
                "not have; use a coarser partition"
            )
        if self.total is None:
            self.total = np.zeros((self.samples, scores.shape[1]))
        for sample in range(self.samples):
            self.total[sample] += scores[self.sample_of[rows] == sample].sum(0)

    def scores(self) -> npt.NDArray[Any]:
        """Mean score of each edge in each sample, [samples, edges]."""
        assert self.total is not None
        return self.total / self.size

    def jaccard(self) -> dict[str, float]:
        """Share of the edges -> mean Jaccard index of the samples' circuits of that size."""
        means = self.scores()
        found = {}
        for fraction in FRACTIONS:
            n = int(fraction * means.shape[1])
            if n:
                circuits = [strongest(strength(one, "abs"), n) for one in means]
                indices = [(a & b).sum() / (a | b).sum() for a, b in combinations(circuits, 2)]
                found[str(fraction)] = float(np.mean(indices))
        return found

    def annotate(self, graph: ComputationalGraph) -> ComputationalGraph:
        """The graph with the column `resample_std` and the attribute `resampling`."""
        about: dict[str, Any] = {"samples": self.samples, "examples": self.size, "jaccard": self.jaccard()}
        assert graph.partition is not None
        return ComputationalGraph(
            graph.partition,
            graph.source,
            graph.target,
            graph.channel,
            graph.weight,
            channels=graph.channels,
            kind=graph.kind,
            attributes=graph.attributes | {"resampling": about},
            columns=graph.columns | {"resample_std": self.scores().std(0, ddof=1)},
            architecture=graph.architecture,
        )
