"""What moving a node, or merging two blocks, would change in the description length."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from compgraph.communities.dense.description import LOG_2, Description, Partitioned
from compgraph.communities.pairs import Floats, Integers

CELLS = 50_000
"""Pairs of blocks that are evaluated at once: what fits into a core's cache."""

EVALUATED = 4_000_000
"""More cells than this a pass, and only the most promising blocks of each node are evaluated exactly."""

PROMISING = 10


class Moves:
    """Exact changes of the description length around one partition."""

    def __init__(self, description: Description, partition: Partitioned) -> None:
        self._description = description
        self._terms = description.terms
        self._directed = description.graph.directed
        self._partition = partition
        self._pairs = self._terms.of_pairs(partition.planes)
        self._totals = description.pair_totals(self._pairs)
        self._sums = self._terms.of_totals(self._totals, description.graph.whole)
        self._sizes, self._degrees = description.block_sums(partition.labels, partition.n_blocks)
        self._blocks = description.of_blocks(self._sizes, self._degrees)
        self._histogram = description.histogram(partition.labels, partition.n_blocks)

    # ---- nodes ---------------------------------------------------------------------------------------------

    def best(self, vacate: bool = True) -> tuple[Floats, Integers]:
        """The best other block of each node, and what moving there changes; nats [n], blocks [n]."""
        labels = self._partition.labels
        n = len(labels)
        if self._partition.n_blocks == 1:
            return np.full(n, np.inf), np.zeros(n, np.int64)
        rows = np.arange(n)
        changes, blocks = self._tried(rows)
        if not vacate:
            changes[self._sizes[labels] == 1] = np.inf
        at = changes.argmin(axis=1)
        return changes[rows, at], blocks[rows, at]

    def drawn(self, nodes: Integers, temperature: float, rng: np.random.Generator) -> Integers:
        """A block for each of some nodes by a heat bath, int64 [nodes]; of several blocks.

        Parameters
        ----------
        nodes
            Which nodes, int64.
        temperature
            Nats: a block that changes the length by d, its own by 0, has weight exp(-d / temperature).
        """
        changes, blocks = self._tried(nodes)
        own = self._partition.labels[nodes]
        changes = np.concatenate([np.zeros((len(nodes), 1)), changes], axis=1)
        blocks = np.concatenate([own[:, None], blocks], axis=1)
        # The largest of logarithms of weights with Gumbel noise is drawn by the weights.
        at = (rng.gumbel(size=changes.shape) - changes / temperature).argmax(axis=1)
        found: Integers = blocks[np.arange(len(nodes)), at]
        return found

    def _tried(self, nodes: Integers) -> tuple[Floats, Integers]:
        """Other blocks worth a try for some nodes, and what moving there changes, [nodes, width] each."""
        n, n_blocks = len(self._partition.labels), self._partition.n_blocks
        width = min(n_blocks - 1, PROMISING if n * n_blocks * n_blocks > EVALUATED else n_blocks)
        blocks = self._candidates(width)[nodes]
        return self.of_nodes(np.repeat(nodes, width), blocks.ravel()).reshape(-1, width), blocks

    def _candidates(self, width: int) -> Integers:
        """Blocks worth a try, int64 [n, width]: all others, or those that the linearised length prefers."""
        labels, n_blocks = self._partition.labels, self._partition.n_blocks
        if width == n_blocks - 1:
            others = np.arange(n_blocks - 1)[None, :]
            found: Integers = others + (others >= labels[:, None])
            return found
        slopes = self._terms.gradient(self._partition.planes)
        score = np.einsum("pnk,psk->ns", self._partition.incidence[0], slopes, optimize=True)
        if self._directed:
            score += np.einsum("pnk,pks->ns", self._partition.incidence[1], slopes, optimize=True)
        if self._terms.topology and not self._description.degree_corrected:
            score += self._description.graph.total_degree[:, None] * np.log(self._sizes)
        score[np.arange(len(labels)), labels] = np.inf
        found = np.argpartition(score, width, axis=1)[:, :width]
        return found

    def of_nodes(self, nodes: Integers, blocks: Integers) -> Floats:
        """Change of the description length by moving each node to a block other than its own, nats."""
        step = max(1, CELLS // self._partition.n_blocks)
        parts = [self._of_nodes(nodes[at : at + step], blocks[at : at + step]) for at in range(0, len(nodes), step)]
        return np.concatenate([np.zeros(0), *parts])

    def _of_nodes(self, nodes: Integers, blocks: Integers) -> Floats:
        own = self._partition.labels[nodes].astype(np.int64)
        change = self._summed(self._replaced(self._moved_rows(nodes, own, blocks), own, blocks))
        incidence = self._partition.incidence[0, 0]
        if self._terms.topology and not self._directed:
            change -= LOG_2 * (incidence[nodes, blocks] - incidence[nodes, own])
        degree = np.stack([d[nodes] for d in self._description.degrees]).astype(np.float64)
        change += self._without(own, 1.0, degree) + self._without(blocks, -1.0, -degree)
        for classes, table in zip(self._unequal(), self._histogram, strict=True):
            kind = classes[nodes]
            change += np.log(table[own, kind]) - np.log(table[blocks, kind] + 1)
        n_blocks = self._partition.n_blocks
        fewer = float(self._description.of_number(n_blocks - 1) - self._description.of_number(n_blocks))
        change[self._sizes[own] == 1] += fewer
        return change

    def _unequal(self) -> list[Integers]:
        return [classes for classes in self._description.classes if len(classes)]

    def _without(self, blocks: Integers, size: float, degree: Floats) -> Floats:
        """Change of the terms of single blocks that lose `size` nodes of a degree."""
        left = self._description.of_blocks(self._sizes[blocks] - size, self._degrees[:, blocks] - degree)
        return left - self._blocks[blocks]

    def _moved_rows(self, nodes: Integers, own: Integers, blocks: Integers) -> Iterator[Floats]:
        """Terms of the pairs that a move changes, summed over the other block, float64 [n_terms, moves]."""
        planes, at = self._partition.planes, np.arange(len(nodes))
        out = self._partition.incidence[0][:, nodes]
        if not self._directed:
            left = planes[:, own] - out
            left[:, at, blocks] += out[:, at, own]
            joined = planes[:, blocks] + out
            yield self._row(left)
            yield self._row(joined, own)
            return
        into = self._partition.incidence[1][:, nodes]
        columns = planes.transpose(0, 2, 1)
        left = planes[:, own] - out
        left[:, at, own] -= into[:, at, own]
        left[:, at, blocks] += into[:, at, own]
        yield self._row(left)
        left = columns[:, own] - into
        left[:, at, blocks] += out[:, at, own]
        yield self._row(left, own)
        joined = planes[:, blocks] + out
        joined[:, at, blocks] += into[:, at, blocks]
        yield self._row(joined, own)
        joined = columns[:, blocks] + into
        yield self._row(joined, own, blocks)

    def _row(self, planes: Floats, *left_out: Integers) -> Floats:
        terms = self._terms.of_pairs(planes)
        at = np.arange(terms.shape[1])
        for blocks in left_out:
            terms[:, at, blocks] = 0
        return terms.sum(axis=2)

    def _replaced(self, rows: Iterator[Floats], first: Integers, second: Integers) -> Floats:
        """New terms minus the old ones of all pairs that hold one of two blocks."""
        pairs = self._pairs
        sums = pairs.sum(axis=2)
        old = sums[:, first] + sums[:, second]
        if self._directed:
            sums = pairs.sum(axis=1)
            old += sums[:, first] + sums[:, second]
            old -= pairs[:, first, first] + pairs[:, second, second] + pairs[:, second, first]
        old -= pairs[:, first, second]
        new: Floats = sum(rows, start=-old)
        return new

    def _summed(self, change: Floats) -> Floats:
        after = self._terms.of_totals(self._totals[:, None] + change, self._description.graph.whole)
        total: Floats = change[0] + after - self._sums
        return total

    # ---- blocks --------------------------------------------------------------------------------------------

    def of_merges(self, first: Integers, second: Integers) -> Floats:
        """Change of the description length by merging two different blocks, for each pair of them, nats."""
        step = max(1, CELLS // self._partition.n_blocks)
        parts = [self._of_merges(first[at : at + step], second[at : at + step]) for at in range(0, len(first), step)]
        return np.concatenate([np.zeros(0), *parts])

    def _of_merges(self, first: Integers, second: Integers) -> Floats:
        planes = self._partition.planes
        between = planes[0, first, second]
        change = self._summed(self._replaced(self._merged_rows(first, second), first, second))
        if self._terms.topology and not self._directed:
            change -= LOG_2 * between
        both = self._description.of_blocks(
            self._sizes[first] + self._sizes[second], self._degrees[:, first] + self._degrees[:, second]
        )
        change += both - self._blocks[first] - self._blocks[second]
        for table in self._histogram:
            change -= _histograms_merged(table, first, second)
        n_blocks = self._partition.n_blocks
        change += float(self._description.of_number(n_blocks - 1) - self._description.of_number(n_blocks))
        return change

    def _merged_rows(self, first: Integers, second: Integers) -> Iterator[Floats]:
        planes, at = self._partition.planes, np.arange(len(first))
        inside = planes[:, first, first] + planes[:, second, second] + planes[:, first, second]
        if self._directed:
            inside = inside + planes[:, second, first]
        joined = planes[:, first] + planes[:, second]
        joined[:, at, first] = inside
        yield self._row(joined, second)
        if self._directed:
            columns = planes.transpose(0, 2, 1)
            yield self._row(columns[:, first] + columns[:, second], first, second)


def _histograms_merged(table: Integers, first: Integers, second: Integers) -> Floats:
    """Change of the ln factorials of degree histograms by merging blocks."""
    from scipy.special import gammaln

    alone = gammaln(table + 1.0).sum(axis=1)
    change: Floats = gammaln(table[first] + table[second] + 1.0).sum(axis=1) - alone[first] - alone[second]
    return change
