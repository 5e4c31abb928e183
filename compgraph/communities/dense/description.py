"""Closed-form description length of a partition of a dense graph: graph-tool's, to rounding.

Microcanonical model: Peixoto, Phys. Rev. E 95, 012317 (2017); weights: Phys. Rev. E 97, 012306 (2018).
"""

from __future__ import annotations

import math

import numpy as np

from compgraph.communities.dense.graph import DenseGraph, Labels, one_hot
from compgraph.communities.dense.integer_partitions import TABULATED, IntegerPartitions
from compgraph.communities.dense.weight_terms import log_factorial_ratio
from compgraph.communities.pairs import Floats, Integers

LOG_2 = math.log(2)


class Partitioned:
    """A partition with what its nodes and blocks hold.

    Attributes
    ----------
    labels
        int32 [n], every block from 0 to K - 1 in use.
    sizes
        Nodes of each block, float64 [K].
    incidence
        What each node has to each block, float64 [directions, n_planes, n, K].
    planes
        What each pair of blocks has, each pair of nodes once, float64 [n_planes, K, K]; symmetric where pairs
        are not ordered.
    """

    def __init__(self, labels: Labels, incidence: Floats) -> None:
        self.labels = labels
        self.incidence = incidence
        self.n_blocks = incidence.shape[-1]
        self.sizes = np.bincount(labels, minlength=self.n_blocks).astype(np.float64)
        self.planes = _between(labels, incidence)

    @classmethod
    def of(cls, graph: DenseGraph, labels: Labels) -> Partitioned:
        """Count a partition."""
        return cls(labels, graph.incidence(one_hot(labels, int(labels.max()) + 1)))

    @classmethod
    def of_all(cls, graph: DenseGraph, partitions: list[Labels]) -> list[Partitioned]:
        """Count several partitions by one product."""
        widths = [int(labels.max()) + 1 for labels in partitions]
        hot = np.concatenate([one_hot(labels, k) for labels, k in zip(partitions, widths, strict=True)], axis=1)
        parts = np.split(graph.incidence(hot), np.cumsum(widths)[:-1], axis=-1)
        return [
            cls(labels, np.ascontiguousarray(incidence)) for labels, incidence in zip(partitions, parts, strict=True)
        ]

    def moved(self, graph: DenseGraph, nodes: Integers, blocks: Integers) -> Partitioned:
        """The partition with nodes in other blocks, without counting all of it again; blocks may get empty."""
        labels = self.labels.copy()
        labels[nodes] = blocks
        change = np.zeros((len(nodes), self.n_blocks))
        rows = np.arange(len(nodes))
        change[rows, blocks] += 1
        change[rows, self.labels[nodes]] -= 1
        return Partitioned(labels, self.incidence + _of_rows(graph, nodes, change))

    def compact(self, blocks: Labels | None = None) -> Partitioned:
        """Without empty blocks; or with blocks merged as `blocks` says, int32 [K]."""
        if blocks is None:
            used = self.sizes > 0
            if used.all():
                return self
            blocks = np.where(used, np.cumsum(used) - 1, 0).astype(np.int32)
        hot = one_hot(blocks, int(blocks.max()) + 1)
        hot[self.sizes == 0] = 0
        return Partitioned(blocks[self.labels].astype(np.int32), self.incidence @ hot)


def _of_rows(graph: DenseGraph, nodes: Integers, change: Floats) -> Floats:
    """What every node has to `nodes`, by column of `change`, as `DenseGraph.incidence` for a matrix of few rows."""
    result = np.empty((2 if graph.directed else 1, graph.terms.n_planes, graph.n_nodes, change.shape[1]))
    for plane, matrix in enumerate(graph.matrices()):
        if matrix is None:
            result[:, plane] = change.sum(axis=0)
            result[:, plane, nodes] -= change
            continue
        narrow = change.astype(matrix.dtype)
        result[0, plane] = matrix[:, nodes] @ narrow
        if graph.directed:
            result[1, plane] = matrix[nodes].T @ narrow
    return result


def _between(labels: Labels, incidence: Floats) -> Floats:
    n_blocks = incidence.shape[-1]
    order = np.argsort(labels, kind="stable")
    counts = np.bincount(labels, minlength=n_blocks)
    used = np.flatnonzero(counts)
    starts = (np.cumsum(counts) - counts)[used]
    planes = np.zeros((incidence.shape[1], n_blocks, n_blocks))
    planes[:, used] = np.add.reduceat(incidence[0][:, order], starts, axis=1)
    if len(incidence) == 1:
        planes = (planes + planes.transpose(0, 2, 1)) / 2
        diagonal = np.arange(n_blocks)
        planes[:, diagonal, diagonal] /= 2
    planes[0] = np.rint(planes[0])
    return planes


class Description:
    """The description length of partitions of one graph under one model, and its parts.

    Parameters
    ----------
    graph
        The graph.
    degree_corrected
        Whether nodes have degrees of their own.
    """

    def __init__(self, graph: DenseGraph, degree_corrected: bool) -> None:
        from scipy.special import gammaln

        self.graph = graph
        self.terms = graph.terms
        self.degree_corrected = degree_corrected and graph.terms.topology
        self.degrees = [graph.out_degree, graph.in_degree] if graph.directed else [graph.out_degree]
        self.constant = graph.terms.constant
        self.classes: list[Integers] = []
        if self.degree_corrected:
            self.constant -= float(sum(gammaln(degree + 1.0).sum() for degree in self.degrees))
            least = max(1, min(int(degree.min(initial=1)) for degree in self.degrees))
            most = max(int(degree.sum()) for degree in self.degrees)
            self._partitions = IntegerPartitions(most, min(graph.n_nodes, TABULATED // least))
            for degree in self.degrees:
                kinds, of_node = np.unique(degree, return_inverse=True)
                # Equal degrees cost nothing to tell apart: ln n_r! and ln of the histogram's factorial cancel.
                self.classes.append(of_node if len(kinds) > 1 else np.zeros(0, np.int64))

    def reported(self, labels: Labels) -> float:
        """Nats of a partition without empty blocks, all in float64."""
        n_blocks = int(labels.max()) + 1
        return self._length(labels, self.graph.between(labels, n_blocks), exact=True)

    def length(self, partition: Partitioned) -> float:
        """Nats of a partition without empty blocks, as precise as a search needs."""
        return self._length(partition.labels, partition.planes, exact=False)

    def _length(self, labels: Labels, planes: Floats, exact: bool) -> float:
        n_blocks = planes.shape[-1]
        totals = self.pair_totals(self.terms.of_pairs(planes))
        sizes, degrees = self.block_sums(labels, n_blocks)
        nats = float(totals[0]) + float(self.terms.of_totals(totals, self.graph.whole))
        if self.terms.topology and not self.graph.directed:
            nats -= LOG_2 * float(np.trace(planes[0]))
        nats += float(self.of_blocks(sizes, degrees, exact).sum())
        nats -= self.histograms(labels, n_blocks)
        return nats + self.constant + float(self.of_number(n_blocks))

    def pair_totals(self, terms: Floats) -> Floats:
        """Sums over pairs of blocks, each once, float64 [n_terms]."""
        if self.graph.directed:
            return terms.sum(axis=(1, 2))
        diagonal = np.einsum("tkk->t", terms)
        totals: Floats = (terms.sum(axis=(1, 2)) + diagonal) / 2
        return totals

    def block_sums(self, labels: Labels, n_blocks: int) -> tuple[Floats, Floats]:
        """Nodes of each block, float64 [K], and their degrees, float64 [directions, K]."""
        sizes = np.bincount(labels, minlength=n_blocks).astype(np.float64)
        degrees: Floats = np.stack(
            [np.bincount(labels, degree, minlength=n_blocks).astype(np.float64) for degree in self.degrees]
        )
        return sizes, degrees

    def of_blocks(self, sizes: Floats, degrees: Floats, exact: bool = False) -> Floats:
        """Nats of single blocks by their sizes, [...], and degrees, [directions, ...]."""
        from scipy.special import gammaln

        nats: Floats = -gammaln(sizes + 1)
        if not self.terms.topology:
            return nats
        if not self.degree_corrected:
            nats += degrees.sum(axis=0) * np.log(np.maximum(sizes, 1.0))
            return nats
        for degree, classes in zip(degrees, self.classes, strict=True):
            nats += gammaln(degree + 1) + self._log_q(degree, sizes, exact)
            if len(classes):
                nats += gammaln(sizes + 1)
        return nats

    def _log_q(self, degree: Floats, sizes: Floats, exact: bool) -> Floats:
        m, n = np.rint(degree).astype(np.int64).ravel(), np.rint(sizes).astype(np.int64).ravel()
        cells, back = np.unique(m * (self.graph.n_nodes + 1) + n, return_inverse=True)
        m, n = np.divmod(cells, self.graph.n_nodes + 1)
        count = self._partitions.exact if exact else self._partitions.quick
        values: Floats = count(m, n)[back].reshape(sizes.shape)
        return values

    def histograms(self, labels: Labels, n_blocks: int) -> float:
        """Sum of the ln factorials of how often each degree occurs in each block."""
        from scipy.special import gammaln

        return float(sum(gammaln(histogram + 1.0).sum() for histogram in self.histogram(labels, n_blocks)))

    def histogram(self, labels: Labels, n_blocks: int) -> list[Integers]:
        """How often each degree occurs in each block, int64 [K, kinds] per direction with unequal degrees."""
        tables = []
        for classes in self.classes:
            if len(classes):
                kinds = int(classes.max()) + 1
                cells = np.bincount(labels.astype(np.int64) * kinds + classes, minlength=n_blocks * kinds)
                tables.append(cells.reshape(n_blocks, kinds))
        return tables

    def of_number(self, n_blocks: int | Floats) -> Floats:
        """Nats that depend on the number of blocks alone."""
        from scipy.special import gammaln

        n = float(self.graph.n_nodes)
        k = np.asarray(n_blocks, np.float64)
        nats: Floats = log_factorial_ratio(np.full(k.shape, n - 1), k - 1) + gammaln(n + 1) + np.log(n)
        if self.terms.topology:
            edges = float(self.graph.n_edges)
            pairs = k * k if self.graph.directed else k * (k + 1) / 2
            nats = nats + log_factorial_ratio(pairs + edges - 1, np.full(k.shape, edges))
        return nats
