"""Markov chains over circuits, uniform over those of equal size, layer profile or degrees.

Every move is as likely as its reverse, so the uniform distribution is stationary (Metropolis). All random decisions
that do not depend on a chain's state (the kinds of moves, who trades with whom) are fixed beforehand as a schedule; the
chain to the hub runs it backwards. Given hub and schedule, the circuit and the ends of the n chains are then
independent draws from one distribution (Besag and Clifford 1989, Biometrika 76, 633).

In a layered graph a circuit equals its pruned self exactly if every node that is no input or output has an edge in if
and only if it has an edge out. So connectivity is checked at the few nodes a move touches, all chains at once.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from compgraph.graph import ComputationalGraph

Ints = npt.NDArray[np.int64]
Masks = npt.NDArray[np.bool_]

ONE, TWO, REWIRE = 0, 1, 2
MIX = (0.35, 0.3, 0.35)
"""Shares of the three moves of `ExchangeChain`: two exchanges at once are seldom accepted, but small circuits hardly
change shape without."""
BLOCK = 2**20
"""Random numbers drawn at a time."""
TRADED = 2**21
"""Kept edges of all chains that trade at a time."""


class EdgeFinder:
    """Edge numbers from source, target and channel."""

    def __init__(self, graph: ComputationalGraph) -> None:
        self.n_nodes, self.n_channels = graph.n_nodes, len(graph.channels)
        keys = self._key(graph.source.astype(np.int64), graph.target.astype(np.int64), graph.channel.astype(np.int64))
        self.order = np.argsort(keys, kind="stable")
        self.keys = keys[self.order]

    def __call__(self, source: Ints, target: Ints, channel: Ints) -> Ints:
        """Edge numbers, -1 where there is no such edge."""
        keys = self._key(source, target, channel)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        found: Ints = np.where(self.keys[at] == keys, self.order[at], -1)
        return found

    def _key(self, source: Ints, target: Ints, channel: Ints) -> Ints:
        key: Ints = (target * self.n_channels + channel) * self.n_nodes + source
        return key


class ExchangeChain:
    """Connected circuits with given numbers of edges in every cell.

    Moves: one kept edge for another of its cell; two at once; and a way a -> x -> b for a -> x' -> b, by which nodes
    come and go. A move to a circuit that is not connected is refused.

    Parameters
    ----------
    graph
        The allowed edges.
    cells
        Cell of each edge, int [edges].
    same_site
        Whether x' is a node of x's site, so that cells are kept; else any node.
    """

    def __init__(self, graph: ComputationalGraph, cells: Ints, *, same_site: bool) -> None:
        self.source, self.target = graph.source.astype(np.int64), graph.target.astype(np.int64)
        self.channel, self.n_nodes = graph.channel.astype(np.int64), graph.n_nodes
        self.find = EdgeFinder(graph)
        self.members, self.first, self.count = _grouped(cells)
        self.cells = cells
        site = np.unique(graph.node_columns["site"], return_inverse=True)[1].astype(np.int64)
        self.site = site if same_site else np.zeros_like(site)
        self.neighbours, self.site_first, self.site_count = _grouped(self.site)
        self.free = np.zeros(graph.n_nodes, bool)
        self.free[graph.inputs] = True
        self.free[graph.outputs] = True

    def sample(self, start: Ints, n: int, tries: int, rng: np.random.Generator) -> tuple[Masks, float]:
        """Ends of n chains from the hub, bool [n, edges], and the share of tries that were accepted.

        Parameters
        ----------
        start
            Kept edges of the circuit.
        tries
            Moves tried on each leg.
        """
        schedule = rng.choice(len(MIX), size=tries, p=MIX)
        state = _State(self, start, 1)
        self._run(state, schedule[::-1], rng)
        state = _State(self, state.kept, n)
        accepted = self._run(state, schedule, rng)
        return state.mask.reshape(n, -1), accepted / (n * tries)

    def _run(self, state: _State, schedule: npt.NDArray[np.integer], rng: np.random.Generator) -> int:
        n, k = state.n, state.k
        rows, accepted = np.arange(n), 0
        length = max(1, BLOCK // (4 * n))
        for begin in range(0, len(schedule), length):
            kinds = schedule[begin : begin + length]
            uniform = rng.random((len(kinds), 4, n))
            slots = (uniform[:, :2] * k).astype(np.int64) + k * rows
            for kind, u, slot in zip(kinds, uniform, slots, strict=True):
                slot = slot[:1] if kind == ONE else slot
                removed = state.kept.take(slot)
                if kind == REWIRE:
                    at, added = self._rewired(removed, u[2])
                else:
                    at, added = rows, self._others(removed, u[2 : 2 + len(slot)])
                for one in range(len(added)):
                    hopeful = state.attachable(at, added, one)
                    at, added = at[hopeful], added[:, hopeful]
                if len(at):
                    accepted += state.exchange(at, slot[:, at], removed[:, at], added)
        return accepted

    def _others(self, removed: Ints, uniform: npt.NDArray[np.float64]) -> Ints:
        """A random edge of each one's cell."""
        if len(self.count) == 1:
            return (uniform * len(self.cells)).astype(np.int64)
        cell = self.cells.take(removed)
        return self.members[self.first[cell] + (uniform * self.count[cell]).astype(np.int64)]

    def _rewired(self, removed: Ints, uniform: npt.NDArray[np.float64]) -> tuple[Ints, Ints]:
        """Chains whose two edges are a way a -> x -> b, and the edges a -> x' and x' -> b."""
        at = np.flatnonzero(self.target[removed[0]] == self.source[removed[1]])
        into, out = removed[:, at]
        site = self.site[self.target[into]]
        other = self.neighbours[self.site_first[site] + (uniform[at] * self.site_count[site]).astype(np.int64)]
        first = self.find(self.source[into], other, self.channel[into])
        second = self.find(other, self.target[out], self.channel[out])
        there = (first >= 0) & (second >= 0)
        return at[there], np.stack([first[there], second[there]])


class _State:
    """Circuits of n chains, flat: kept edges [n k], the same as masks [n edges], degrees of their nodes [n nodes].

    Inputs and outputs start with degrees above 0, so that the rule for all other nodes holds for them by itself.
    """

    def __init__(self, chain: ExchangeChain, kept: Ints, n: int) -> None:
        self.chain, self.n, self.k = chain, n, len(kept)
        self.kept = np.tile(kept, n)
        mask = np.zeros(len(chain.cells), bool)
        mask[kept] = True
        self.mask = np.tile(mask, n)
        nodes = chain.n_nodes
        self.enter = np.tile(chain.free + np.bincount(chain.target[kept], minlength=nodes), n)
        self.leave = np.tile(chain.free + np.bincount(chain.source[kept], minlength=nodes), n)
        self.node_offset, self.edge_offset = np.arange(n) * nodes, np.arange(n) * len(chain.cells)

    def attachable(self, rows: Ints, added: Ints, one: int) -> Masks:
        """Where one of the added edges [r, chains] may be: its source has an edge in and its target one out.

        Removals cannot help with that, so most moves are refused here, before anything is counted.
        """
        source, target = self.chain.source.take(added[one]), self.chain.target.take(added[one])
        enter = self.enter.take(source + self.node_offset[rows]) > 0
        leave = self.leave.take(target + self.node_offset[rows]) > 0
        if len(added) == 2:
            enter |= self.chain.target.take(added[1 - one]) == source
            leave |= self.chain.source.take(added[1 - one]) == target
        return enter & leave

    def exchange(self, rows: Ints, slots: Ints, removed: Ints, added: Ints) -> int:
        """Exchange edges [r, chains] of these chains where the result is a connected circuit; how many were."""
        fine = ~self.mask.take(added + self.edge_offset[rows]).any(0)
        if len(slots) == 2:
            fine &= (slots[0] != slots[1]) & (added[0] != added[1])
        rows, slots, removed, added = rows[fine], slots[:, fine], removed[:, fine], added[:, fine]
        self._count(rows, removed, added)
        edges = np.concatenate([removed, added])
        nodes = np.concatenate([self.chain.source.take(edges), self.chain.target.take(edges)]) + self.node_offset[rows]
        good = ((self.enter.take(nodes) > 0) == (self.leave.take(nodes) > 0)).all(0)
        bad = ~good
        self._count(rows[bad], added[:, bad], removed[:, bad])
        rows, slots, removed, added = rows[good], slots[:, good], removed[:, good], added[:, good]
        self.mask[removed + self.edge_offset[rows]] = False
        self.mask[added + self.edge_offset[rows]] = True
        self.kept[slots] = added
        return len(rows)

    def _count(self, rows: Ints, removed: Ints, added: Ints) -> None:
        """One entry at a time, since two edges of one chain may share a node."""
        offset = self.node_offset[rows]
        for edges, step in ((removed, -1), (added, 1)):
            for one in edges:
                self.enter[self.chain.target[one] + offset] += step
                self.leave[self.chain.source[one] + offset] += step


class TradeChain:
    """Circuits of equal degrees: in- and out-degree of every node in every channel.

    A round pairs the targets of each channel at random. A pair's sources that only one of the two has and both may have
    are dealt anew, each target getting as many as it had: every swap a -> b, c -> d to a -> d, c -> b is one such trade
    (Strona et al. 2014, Nature Communications 5, 4114, here with forbidden edges).

    Parameters
    ----------
    graph
        The allowed edges.
    """

    def __init__(self, graph: ComputationalGraph) -> None:
        self.source, self.find = graph.source.astype(np.int64), EdgeFinder(graph)
        key = graph.channel.astype(np.int64) * graph.n_nodes + graph.target
        ports, self.port = np.unique(key, return_inverse=True)
        self.channel, self.target = ports // graph.n_nodes, ports % graph.n_nodes

    def sample(self, start: Ints, n: int, rounds: int, rng: np.random.Generator) -> tuple[Masks, float]:
        """Ends of n chains from the hub, bool [n, edges], and the share of tradable edges that changed hands."""
        schedule = [self._pairs(rng) for _ in range(rounds)]
        hub, _ = self._run(start[None].copy(), schedule[::-1], rng)
        masks = np.zeros((n, len(self.source)), bool)
        shares, step = [], max(1, TRADED // len(start))
        for begin in range(0, n, step):
            rows = slice(begin, min(n, begin + step))
            kept, share = self._run(np.tile(hub, (rows.stop - begin, 1)), schedule, rng)
            np.put_along_axis(masks[rows], kept, True, 1)
            shares.append(share)
        return masks, float(np.mean(shares))

    def _pairs(self, rng: np.random.Generator) -> Ints:
        """Partner of each port, of the same channel; itself where the number is odd."""
        order = np.argsort(self.channel + rng.random(len(self.channel)) / 2)
        rank = np.arange(len(order)) - np.searchsorted(self.channel[order], self.channel[order])
        partner = np.arange(len(order))
        for at in np.flatnonzero(rank % 2 == 1):
            partner[order[at]], partner[order[at - 1]] = order[at - 1], order[at]
        return partner

    def _run(self, kept: Ints, schedule: list[Ints], rng: np.random.Generator) -> tuple[Ints, float]:
        mask = np.zeros((len(kept), len(self.source)), bool)
        np.put_along_axis(mask, kept, True, 1)
        moved = tradable = 0
        for partner in schedule:
            other = partner[self.port]
            swapped = self.find(self.source, self.target[other], self.channel[other])
            swapped[other == self.port] = -1
            counts = self._round(kept, mask, partner, swapped, rng)
            moved, tradable = moved + counts[0], tradable + counts[1]
        return kept, moved / max(tradable, 1)

    def _round(
        self, kept: Ints, mask: Masks, partner: Ints, swapped: Ints, rng: np.random.Generator
    ) -> tuple[int, int]:
        """Deal anew in place; numbers of edges that changed hands and that could."""
        other = swapped[kept]
        rows, slots = np.nonzero((other >= 0) & ~mask[np.arange(len(kept))[:, None], other])
        old, new = kept[rows, slots], other[rows, slots]
        port = self.port[old]
        group = rows * len(partner) + np.minimum(port, partner[port])
        side = port < partner[port]
        dealt = np.empty_like(side)
        dealt[np.argsort(group + rng.random(len(group)) / 2)] = side[np.argsort(group, kind="stable")]
        moves = dealt != side
        mask[rows[moves], old[moves]] = False
        mask[rows[moves], new[moves]] = True
        kept[rows[moves], slots[moves]] = new[moves]
        return int(moves.sum()), len(moves)


def _grouped(labels: Ints) -> tuple[Ints, Ints, Ints]:
    """Numbers sorted by label; where each label begins and how many it has."""
    count = np.bincount(labels)
    return np.argsort(labels, kind="stable"), np.cumsum(count) - count, count
