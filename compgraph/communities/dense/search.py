"""The partition of shortest description of a dense graph: many blocks, merged down, nodes moved, blocks split.

Every step is taken only if the closed form says that the description gets shorter; steps are chosen for all
nodes (or all pairs of blocks) at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from compgraph.communities.agreement import canonical
from compgraph.communities.dense.annealing import ANNEALED, GREEDY, ROUNDS, annealed
from compgraph.communities.dense.description import Description, Partitioned
from compgraph.communities.dense.graph import DenseGraph, Labels
from compgraph.communities.dense.moves import Moves
from compgraph.communities.dense.starts import clustered, embedding
from compgraph.communities.pairs import Floats, Integers, Mask

SHORTER = 1e-3
"""Nats that a step has to save."""

SHRINK = 0.8
"""Share of the blocks that is left after merging between two rounds of moves."""

SMALL = 400
FEW_BLOCKS = (2, 3, 4, 6, 9)
"""Small graphs have at most `SMALL` nodes, and are searched from so few blocks too."""

FEWEST_NODES = 3
"""Smaller graphs are one block."""

START_BLOCKS = (12, 400)
"""Least and most blocks at the start; between them a fifth of the nodes."""


@dataclass(frozen=True)
class Found:
    """A partition and its length, nats."""

    labels: Labels
    length: float


class DenseSearch:
    """Searches on one graph under one model.

    Parameters
    ----------
    graph
        The graph.
    degree_corrected
        Whether nodes have degrees of their own.
    effort
        Multiplies rounds of moves.
    moves
        `greedy`: nodes move where it gains. `annealed`: from the best partition found so, they move uphill too
        (`annealing.annealed`), and greedily again; the shorter of the two is kept.
    """

    def __init__(self, graph: DenseGraph, degree_corrected: bool, effort: int = 1, moves: str = GREEDY) -> None:
        self.graph = graph
        self.description = Description(graph, degree_corrected)
        self._effort, self._moves = effort, moves

    def length(self, labels: Labels) -> float:
        """Description length to report, nats."""
        return self.description.reported(canonical(labels))

    def runs(self, seeds: list[int], n_blocks: int | None = None) -> list[Found]:
        """One search a seed; their starts are counted together.

        Parameters
        ----------
        seeds
            One a run.
        n_blocks
            Exactly so many blocks; None: as many as are shortest.
        """
        if n_blocks is None and (self.graph.n_nodes < FEWEST_NODES or not self.graph.n_edges):
            whole = np.zeros(self.graph.n_nodes, np.int32)
            return [Found(whole, self.length(whole)) for _ in seeds]
        points = embedding(self.graph, seeds[0])
        starts = [clustered(points, self._start_blocks(n_blocks, seed, k), seed) for k, seed in enumerate(seeds)]
        partitions = Partitioned.of_all(self.graph, starts)
        if n_blocks is not None:
            return [self._fixed(partitions.pop(0), n_blocks, seed) for seed in seeds]
        return [self._run(partitions.pop(0), self._few(points, seed), seed) for seed in seeds]

    def _few(self, points: Floats, seed: int) -> list[Labels]:
        """Starts with few blocks, for small graphs: there, merging down from many often ends in a poor partition."""
        n = self.graph.n_nodes
        return [clustered(points, k, seed) for k in FEW_BLOCKS if k < n] if n <= SMALL else []

    def _start_blocks(self, n_blocks: int | None, seed: int, run: int) -> int:
        """Other runs start from other numbers of blocks too."""
        n = self.graph.n_nodes
        least, most = START_BLOCKS
        usual = min(max(n // 5, least), most)
        factor = (1.0, 0.7, 1.4)[run % 3]
        return min(max(int(usual * factor), n_blocks or 2, 2), n)

    def _run(self, start: Partitioned, others: list[Labels], seed: int) -> Found:
        whole = np.zeros(self.graph.n_nodes, np.int32)
        ends = [self._polished(self._descend(self.moved(start)))]
        ends += [self._polished(Partitioned.of(self.graph, labels)) for labels in others]
        best = min([Partitioned.of(self.graph, whole), *ends], key=self._nats)
        labels = canonical(self._reheated(best, seed).labels)
        return Found(labels, self.length(labels))

    def polished(self, labels: Labels, seed: int = 0) -> Found:
        """From a partition found elsewhere, by moves, merges and splits; the seed is that of annealed moves."""
        partition = self._reheated(self._polished(Partitioned.of(self.graph, canonical(labels))), seed)
        found = canonical(partition.labels)
        return Found(found, self.length(found))

    def _reheated(self, best: Partitioned, seed: int) -> Partitioned:
        """The better of a partition and what annealing and then downhill steps make of it, if moves are annealed."""
        if self._moves != ANNEALED:
            return best
        other = self._polished(annealed(self.description, best, seed, ROUNDS * self._effort))
        return min(best, other, key=self._nats)

    # ---- moves of nodes ------------------------------------------------------------------------------------

    def moved(self, partition: Partitioned, rounds: int = 30, vacate: bool = True) -> Partitioned:
        """Move nodes, all that gain at once, as long as the description gets shorter.

        Moves that gain by themselves may not gain together: where they do not, only the best half of them is
        tried, and so on down to one.
        """
        nats = self._nats(partition)
        for _ in range(rounds * self._effort):
            changes, blocks = Moves(self.description, partition).best(vacate)

            def apply(nodes: Integers, before: Partitioned = partition, to: Integers = blocks) -> Partitioned | None:
                tried = before.moved(self.graph, nodes, to[nodes])
                return tried.compact() if vacate or (tried.sizes > 0).all() else None

            if (step := self._together(changes, nats, apply)) is None:
                break
            partition, nats = step
        return partition

    def _together(
        self, changes: Floats, nats: float, apply: Callable[[Integers], Partitioned | None]
    ) -> tuple[Partitioned, float] | None:
        """As many of the steps that gain as gain together, the best first: the partition and its nats, or None."""
        gaining = np.flatnonzero(changes < -SHORTER)
        gaining = gaining[np.argsort(changes[gaining], kind="stable")]
        count = len(gaining)
        while count:
            tried = apply(gaining[:count])
            if tried is not None and (reached := self._nats(tried)) < nats - SHORTER:
                return tried, reached
            count //= 2
        return None

    # ---- merges --------------------------------------------------------------------------------------------

    def _descend(self, partition: Partitioned) -> Partitioned:
        """Merge down to one block, moving nodes between, and then slowly from just above the best number."""
        best, nats, above = partition, self._nats(partition), partition
        before = partition
        while partition.n_blocks > 2:
            merges = partition.n_blocks - max(2, int(partition.n_blocks * SHRINK))
            before, partition = partition, self.moved(self._merged(partition, max(1, merges)), rounds=3)
            reached = self._nats(partition)
            if reached < nats:
                best, nats, above = partition, reached, before
            elif partition.n_blocks < best.n_blocks / 4:
                break
        return self._slowly(above, best)

    def _slowly(self, above: Partitioned, best: Partitioned) -> Partitioned:
        """One merge at a time from `above`, to the shortest on the way; `best` if none is shorter."""
        nats = self._nats(best)
        lowest = best.n_blocks * SHRINK
        partition = above
        while partition.n_blocks > max(1.0, lowest):
            partition = self._merged(partition, max(1, partition.n_blocks // 40))
            partition = self.moved(partition, rounds=2)
            reached = self._nats(partition)
            if reached < nats:
                best, nats, lowest = partition, reached, partition.n_blocks * SHRINK
        return best

    def _merged(self, partition: Partitioned, count: int) -> Partitioned:
        """The best `count` merges of different blocks, whether or not they gain."""
        changes, first, second = self._merges(partition)
        order = np.argsort(changes, kind="stable")
        return partition.compact(_paired(first[order], second[order], partition.n_blocks, count))

    def _merges(self, partition: Partitioned) -> tuple[Floats, Integers, Integers]:
        first, second = np.triu_indices(partition.n_blocks, 1)
        return Moves(self.description, partition).of_merges(first, second), first, second

    # ---- splits --------------------------------------------------------------------------------------------

    def _polished(self, best: Partitioned) -> Partitioned:
        """Moves, merges and splits until none gains."""
        nats = self._nats(best)
        for _ in range(6 * self._effort):
            partition = self.moved(self._split(self._joined(self.moved(best))))
            reached = self._nats(partition)
            if reached >= nats - SHORTER:
                break
            best, nats = partition, reached
        return best

    def _joined(self, partition: Partitioned) -> Partitioned:
        """Merge as long as it gains, as many pairs at once as gain together."""
        nats = self._nats(partition)
        while partition.n_blocks > 1:
            changes, first, second = self._merges(partition)

            def apply(
                pairs: Integers, before: Partitioned = partition, one: Integers = first, other: Integers = second
            ) -> Partitioned:
                return before.compact(_paired(one[pairs], other[pairs], before.n_blocks, len(pairs)))

            if (step := self._together(changes, nats, apply)) is None:
                break
            partition, nats = step
        return partition

    def _split(self, partition: Partitioned) -> Partitioned:
        """Split all blocks in two along their leading directions, and keep the halves that gain."""
        k = partition.n_blocks
        labels = partition.labels.copy()
        for block in range(k):
            members = np.flatnonzero(partition.labels == block)
            if len(members) > 1:
                labels[members[self._upper(partition, members)]] += k
        used, halves = np.unique(labels.astype(np.int64), return_inverse=True)
        partner = _partners(used, k)
        halved = self._rebalanced(Partitioned.of(self.graph, halves.astype(np.int32)), partner)
        first = np.flatnonzero(partner > np.arange(len(used)))
        costs = Moves(self.description, halved).of_merges(first, partner[first])
        blocks = np.arange(len(used))
        rejoined = first[costs <= SHORTER]
        blocks[partner[rejoined]] = rejoined
        return halved.compact(np.unique(blocks, return_inverse=True)[1].astype(np.int32))

    def _rebalanced(self, partition: Partitioned, partner: Integers) -> Partitioned:
        """Move nodes between the halves of their blocks."""
        for _ in range(4):
            blocks = partner[partition.labels]
            nodes = np.flatnonzero((blocks != partition.labels) & (partition.sizes[partition.labels] > 1))
            changes = Moves(self.description, partition).of_nodes(nodes, blocks[nodes])
            movers = nodes[changes < -SHORTER]
            tried = partition.moved(self.graph, movers, blocks[movers])
            if not len(movers) or (tried.sizes == 0).any() or self._nats(tried) >= self._nats(partition):
                break
            partition = tried
        return partition

    def _upper(self, partition: Partitioned, members: Integers) -> Mask:
        """The half of a block's nodes on one side of its leading direction; may be all or none."""
        profiles = self._profiles(partition, members)
        profiles = profiles - profiles.mean(axis=0)
        left = np.linalg.eigh(profiles @ profiles.T)[1][:, -1] if len(members) < profiles.shape[1] else None
        if left is None:
            left = profiles @ np.linalg.eigh(profiles.T @ profiles)[1][:, -1]
        upper: Mask = left > 0
        return upper if upper[0] else ~upper

    def _profiles(self, partition: Partitioned, members: Integers) -> Floats:
        """Mean value (or number of edges) that nodes have to each block, and mean square, [m, features]."""
        planes = partition.incidence[:, :, members]
        count = np.maximum(planes[:, :1], 1.0)
        parts = planes[:, 1:] / count if planes.shape[1] > 1 else planes / partition.sizes
        profiles: Floats = np.concatenate(list(parts.reshape(-1, *parts.shape[2:])), axis=1)
        weights = np.sqrt(partition.sizes)
        return profiles * np.tile(weights, profiles.shape[1] // len(weights))

    # ---- a given number of blocks --------------------------------------------------------------------------

    def _fixed(self, start: Partitioned, n_blocks: int, seed: int) -> Found:
        partition = start
        while partition.n_blocks > n_blocks:
            merges = partition.n_blocks - max(n_blocks, int(partition.n_blocks * SHRINK))
            partition = self._merged(partition, max(1, merges))
            partition = self.moved(partition, rounds=3, vacate=False)
        while partition.n_blocks < n_blocks:
            partition = self._halves_of_largest(partition)
        partition = self.moved(partition, vacate=False)
        if self._moves == ANNEALED:
            other = annealed(self.description, partition, seed, ROUNDS * self._effort, vacate=False)
            partition = min(partition, self.moved(other, vacate=False), key=self._nats)
        labels = canonical(partition.labels)
        return Found(labels, self.length(labels))

    def _halves_of_largest(self, partition: Partitioned) -> Partitioned:
        """One block more: k-means found fewer distinct groups than asked for."""
        labels = partition.labels.copy()
        members = np.flatnonzero(labels == partition.sizes.argmax())
        labels[members[len(members) // 2 :]] = partition.n_blocks
        return Partitioned.of(self.graph, labels)

    def _nats(self, partition: Partitioned) -> float:
        return self.description.length(partition)


def _paired(first: Integers, second: Integers, n_blocks: int, count: int) -> Labels:
    """Blocks after the first `count` merges of different blocks, in the order given."""
    blocks = np.arange(n_blocks)
    free = np.ones(n_blocks, bool)
    for a, b in zip(first, second, strict=True):
        if free[a] and free[b]:
            free[a] = free[b] = False
            blocks[b] = a
            count -= 1
            if not count:
                break
    labels: Labels = np.unique(blocks, return_inverse=True)[1].astype(np.int32)
    return labels


def _partners(used: Integers, n_blocks: int) -> Integers:
    """The other half of each block, where halves of block b are b and b + n_blocks; itself where there is none."""
    where = {int(block): at for at, block in enumerate(used)}
    return np.array([where.get((int(block) + n_blocks) % (2 * n_blocks), at) for block, at in where.items()])
