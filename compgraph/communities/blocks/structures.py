"""Models of blocks of one structure: assortative, ordered, overlapping; each a rival of the general model.

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
from compgraph.communities.blocks.engine import Fit, shortness
from compgraph.communities.blocks.library import load_graph_tool
from compgraph.communities.blocks.observed import Observed
from compgraph.communities.blocks.problem import Problem
from compgraph.communities.blocks.states import WHOLE, States, told_parts
from compgraph.communities.blocks.sweeps import Descent
from compgraph.communities.pairs import Floats

ROUNDS = 20
"""Rounds of sweeps at most, per effort."""


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


STRUCTURES: dict[str, type[Structure]] = {one.name: one for one in (Assortative, Ordered, Overlapping)}
"""Models of one structure by name."""
