"""Graphs whose structure is known: what a block model should find, and what communities cannot."""

from __future__ import annotations

import numpy as np

from compgraph.communities.agreement import Labels
from compgraph.graph import ComputationalGraph

GROUPS = 4
INSIDE, OUTSIDE = 0.3, 0.03
"""Chance of an edge where the structure puts many, and elsewhere."""

BETWEEN = 0.15
"""Chance of an edge between core and periphery."""

CORE = 0.25
"""Share of the nodes that are the core."""


def modular(n: int = 120, seed: int = 0) -> tuple[ComputationalGraph, Labels]:
    """Four groups with many edges inside; undirected."""
    labels = _equal(n)
    return _drawn(labels, np.where(np.eye(GROUPS) > 0, INSIDE, OUTSIDE), False, seed), labels


def core_periphery(n: int = 120, seed: int = 0) -> tuple[ComputationalGraph, Labels]:
    """A core with many edges inside, and a periphery with edges to the core alone, nearly; undirected."""
    labels = (np.arange(n) >= CORE * n).astype(np.int32)
    return _drawn(labels, np.array([[INSIDE, BETWEEN], [BETWEEN, OUTSIDE]]), False, seed), labels


def ordered(n: int = 120, seed: int = 0) -> tuple[ComputationalGraph, Labels]:
    """Four groups in a row, edges mostly from each to the next; directed."""
    labels = _equal(n)
    return _drawn(labels, np.where(np.eye(GROUPS, k=1) > 0, INSIDE, OUTSIDE), True, seed), labels


def random(n: int = 120, seed: int = 0) -> tuple[ComputationalGraph, Labels]:
    """No structure; undirected."""
    return _drawn(np.zeros(n, np.int32), np.array([[0.1]]), False, seed), np.zeros(n, np.int32)


KINDS = {"modular": modular, "core-periphery": core_periphery, "ordered": ordered, "random": random}
"""Makers of (graph, groups of its nodes) by name, from a number of nodes and a seed."""


def _equal(n: int) -> Labels:
    labels: Labels = (np.arange(n) * GROUPS // n).astype(np.int32)
    return labels


def _drawn(labels: Labels, chance: np.ndarray, directed: bool, seed: int) -> ComputationalGraph:
    n = len(labels)
    drawn = np.random.default_rng(seed).random((n, n)) < chance[np.ix_(labels, labels)]
    source, target = np.nonzero(np.triu(drawn, 1) if not directed else drawn & ~np.eye(n, dtype=bool))
    names = [str(node) for node in range(n)]
    return ComputationalGraph(names, source, target, None, np.ones(len(source)), directed=directed)
