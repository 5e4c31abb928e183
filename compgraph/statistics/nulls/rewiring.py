"""Nulls that exchange the ends of edges: a Markov chain over the graphs with the same degrees.

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

from dataclasses import dataclass

import numpy as np

from compgraph.communities.pairs import Integers, Mask
from compgraph.statistics.nulls.sampling import Sampler, edge_weights, weights_by_source
from compgraph.statistics.view import DENSE_NODES, LAYERED, UNDIRECTED, UndefinedError, View

BURN_IN = 12.0
"""Proposals per edge, over the share of free pairs, until the overlap with the start has settled."""

CROWDED = 0.15
"""Proposals at once, as a share of the allowed pairs: more of them would be in each other's way."""


def swap(view: View, seed: int = 0) -> Sampler:
    """Exchange the ends of edges, on pairs that the architecture allows.

    Keeps every node's number of edges in and out (undirected: its degree) and the set of weights; in a directed
    graph each node's weights are permuted over its outgoing edges, so out-strengths stay; in an undirected one all
    weights are permuted.

    Raises
    ------
    UndefinedError
        If every allowed pair has an edge: there is one graph with these degrees.
    """
    return _sampler(view, seed, by_level=False)


def level_pair_swap(view: View, seed: int = 0) -> Sampler:
    """As `swap`, for edges whose sources or whose targets are of one site only.

    Keeps, besides, the number of edges between each two sites, and so what depth does. For layered graphs.
    """
    if view.kind != LAYERED:
        raise UndefinedError(f"a {view.kind} graph has no levels to keep; use swap")
    return _sampler(view, seed, by_level=True)


def _sampler(view: View, seed: int, by_level: bool) -> Sampler:
    if view.n_edges == view.n_allowed:
        raise UndefinedError("every pair that could have an edge has one, so exchanging ends changes nothing")
    chain = Chain.of(view, by_level)
    hub = chain.run(np.random.default_rng(seed), chain.steps)
    signed = edge_weights(view)

    def sample(rng: np.random.Generator) -> View:
        source, target = hub.run(rng, chain.steps).edges()
        if view.kind == UNDIRECTED:
            return view.with_edges(source, target, rng.permutation(signed))
        order = np.argsort(source, kind="stable")
        return view.with_edges(source[order], target[order], weights_by_source(view.source, signed, rng))

    return sample


@dataclass(frozen=True)
class Chain:
    """A state of the chain: the pairs that are exchanged, which are edges or, where `absent`, those without one."""

    view: View
    source: Integers
    target: Integers
    absent: bool
    by_level: bool

    @classmethod
    def of(cls, view: View, by_level: bool) -> Chain:
        """The chain at a graph."""
        crowded = 2 * view.n_edges > view.n_allowed and view.n_nodes <= DENSE_NODES
        source, target = _others(view, view.source, view.target) if crowded else (view.source, view.target)
        return cls(view, source, target, crowded, by_level)

    @property
    def density(self) -> float:
        """Exchanged pairs as a share of the allowed ones."""
        return len(self.source) / self.view.n_allowed

    @property
    def at_once(self) -> int:
        """Exchanges proposed in one step."""
        return max(1, int(len(self.source) * min(1.0, CROWDED / self.density)) // 2)

    @property
    def steps(self) -> int:
        """Steps until the overlap with the start has settled."""
        return int(np.ceil(BURN_IN * len(self.source) / (1 - self.density) / self.at_once))

    def run(self, rng: np.random.Generator, steps: int) -> Chain:
        """The state so many steps later."""
        source, target = self.source.copy(), self.target.copy()
        if len(source) > 1:
            for _ in range(steps):
                self._step(source, target, rng)
        return Chain(self.view, source, target, self.absent, self.by_level)

    def edges(self) -> tuple[Integers, Integers]:
        """Source and target of the graph's edges."""
        return _others(self.view, self.source, self.target) if self.absent else (self.source, self.target)

    def _step(self, source: Integers, target: Integers, rng: np.random.Generator) -> None:
        first, second = self._proposals(source, target, rng)
        a, b, c, d = source[first], target[first], source[second], target[second]
        if self.view.kind == UNDIRECTED:
            turned = rng.random(len(c)) < 0.5
            c, d = np.where(turned, d, c), np.where(turned, c, d)
        allowed = self.view.allowed.has(a, d) & self.view.allowed.has(c, b)
        present = self._cells(source, target)
        proposed = np.concatenate([self._cells(a, d), self._cells(c, b)])
        taken = _among(proposed, np.sort(present))
        # A pair of nodes that another exchange would like to use must stay as it is, or the reversed step would differ.
        wanted = np.isin(present[np.concatenate([first, second])], proposed[taken])
        blocked = (taken | wanted | ~_met_once(proposed)).reshape(2, -1).any(axis=0)
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
        if not self.by_level:
            drawn = drawn[: 2 * self.at_once]
            return drawn[0::2], drawn[1::2]
        group = self.view.allowed.group[(source if rng.random() < 0.5 else target)[drawn]]
        drawn = drawn[np.argsort(group, kind="stable")]
        group = np.sort(group)
        start = int(rng.integers(2))
        first, second = drawn[start:-1:2], drawn[start + 1 :: 2]
        same = group[start:-1:2] == group[start + 1 :: 2]
        keep = rng.permutation(np.flatnonzero(same))[: self.at_once]
        return first[keep], second[keep]

    def _cells(self, source: Integers, target: Integers) -> Integers:
        """One number for each pair of nodes."""
        if self.view.kind == UNDIRECTED:
            source, target = np.minimum(source, target), np.maximum(source, target)
        cells: Integers = source * self.view.n_nodes + target
        return cells


def _among(cells: Integers, ordered: Integers) -> Mask:
    """Which cells occur in an ordered list that is not empty."""
    at = np.minimum(np.searchsorted(ordered, cells), len(ordered) - 1)
    found: Mask = ordered[at] == cells
    return found


def _met_once(cells: Integers) -> Mask:
    _, inverse, counts = np.unique(cells, return_inverse=True, return_counts=True)
    once: Mask = counts[inverse] == 1
    return once


def _others(view: View, source: Integers, target: Integers) -> tuple[Integers, Integers]:
    """The allowed pairs that are not among the given ones."""
    free = view.allowed.matrix.copy()
    free[source, target] = False
    if view.kind == UNDIRECTED:
        free[target, source] = False
        free = np.triu(free)
    found = np.nonzero(free)
    return found[0].astype(np.int64), found[1].astype(np.int64)
