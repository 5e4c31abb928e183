"""Models of blocks of one structure (assortative, core-periphery, ordered, overlapping), rivals of the general one.

They explain the presence of edges alone. A description of one block is as long as that of the general model, to the
last nat, so that lengths can be compared: graph-tool's of the overlapping model lacks the ln n for the number of
blocks that the others have, and it is added here.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from compgraph.communities.agreement import Labels, canonical
from compgraph.communities.blocks.core_counts import CoreCounts
from compgraph.communities.blocks.engine import Fit, shortness
from compgraph.communities.blocks.library import load_graph_tool
from compgraph.communities.blocks.observed import Observed
from compgraph.communities.blocks.problem import Problem
from compgraph.communities.blocks.states import WHOLE, States, told_parts
from compgraph.communities.blocks.sweeps import Descent
from compgraph.communities.pairs import Floats, Integers

ROUNDS = 20
"""Rounds of sweeps at most, per effort."""


CUTS = 4
"""Divisions into core and periphery from which moves start."""


@dataclass(frozen=True)
class Structured:
    """A fit of one structure.

    Attributes
    ----------
    fit
        Its partition; of an overlapping model the block that most of a node's edges are in, of an ordered one
        numbered along the order.
    parts
        Its description length by what is told, nats.
    memberships
        Share of each node's edges that are in each block, float64 [n, K]; None where blocks do not overlap.
    """

    fit: Fit
    parts: dict[str, float]
    memberships: Floats | None = None


class Structure(ABC):
    """A model of one structure, on the graph of `states`."""

    name: ClassVar[str]
    degree_corrected: ClassVar[tuple[bool, ...]]

    def __init__(self, states: States, effort: int) -> None:
        self._states, self._effort = states, effort

    @classmethod
    def refusal(cls, problem: Problem) -> str | None:
        """Why a graph is not served, or None."""
        seen = problem.observed
        if not problem.topology:
            return "the architecture decides which edges exist; use constraint 'none'"
        if seen.covariates:
            return "it explains the presence of edges alone; use weights None"
        if seen.layer is not None:
            return "it is for one layer"
        return "nodes are kept apart by a constraint" if seen.kinds is not None else cls._refuses(seen)

    @classmethod
    @abstractmethod
    def _refuses(cls, seen: Observed) -> str | None: ...

    def fits(self, starts: Sequence[Labels]) -> list[Structured]:
        """Fits from each start for each degree correction, shortest first."""
        found = [self._descend(start, choice) for choice in self.degree_corrected for start in starts]
        return sorted(found, key=lambda one: shortness(one.fit))

    @abstractmethod
    def state(self, labels: Labels, degree_corrected: bool) -> Any:
        """graph-tool's state of a partition."""

    def length(self, state: Any) -> float:
        """Length of the description, nats."""
        return float(state.entropy())

    def _descend(self, start: Labels, degree_corrected: bool) -> Structured:
        state = self.state(start, degree_corrected)
        Descent({}, ROUNDS * self._effort).merges_and_splits(state)
        fit = Fit((self._labels(state),), self.length(state), False, degree_corrected, self.name)
        return Structured(fit, self._parts(state, fit), self._shares(state))

    def _labels(self, state: Any) -> Labels:
        return canonical(state.b.a)

    def _shares(self, state: Any) -> Floats | None:
        return None

    def _parts(self, state: Any, fit: Fit) -> dict[str, float]:
        """As `States.parts`; what is in none of them is about the partition."""
        found = {name: nats for name, nats in told_parts(state, {}).items() if not name.startswith("weight")}
        found["partition"] += fit.length - sum(found.values())
        return found if fit.degree_corrected else {name: nats for name, nats in found.items() if name != "degrees"}


class Assortative(Structure):
    """Planted partition: one rate inside blocks of equal degrees, one between them, degree-corrected.

    Source: Zhang & Peixoto, Phys. Rev. Research 2, 043271.
    """

    name = "assortative"
    degree_corrected = (True,)

    @classmethod
    def _refuses(cls, seen: Observed) -> str | None:
        return "it knows no directions" if seen.directed else None

    def state(self, labels: Labels, degree_corrected: bool) -> Any:
        """graph-tool's state of a partition."""
        inference = load_graph_tool().inference
        return inference.PPBlockState(self._states.graph, b=self._states.vertices(canonical(labels)))

    def _parts(self, state: Any, fit: Fit) -> dict[str, float]:
        return {WHOLE: fit.length}


class CorePeriphery(Structure):
    """Two blocks whose densities fall from the core over the ties between to the periphery.

    The general model of two blocks, but that all numbers of edges in the blocks are equally likely only among those in
    that order (`CoreCounts`), so that a core is told in fewer nats. As Borgatti and Everett's core, with densities
    that are found; the hub-and-spoke model of Gallagher, Young & Welles, Sci. Adv. 7, eabc9800. Block 0 is the core.
    """

    name = "core-periphery"
    degree_corrected = (False, True)

    @classmethod
    def _refuses(cls, seen: Observed) -> str | None:
        return None

    def fits(self, starts: Sequence[Labels]) -> list[Structured]:
        """Fits from the best cuts of nodes by degree and of blocks by density, and one block; shortest first."""
        whole = np.zeros(self._states.observed.n_nodes, np.int32)
        cuts = self._cuts(starts)
        found = []
        for choice in self.degree_corrected:
            lengths = [self.length(self.state(cut, choice)) for cut in cuts]
            best = [cuts[k] for k in np.argsort(lengths, kind="stable")[:CUTS]]
            found += [self._fit(self.state(whole, choice), choice)]
            found += [fit for cut in best for fit in self._descents(cut, choice)]
        in_order = [one for one in found if np.isfinite(one.fit.length)]
        return sorted(in_order, key=lambda one: shortness(one.fit))

    def state(self, labels: Labels, degree_corrected: bool) -> Any:
        """graph-tool's state of a partition."""
        return self._states.flat(labels, degree_corrected)

    def length(self, state: Any) -> float:
        """Length of the description, nats; infinite for two blocks that are no core and periphery."""
        return float(state.entropy()) + self._saved(state)

    def _descents(self, start: Labels, degree_corrected: bool) -> list[Structured]:
        """A division, and what single moves make of it: they see the general model, and may lead out of the order."""
        state = self.state(start, degree_corrected)
        first = self._fit(state, degree_corrected)
        Descent({}, ROUNDS * self._effort).single_moves(state, d=0, allow_vacate=False)
        return [first, self._fit(state, degree_corrected)]

    def _fit(self, state: Any, degree_corrected: bool) -> Structured:
        fit = Fit((self._labels(state),), self.length(state), False, degree_corrected, self.name)
        return Structured(fit, self._parts(state, fit) if np.isfinite(fit.length) else {})

    def _cuts(self, starts: Sequence[Labels]) -> list[Labels]:
        """Divisions in two: by degree at sizes half an octave apart, and between the blocks of other fits by degree."""
        seen = self._states.observed
        n = seen.n_nodes
        degree = np.bincount(np.concatenate([seen.source, seen.target]), minlength=n).astype(np.float64)
        rank = np.argsort(np.argsort(-degree, kind="stable"), kind="stable")
        sizes = np.unique(np.rint(2 ** np.arange(0, np.log2(max(n / 1.2, 1)), 0.5)).astype(int))
        cuts = [rank >= size for size in sizes if size < n]
        for labels in starts:
            mean = np.bincount(labels, degree) / np.bincount(labels)
            order = np.argsort(np.argsort(-mean, kind="stable"), kind="stable")[labels]
            cuts += [order >= k for k in range(1, int(order.max(initial=0)) + 1)]
        return list({cut.tobytes(): cut.astype(np.int32) for cut in cuts}.values())

    def _labels(self, state: Any) -> Labels:
        """Core 0, periphery 1: of the two, the one with the larger density is the core."""
        labels = canonical(state.b.a)
        both = [CoreCounts.of(*self._ends, one, self._states.observed.directed) for one in (labels, 1 - labels)]
        return labels if labels.max(initial=0) == 0 or both[0].in_order or not both[1].in_order else 1 - labels

    def _saved(self, state: Any) -> float:
        """What the order changes in the length of the edge counts, nats: at most 0, or infinite."""
        labels = self._labels(state)
        if labels.max(initial=0) == 0:
            return 0.0
        counts = CoreCounts.of(*self._ends, labels, self._states.observed.directed)
        return counts.log_share if counts.in_order else math.inf

    def _parts(self, state: Any, fit: Fit) -> dict[str, float]:
        found = told_parts(state, {})
        found["edge counts"] += self._saved(state)
        return {
            name: nats
            for name, nats in found.items()
            if not name.startswith("weight") and (fit.degree_corrected or name != "degrees")
        }

    @property
    def _ends(self) -> tuple[Integers, Integers]:
        return self._states.observed.source, self._states.observed.target


class Ordered(Structure):
    """Blocks in an order: rates between blocks depend on which of the two comes first.

    Source: Peixoto, arXiv 2203.16460.
    """

    name = "ordered"
    degree_corrected = (False, True)

    @classmethod
    def _refuses(cls, seen: Observed) -> str | None:
        return None if seen.directed else "an order needs directions"

    def state(self, labels: Labels, degree_corrected: bool) -> Any:
        """graph-tool's state of a partition, its blocks ordered by how much more they send than receive."""
        inference = load_graph_tool().inference
        ordered = self._by_flow(canonical(labels))
        return inference.RankedBlockState(
            self._states.graph, b=self._states.vertices(ordered), deg_corr=degree_corrected
        )

    def _by_flow(self, labels: Labels) -> Labels:
        """Blocks numbered from the one that sends the most to the one that receives the most."""
        seen = self._states.observed
        sent = np.bincount(labels[seen.source], minlength=labels.max() + 1)
        received = np.bincount(labels[seen.target], minlength=labels.max() + 1)
        rank = np.argsort(np.argsort(-(sent - received) / np.bincount(labels), kind="stable"), kind="stable")
        numbered: Labels = rank[labels].astype(np.int32)
        return numbered

    def _labels(self, state: Any) -> Labels:
        """Blocks numbered along the order, in the direction in which most edges go up: it is arbitrary otherwise."""
        labels: Labels = np.unique(state.get_vertex_order().a, return_inverse=True)[1].astype(np.int32)
        seen = self._states.observed
        up = np.sign(labels[seen.target] - labels[seen.source]).sum()
        return labels if up >= 0 else labels.max() - labels


class Overlapping(Structure):
    """Nodes in several blocks at once: each end of an edge has a block of its own.

    Source: Peixoto, Phys. Rev. X 5, 011033. Without degree correction: with it the prior of the degrees is another
    one than that of the other models, so that lengths would not be comparable.
    """

    name = "overlapping"
    degree_corrected = (False,)

    @classmethod
    def _refuses(cls, seen: Observed) -> str | None:
        touched = len(np.unique(np.concatenate([seen.source, seen.target])))
        if touched < seen.n_nodes:
            return f"it puts edges into blocks, and {seen.n_nodes - touched} nodes have none"
        return None

    def state(self, labels: Labels, degree_corrected: bool) -> Any:
        """graph-tool's state of a partition."""
        inference = load_graph_tool().inference
        found = canonical(labels)
        n_blocks = int(found.max(initial=0)) + 1
        return inference.OverlapBlockState(
            self._states.graph, b=self._states.vertices(found), B=n_blocks, deg_corr=degree_corrected
        )

    def length(self, state: Any) -> float:
        """Length of the description, nats, with the ln n for the number of blocks."""
        return float(state.entropy()) + math.log(self._states.observed.n_nodes)

    def _labels(self, state: Any) -> Labels:
        return canonical(self._shares(state).argmax(axis=1))

    def _shares(self, state: Any) -> Floats:
        """Share of each node's edges that are in each block, float64 [n, K]; a node without edges is in the first."""
        blocks, _, _, degrees = state.get_overlap_blocks()
        rows = [(list(blocks[node]), list(degrees[node])) for node in self._states.graph.vertices()]
        used = np.unique([block for own, _ in rows for block in own]) if any(own for own, _ in rows) else np.zeros(1)
        shares = np.zeros((len(rows), len(used)))
        for node, (own, degree) in enumerate(rows):
            shares[node, np.searchsorted(used, own)] = degree
            shares[node, 0] += sum(degree) == 0
        found: Floats = shares / shares.sum(axis=1, keepdims=True)
        return found


STRUCTURES: dict[str, type[Structure]] = {one.name: one for one in (Assortative, CorePeriphery, Ordered, Overlapping)}
"""Models of one structure by name."""
