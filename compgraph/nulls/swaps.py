"""Graphs with the same degrees on the allowed pairs: a Markov chain that exchanges the ends of edges.

Two edges a -> b, c -> d become a -> d, c -> b where the architecture allows both and neither exists. All graphs with
the degrees are equally likely in the end. A step proposes many disjoint exchanges at once; one is carried out if
its four pairs of nodes concern no other proposal, a condition that the reversed step meets too, so that the chain is
symmetric. Where more than half of the allowed pairs have an edge, the pairs without one are exchanged instead,
which keeps the same degrees and mixes faster.

Samples are exact whether or not the chain has forgotten its start (Besag & Clifford, Biometrika 76, 633, 1989): the
chain runs from the graph to a hub, and from the hub as many steps to every sample, so that the graph and its samples
are exchangeable under the null.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from compgraph.nulls.allowed import Allowed, Integers, Mask

BURN_IN = 12.0
"""Proposals per edge, over the share of free pairs, until the overlap with the start has settled."""

CROWDED = 0.15
"""Proposals at once, as a share of the allowed pairs: more of them would be in each other's way."""

MATRIX_NODES = 5000
"""Up to so many nodes the pairs without an edge are listed."""

Wiring = Callable[[np.random.Generator], tuple[Integers, Integers]]
"""Draws the ends of edges, int64 [E] each."""


def wiring(
    allowed: Allowed, source: Integers, target: Integers, directed: bool, seed: int = 0, by_group: bool = False
) -> Wiring:
    """Draw graphs with the degrees of one graph.

    Parameters
    ----------
    allowed
        Pairs that could have an edge.
    source, target
        Edges, int64 [E], each once; source < target if undirected.
    directed
        Whether the ends of an edge can be told apart.
    seed
        Of the way to the hub.
    by_group
        Exchange only between edges whose sources or whose targets are of one group, which keeps the number of
        edges between every two groups as well.
    """
    chain = Chain.of(allowed, source, target, directed, by_group)
    hub = chain.run(np.random.default_rng(seed), chain.steps)
    return lambda rng: hub.run(rng, chain.steps).edges()


@dataclass(frozen=True)
class Chain:
    """A state of the chain: the pairs that are exchanged, which are edges or, where `absent`, those without one."""

    allowed: Allowed
    source: Integers
    target: Integers
    directed: bool
    absent: bool
    by_group: bool

    @classmethod
    def of(
        cls, allowed: Allowed, source: Integers, target: Integers, directed: bool, by_group: bool = False
    ) -> Chain:
        """The chain at a graph."""
        source, target = source.astype(np.int64), target.astype(np.int64)
        pairs = allowed.count if directed else allowed.count // 2
        crowded = 2 * len(source) > pairs and allowed.n_nodes <= MATRIX_NODES
        if crowded:
            source, target = _others(allowed, source, target, directed)
        return cls(allowed, source, target, directed, crowded, by_group)

    @property
    def density(self) -> float:
        """Exchanged pairs as a share of the allowed ones."""
        return len(self.source) / (self.allowed.count if self.directed else self.allowed.count // 2)

    @property
    def at_once(self) -> int:
        """Exchanges proposed in one step."""
        return max(1, int(len(self.source) * min(1.0, CROWDED / self.density)) // 2)

    @property
    def steps(self) -> int:
        """Steps until the overlap with the start has settled."""
        if len(self.source) < 2 or self.density == 1:
            return 0
        return int(np.ceil(BURN_IN * len(self.source) / (1 - self.density) / self.at_once))

    def run(self, rng: np.random.Generator, steps: int) -> Chain:
        """The state so many steps later."""
        source, target = self.source.copy(), self.target.copy()
        for _ in range(steps):
            self._step(source, target, rng)
        return Chain(self.allowed, source, target, self.directed, self.absent, self.by_group)

    def edges(self) -> tuple[Integers, Integers]:
        """Source and target of the graph's edges; source < target if undirected."""
        if self.absent:
            return _others(self.allowed, self.source, self.target, self.directed)
        if self.directed:
            return self.source, self.target
        return np.minimum(self.source, self.target), np.maximum(self.source, self.target)

    def _step(self, source: Integers, target: Integers, rng: np.random.Generator) -> None:
        first, second = self._proposals(source, target, rng)
        a, b, c, d = source[first], target[first], source[second], target[second]
        if not self.directed:
            turned = rng.random(len(c)) < 0.5
            c, d = np.where(turned, d, c), np.where(turned, c, d)
        allowed = self.allowed.has(a, d) & self.allowed.has(c, b)
        present = self._cells(source, target)
        proposed = np.concatenate([self._cells(a, d), self._cells(c, b)])
        taken, alone = _conflicts(present, proposed)
        # A pair of nodes that another exchange would like to use must stay as it is, or the reversed step would differ.
        wanted = _among(present[np.concatenate([first, second])], np.sort(proposed[taken]))
        blocked = (taken | wanted | ~alone).reshape(2, -1).any(axis=0)
        go = allowed & ~blocked
        if len(go) == 1:
            go &= rng.random() < 0.5  # else two edges would change at every step, and parity would stay
        target[first[go]] = d[go]
        source[second[go]], target[second[go]] = c[go], b[go]

    def _proposals(
        self, source: Integers, target: Integers, rng: np.random.Generator
    ) -> tuple[Integers, Integers]:
        """Numbers of the edges of each proposed exchange; no edge is in two."""
        drawn = rng.permutation(len(source))
        if not self.by_group:
            drawn = drawn[: 2 * self.at_once]
            return drawn[0::2], drawn[1::2]
        group = self.allowed.group[(source if rng.random() < 0.5 else target)[drawn]]
        drawn = drawn[np.argsort(group, kind="stable")]
        group = np.sort(group)
        start = int(rng.integers(2))
        first, second = drawn[start:-1:2], drawn[start + 1 :: 2]
        same = group[start:-1:2] == group[start + 1 :: 2]
        keep = rng.permutation(np.flatnonzero(same))[: self.at_once]
        return first[keep], second[keep]

    def _cells(self, source: Integers, target: Integers) -> Integers:
        """One number for each pair of nodes."""
        if not self.directed:
            source, target = np.minimum(source, target), np.maximum(source, target)
        cells: Integers = source * self.allowed.n_nodes + target
        return cells


def _conflicts(present: Integers, proposed: Integers) -> tuple[Mask, Mask]:
    """Which proposed cells are present, and which are proposed once.

    Sorted queries of a sorted list stay in the cache: for a million edges that is several times faster.
    """
    order = np.argsort(proposed)
    ranked = proposed[order]
    taken, alone = np.empty(len(proposed), bool), np.empty(len(proposed), bool)
    taken[order] = _among(ranked, np.sort(present))
    differs = np.ones(len(ranked) + 1, bool)
    differs[1:-1] = ranked[1:] != ranked[:-1]
    alone[order] = differs[1:] & differs[:-1]
    return taken, alone


def _among(cells: Integers, ordered: Integers) -> Mask:
    """Which cells occur in an ordered list."""
    if not len(ordered):
        return np.zeros(len(cells), bool)
    at = np.minimum(np.searchsorted(ordered, cells), len(ordered) - 1)
    found: Mask = ordered[at] == cells
    return found


def _others(allowed: Allowed, source: Integers, target: Integers, directed: bool) -> tuple[Integers, Integers]:
    """The allowed pairs that are not among the given ones."""
    free = allowed.matrix.copy()
    free[source, target] = False
    if not directed:
        free[target, source] = False
        free = np.triu(free)
    found = np.nonzero(free)
    return found[0].astype(np.int64), found[1].astype(np.int64)
