"""Which pairs of nodes could have an edge."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph

Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Allowed:
    """Which ordered pairs of nodes could have an edge, as a table of groups of nodes; no node reads itself.

    Attributes
    ----------
    group
        Group of each node (its site), int [n].
    reads
        Whether nodes of one group may send to those of another, bool [G, G].
    """

    group: Integers
    reads: Mask

    @classmethod
    def of(cls, graph: ComputationalGraph) -> Allowed:
        """As the architecture of a directed graph says (not merely by level): parallel blocks forbid attn.l -> mlp.l,
        chains allow neighbours only. Without one, and for undirected graphs, all pairs of different nodes.

        Raises
        ------
        GraphError
            If the graph has an edge that its architecture forbids.
        """
        architecture = graph.architecture
        if architecture is None or not graph.directed:
            return cls(np.zeros(graph.n_nodes, np.int64), np.ones((1, 1), bool))
        sites, group = np.unique(graph.node_columns["site"].astype(str), return_inverse=True)
        numbers = {str(site): number for number, site in enumerate(sites)}
        reads = np.zeros((len(sites), len(sites)), dtype=bool)
        for target, sources in architecture.reads.items():
            if target in numbers:
                reads[[numbers[source] for source in sources if source in numbers], numbers[target]] = True
        allowed = cls(group.astype(np.int64), reads)
        forbidden = ~allowed.has(graph.source.astype(np.int64), graph.target.astype(np.int64))
        if forbidden.any():
            at = int(np.argmax(forbidden))
            u, v = graph.node_names[graph.source[at]], graph.node_names[graph.target[at]]
            raise GraphError(
                f"graph: edge {u} -> {v} is not one that the {architecture.family} architecture allows"
            )
        return allowed

    def has(self, source: Integers, target: Integers) -> Mask:
        """Whether each ordered pair is allowed."""
        allowed: Mask = self.reads[self.group[source], self.group[target]] & (source != target)
        return allowed

    def among(self, members: Mask) -> int:
        """Ordered allowed pairs inside a set of nodes, bool [n]."""
        sizes = np.bincount(self.group[members], minlength=len(self.reads))
        return int(sizes @ self.reads @ sizes - sizes @ np.diag(self.reads))

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self.group)

    @cached_property
    def partners(self) -> tuple[Integers, Integers]:
        """Nodes that each node could send to, and hear from; int [n] each."""
        sizes = np.bincount(self.group, minlength=len(self.reads))
        own = np.diag(self.reads).astype(np.int64)
        targets, sources = self.reads @ sizes - own, sizes @ self.reads - own
        return targets[self.group], sources[self.group]

    @cached_property
    def count(self) -> int:
        """Ordered allowed pairs."""
        return int(self.partners[0].sum())

    @cached_property
    def matrix(self) -> Mask:
        """Bool [n, n]."""
        mask: Mask = self.reads[np.ix_(self.group, self.group)]
        np.fill_diagonal(mask, False)
        return mask

    def drawn(self, n_pairs: int, directed: bool, rng: np.random.Generator) -> tuple[Integers, Integers]:
        """So many different allowed pairs in random order, all lists equally likely; source < target if undirected.

        Parameters
        ----------
        n_pairs
            At most as many as there are.
        directed
            Whether (u, v) and (v, u) are two pairs.
        rng
            Of the draw.
        """
        total = self.count if directed else self.count // 2
        cells = rng.choice(total, n_pairs, replace=False)
        if not directed:
            # The k-th pair u < v, row by row: every pair is allowed in an undirected graph.
            n = self.n_nodes
            start = np.arange(n) * (2 * n - np.arange(n) - 1) // 2
            source = np.searchsorted(start, cells, side="right") - 1
            return source, cells - start[source] + source + 1
        out = self.partners[0]
        start = np.concatenate([[0], np.cumsum(out)])
        source = np.searchsorted(start, cells, side="right") - 1
        target = np.empty(n_pairs, np.int64)
        for group in np.unique(self.group[source]):
            rows = np.flatnonzero(self.group[source] == group)
            readers = np.flatnonzero(self.reads[group, self.group])
            position = cells[rows] - start[source[rows]]
            if self.reads[group, group]:  # a node does not read itself
                position += position >= np.searchsorted(readers, source[rows])
            target[rows] = readers[position]
        return source, target
