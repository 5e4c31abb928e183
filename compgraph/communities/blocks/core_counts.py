"""Numbers of edges that make a core and a periphery of two blocks, and how many there are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from compgraph.communities.agreement import Labels
from compgraph.communities.pairs import Integers


@dataclass(frozen=True)
class CoreCounts:
    """Edges within a core, between core and periphery, and within the periphery.

    They are in order if the share of pairs with an edge is largest in the core and smallest in the periphery:
    a / A >= m / B >= p / P of a, m, p edges and A, B, P pairs of nodes.

    Attributes
    ----------
    pairs
        A, B, P.
    edges
        a, m, p.
    directed
        Whether m has two parts, one for each direction.
    """

    pairs: tuple[int, int, int]
    edges: tuple[int, int, int]
    directed: bool

    @classmethod
    def of(cls, source: Integers, target: Integers, labels: Labels, directed: bool) -> CoreCounts:
        """Of a graph whose core is labelled 0 and whose periphery 1."""
        ends = labels[source].astype(np.int64) + labels[target]
        a, m, p = (int(count) for count in np.bincount(ends, minlength=3))
        n_core = int((labels == 0).sum())
        rest = len(labels) - n_core
        ways = 2 if directed else 1
        inside = [n * (n - 1) // 2 * ways for n in (n_core, rest)]
        return cls((inside[0], n_core * rest * ways, inside[1]), (a, m, p), directed)

    @property
    def in_order(self) -> bool:
        """Whether these are a core and a periphery."""
        (core, between, outside), (a, m, p) = self.pairs, self.edges
        return a * between >= m * core and m * outside >= p * between

    @property
    def log_share(self) -> float:
        """Logarithm of the share of all counts with as many edges in total that are in order."""
        (core, between, outside), total = self.pairs, sum(self.edges)
        m = np.arange(total + 1)
        # p at most m P / B, and so few that a = E - m - p is at least m A / B.
        most = np.minimum(m * outside // between, total - m + (-m * core) // between)
        ways = np.maximum(most + 1, 0) * (m + 1.0 if self.directed else 1.0)
        cells = 4 if self.directed else 3
        return math.log(float(ways.sum())) - _choose(total + cells - 1, cells - 1)


def _choose(n: int, k: int) -> float:
    return float(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))
