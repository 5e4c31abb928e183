"""The constant Potts model of graphs with too many nodes for a matrix.

Every pair that could have weight is expected to have the same; which pairs could depends on sites, so the expectation
of a partition is a matter of counting nodes by site and part. igraph's Leiden knows one constant for all pairs, which
is right but on layered graphs, where it only makes the start; then nodes move while the quality that is asked for
rises.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compgraph.communities.agreement import Labels, canonical
from compgraph.communities.optimise import SMALLEST_GAIN, igraph_seed
from compgraph.communities.pairs import node_pairs
from compgraph.graph import ComputationalGraph
from compgraph.nulls.allowed import Allowed

ITERATIONS = 10
"""Of Leiden: on a million edges it does not converge in reasonable time."""

SWEEPS = 20
"""Of moves afterwards; fewer if hardly a node moves any more."""


@dataclass(frozen=True)
class Potts:
    """(W - a) / sum |W| on the allowed ordered pairs, a the resolution times the mean of |W| over them.

    Attributes
    ----------
    both
        W + W^T, scipy.sparse.csr_array [n, n]; W of an undirected graph has each pair in both directions.
    allowed
        Pairs that could have weight.
    constant
        a.
    total
        Sum of |W| over ordered pairs.
    """

    both: Any
    allowed: Allowed
    constant: float
    total: float

    @classmethod
    def of(cls, graph: ComputationalGraph, resolution: float = 1.0, signed: bool = False) -> Potts:
        """The model of a graph; `signed` keeps the signs of weights summed over channels, else |w|."""
        from scipy.sparse import csr_array

        pairs, allowed = node_pairs(graph), Allowed.of(graph)
        values = pairs.weight if signed else pairs.magnitude
        directions = 1 if graph.directed else 2
        one_way = csr_array((values, (pairs.source, pairs.target)), shape=(graph.n_nodes,) * 2)
        total = directions * float(np.abs(values).sum())
        both = (directions * (one_way + one_way.T)).tocsr()
        both.eliminate_zeros()
        return cls(both, allowed, resolution * total / max(1, allowed.count), total)

    @property
    def idle(self) -> npt.NDArray[np.bool_]:
        """Nodes without weight, bool [n]."""
        found: npt.NDArray[np.bool_] = np.diff(self.both.indptr) == 0
        return found

    def quality(self, labels: npt.ArrayLike) -> float:
        """Weight less expectation inside parts, as a share of all weight; nodes labelled -1 are in no part."""
        given = np.asarray(labels).astype(np.int64)
        if self.total == 0:
            return 0.0
        edges = self.both.tocoo()
        inside = (given[edges.row] == given[edges.col]) & (given[edges.row] >= 0)
        live = given >= 0
        counts = self._counts(given, live)
        reads = self.allowed.reads.astype(np.float64)
        own = int(np.diag(self.allowed.reads)[self.allowed.group[live]].sum())  # a node has no pair with itself
        pairs = float(((reads @ counts) * counts).sum()) - own
        return (float(edges.data[inside].sum()) / 2 - self.constant * pairs) / self.total

    def search(self, seed: int) -> Labels:
        """Partition of large quality, int32 [n]."""
        if self.total == 0:
            return canonical(np.arange(len(self.idle)))
        return self._moved(self._leiden(seed), seed)

    def _leiden(self, seed: int) -> Labels:
        import igraph

        n = len(self.idle)
        edges = self.both.tocoo()
        upper = edges.row < edges.col
        graph = igraph.Graph(n=n, edges=np.stack([edges.row[upper], edges.col[upper]], axis=1))
        # Both directions of a pair are one edge there.
        constant = 2 * self.constant * self.allowed.count / (n * (n - 1))
        with igraph_seed(seed):
            found = graph.community_leiden(
                objective_function="CPM",
                weights=edges.data[upper].tolist(),
                resolution=constant,
                n_iterations=ITERATIONS,
            )
        return canonical(found.membership)

    def _moved(self, labels: Labels, seed: int) -> Labels:
        """Move nodes to the part among their neighbours' that raises the quality most, until hardly any moves.

        All gains are found at once; a random half of the nodes that gain moves, since neighbours that change places
        together would gain nothing.
        """
        from scipy.sparse import csr_array

        rng = np.random.default_rng(seed)
        n, group = len(labels), self.allowed.group
        reach = self.allowed.reads.astype(np.float64) + self.allowed.reads.T
        nodes, now = np.arange(n), labels.astype(np.int64)
        best = labels, self.quality(labels)
        for _ in range(SWEEPS):
            n_parts = int(now.max()) + 1
            member = csr_array((np.ones(n), (nodes, now)), shape=(n, n_parts))
            pulled = (self.both @ member).tocoo()
            room = self.constant * (reach @ self._counts(now, np.ones(n, bool)))
            gains = pulled.data - room[group[pulled.row], pulled.col]
            own = 2 * self.constant * np.diag(self.allowed.reads)[group]
            at_home = pulled.col == now[pulled.row]
            gains[at_home] += own[pulled.row[at_home]]
            here = own - room[group, now]
            here[pulled.row[at_home]] = gains[at_home]
            order = np.lexsort((-gains, pulled.row))
            first = order[np.concatenate([[True], np.diff(pulled.row[order]) > 0])]
            better, to, who = gains[first], pulled.col[first], pulled.row[first]
            wants = better > here[who] + SMALLEST_GAIN * self.total / n
            goes = wants & (rng.random(len(who)) < 0.5)
            now = now.copy()
            now[who[goes]] = to[goes]
            now = canonical(now).astype(np.int64)
            if (quality := self.quality(now)) > best[1]:
                best = canonical(now), quality
            if wants.sum() <= n / 1000:
                break
        return best[0]

    def _counts(self, labels: npt.NDArray[np.int64], live: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        """Nodes by site and part, float64 [S, parts]."""
        n_parts, sites = int(labels.max(initial=0)) + 1, len(self.allowed.reads)
        cells = self.allowed.group[live] * n_parts + labels[live]
        return np.bincount(cells, minlength=sites * n_parts).reshape(sites, n_parts).astype(np.float64)
