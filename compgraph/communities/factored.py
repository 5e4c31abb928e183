"""Modularity of large graphs: sparse weights and expectations that are products of strengths and site factors.

Which pairs are allowed depends on the sites of both nodes alone, so the expected weights that keep every strength
are P_uv = s_out,u s_in,v F[site u, site v], where F scales the site-by-site matrix of allowed pairs to the
strengths of whole sites. Ordinary modularity is the same with one site and F = 1 / 2m, the directed one of
Leicht & Newman (2008) with F = 1 / m. So B x, the modularity of a partition and the gain of every move cost one
pass over the edges and a few over nodes; no matrix of nodes by nodes is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from compgraph.communities.modularity import expected_weights
from compgraph.communities.pairs import Floats, Integers, is_layered, node_pairs
from compgraph.graph import ComputationalGraph
from compgraph.nulls.allowed import Allowed


@dataclass(frozen=True)
class Factored:
    """B = (W - resolution P) / sum of W, never made.

    Attributes
    ----------
    weights
        scipy.sparse.csr_array [n, n], >= 0, without diagonal; symmetric if undirected.
    out, into
        Row and column sums of `weights`, float64 [n].
    site
        Site number of each node, int64 [n].
    rate
        P_uv / (s_out,u s_in,v) by sites of u and v, float64 [S, S].
    resolution
        Factor of the expected weights.
    """

    weights: Any
    out: Floats
    into: Floats
    site: Integers
    rate: Floats
    resolution: float

    @cached_property
    def total(self) -> float:
        """Sum of the weights; an undirected edge counts twice."""
        return float(self.out.sum())

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self.site)

    @property
    def strength(self) -> Floats:
        """Row and column sums together, float64 [n]."""
        return self.out + self.into

    @property
    def self_expected(self) -> Floats:
        """What each node is expected to give to itself, as a share of all weight and counted twice, float64 [n]."""
        own = self.out * self.into * self.rate[self.site, self.site]
        return 2 * self.resolution * own / self.total if self.total else own

    @cached_property
    def both(self) -> Any:
        """W + W^T, sparse."""
        return (self.weights + self.weights.T).tocsr()

    def quality(self, labels: npt.ArrayLike) -> float:
        """Modularity of a partition; nodes labelled -1 are in no part."""
        given = np.asarray(labels)
        if self.total == 0:
            return 0.0
        edges = self.weights.tocoo()
        rows, columns = edges.row, edges.col
        inside = (given[rows] == given[columns]) & (given[rows] >= 0)
        live = given >= 0
        n = int(given.max(initial=-1)) + 1
        parts = given[live].astype(np.int64)
        out, into = (
            np.bincount(self.site[live] * n + parts, s[live], minlength=len(self.rate) * n).reshape(-1, n)
            for s in (self.out, self.into)
        )
        expected = float(((self.rate @ into) * out).sum())
        return (float(edges.data[inside].sum()) - self.resolution * expected) / self.total

    def excess(self, x: Floats) -> Floats:
        """(B + B^T) x for columns x, float64 [n, k]."""
        if self.total == 0:
            return np.zeros_like(x)
        there = self.out[:, None] * (self.rate @ self._by_site(self.into[:, None] * x))[self.site]
        back = self.into[:, None] * (self.rate.T @ self._by_site(self.out[:, None] * x))[self.site]
        result: Floats = (self.both @ x - self.resolution * (there + back)) / self.total
        return result

    def _by_site(self, x: Floats) -> Floats:
        return np.asarray(self._members @ x)

    @cached_property
    def _members(self) -> Any:
        from scipy.sparse import csr_array

        n = len(self.site)
        return csr_array((np.ones(n), (self.site, np.arange(n))), shape=(len(self.rate), n))


@dataclass(frozen=True)
class Signed:
    """B = (B+ m+ - B- m-) / (m+ + m-) of the positive and of the negative weights (Gomez, Jensen & Arenas 2009)."""

    positive: Factored
    negative: Factored

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return self.positive.n_nodes

    @property
    def total(self) -> float:
        """Sum of |W|; an edge counts twice."""
        return self.positive.total + self.negative.total

    @property
    def strength(self) -> Floats:
        """Row and column sums of |W| together, float64 [n]."""
        return self.positive.strength + self.negative.strength

    @property
    def self_expected(self) -> Floats:
        """What each node is expected to give to itself, as a share of all weight and counted twice, float64 [n]."""
        return self._less(self.positive.self_expected, self.negative.self_expected)

    def quality(self, labels: npt.ArrayLike) -> float:
        """Modularity of a partition; nodes labelled -1 are in no part."""
        return float(self._less(self.positive.quality(labels), self.negative.quality(labels)))

    def excess(self, x: Floats) -> Floats:
        """(B + B^T) x for columns x, float64 [n, k]."""
        return self._less(self.positive.excess(x), self.negative.excess(x))

    def _less(self, positive: Any, negative: Any) -> Any:
        if self.total == 0:
            return positive
        return (self.positive.total * positive - self.negative.total * negative) / self.total


def factored(graph: ComputationalGraph, resolution: float = 1.0, layered: bool = True) -> Factored:
    """Sparse modularity of a graph, on |w|.

    Parameters
    ----------
    graph
        Any graph.
    resolution
        Factor of the expected weights.
    layered
        Whether a layered graph is compared with what its architecture allows; else, as other directed graphs,
        with Leicht & Newman's expectations.
    """
    pairs = node_pairs(graph)
    allowed = Allowed.of(graph) if layered and is_layered(graph) else None
    return factored_edges(
        pairs.source, pairs.target, pairs.magnitude, graph.n_nodes, graph.directed, allowed, resolution
    )


def signed_factored(
    source: Integers, target: Integers, weight: Floats, n_nodes: int, resolution: float = 1.0
) -> Signed:
    """Sparse signed modularity of undirected edges, each given once."""
    return Signed(
        *(
            factored_edges(source, target, np.maximum(part, 0), n_nodes, directed=False, resolution=resolution)
            for part in (weight, -weight)
        )
    )


def factored_edges(
    source: Integers,
    target: Integers,
    magnitude: Floats,
    n_nodes: int,
    directed: bool,
    allowed: Allowed | None = None,
    resolution: float = 1.0,
) -> Factored:
    """Sparse modularity of edges, each given once.

    Parameters
    ----------
    source, target, magnitude
        Ends and |w| of the edges, [E].
    n_nodes
        Number of nodes.
    directed
        Whether an edge has a direction.
    allowed
        Pairs that could have an edge; None: any, as Leicht & Newman (directed) or Newman & Girvan (undirected) say.
    resolution
        Factor of the expected weights.
    """
    from scipy.sparse import csr_array

    one_way = csr_array((magnitude, (source, target)), shape=(n_nodes, n_nodes))
    weights = one_way if directed else (one_way + one_way.T).tocsr()
    out, into = (np.asarray(weights.sum(axis=axis)).ravel() for axis in (1, 0))
    if allowed is not None:
        site, rate = allowed.group, _site_rates(source, target, magnitude, allowed)
    else:
        total = out.sum()
        site, rate = np.zeros(n_nodes, np.int64), np.full((1, 1), 1 / total if total else 0.0)
    return Factored(weights, out, into, site, rate, resolution)


def _site_rates(source: Integers, target: Integers, magnitude: Floats, allowed: Allowed) -> Floats:
    """The factor of s_out s_in for each pair of sites."""
    site, n = allowed.group, len(allowed.reads)
    cells = site[source] * n + site[target]
    between: Floats = np.bincount(cells, magnitude, minlength=n * n).reshape(n, n).astype(np.float64)
    # Sums over whole sites have the same allowed pairs, so scaling them is scaling the nodes' weights.
    expected = expected_weights(between, allowed.reads)
    strengths = np.outer(between.sum(axis=1), between.sum(axis=0))
    rate: Floats = np.divide(expected, strengths, out=np.zeros((n, n)), where=strengths > 0)
    return rate
