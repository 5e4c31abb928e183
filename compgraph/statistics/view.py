"""What measures and nulls see of a graph: one weight per pair of nodes, and which pairs could have one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from compgraph.communities.pairs import Floats, Integers, is_layered, node_pairs
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from compgraph.nulls.allowed import Allowed

if TYPE_CHECKING:
    import igraph
    from scipy.sparse import csr_matrix

LAYERED, DIRECTED, UNDIRECTED = "layered", "directed", "undirected"

DENSE_NODES = 2000
"""Up to so many nodes, matrices over all pairs of nodes are made."""

T = TypeVar("T")


class UndefinedError(Exception):
    """A measure or a null has no value for this graph; the message is the reason that the table shows."""


@dataclass(frozen=True)
class View:
    """A graph as one edge per pair of nodes with weight.

    Attributes
    ----------
    source, target
        Ends of each edge, int [P], sorted; source < target if undirected.
    signed
        Weights summed over channels, float [P].
    magnitude
        Sums of |w| over channels, float [P], above 0.
    channels
        Number of channels of each edge, int [P].
    allowed
        Pairs that could have an edge.
    level
        Level of each node, int [n].
    kind
        `layered` (directed, with an architecture), `directed` or `undirected`.
    inputs, outputs
        Numbers of the nodes at the input and the output; empty unless layered.
    """

    source: Integers
    target: Integers
    signed: Floats
    magnitude: Floats
    channels: Integers
    allowed: Allowed
    level: Integers
    kind: str
    inputs: Integers
    outputs: Integers
    _made: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self.level)

    @property
    def n_edges(self) -> int:
        """Number of pairs with weight."""
        return len(self.source)

    @property
    def n_allowed(self) -> int:
        """Number of pairs that could have weight, each as often as `source` and `target` would list it."""
        return self.allowed.count // 2 if self.kind == UNDIRECTED else self.allowed.count

    @property
    def total(self) -> float:
        """Sum of |w| over ordered pairs; an undirected pair counts twice."""
        return float(self.magnitude.sum()) * (2 if self.kind == UNDIRECTED else 1)

    @cached_property
    def signs(self) -> Floats:
        """-1 or 1 for each edge; one whose channels cancel counts as positive."""
        return np.where(self.signed < 0, -1.0, 1.0)

    @cached_property
    def ordered(self) -> tuple[Integers, Integers, Floats]:
        """Source, target and |w| of every ordered pair: an undirected edge in both directions."""
        if self.kind != UNDIRECTED:
            return self.source, self.target, self.magnitude
        return (
            np.concatenate([self.source, self.target]),
            np.concatenate([self.target, self.source]),
            np.concatenate([self.magnitude, self.magnitude]),
        )

    @cached_property
    def out_strength(self) -> Floats:
        """Sum of |w| that each node sends, float [n]; in an undirected graph its strength."""
        source, _, weight = self.ordered
        return np.bincount(source, weight, minlength=self.n_nodes).astype(np.float64)

    @cached_property
    def in_strength(self) -> Floats:
        """Sum of |w| that each node receives, float [n]."""
        _, target, weight = self.ordered
        return np.bincount(target, weight, minlength=self.n_nodes).astype(np.float64)

    @property
    def strength(self) -> Floats:
        """In plus out; an undirected edge counts once."""
        return self.out_strength if self.kind == UNDIRECTED else self.out_strength + self.in_strength

    def sparse(self, values: Floats | None = None) -> csr_matrix:
        """`[u, v]` of u -> v, symmetric if undirected; |w|, or other values of the edges."""
        from scipy.sparse import csr_matrix

        if values is None:
            source, target, data = self.ordered
        else:
            source, target, _ = self.ordered
            data = np.concatenate([values, values]) if self.kind == UNDIRECTED else values
        return csr_matrix((data, (source, target)), shape=(self.n_nodes, self.n_nodes))

    def dense(self, values: Floats | None = None) -> Floats:
        """As `sparse`, float [n, n]; for graphs of up to `DENSE_NODES` nodes."""
        values = self.magnitude if values is None else values
        matrix = np.zeros((self.n_nodes, self.n_nodes))
        matrix[self.source, self.target] = values
        if self.kind == UNDIRECTED:
            matrix[self.target, self.source] = values
        return matrix

    def igraph(self) -> igraph.Graph:
        """The edges in their order, without weights."""
        import igraph

        return igraph.Graph(
            n=self.n_nodes, edges=np.stack([self.source, self.target], axis=1), directed=self.kind != UNDIRECTED
        )

    def once(self, name: str, make: Callable[[], T]) -> T:
        """Something that several measures need, made the first time."""
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    @property
    def expected(self) -> Floats:
        """Weights on the allowed pairs with the strengths of `magnitude`, float [n, n].

        Raises
        ------
        UndefinedError
            If the weights are too unequal for the scaling to converge.
        """
        return self.once("expected", lambda: _expected(self))

    def with_weights(self, signed: Floats, same_strengths: bool = False) -> View:
        """The same pairs with other weights, none of them 0.

        `same_strengths` says that every node keeps its strengths, so that `expected` need not be made anew.
        """
        kept = {"expected": self._made["expected"]} if same_strengths and "expected" in self._made else {}
        return replace(self, signed=signed, magnitude=np.abs(signed), _made=kept)

    def with_edges(self, source: Integers, target: Integers, signed: Floats) -> View:
        """The same nodes with other edges; those of one pair are added up."""
        if self.kind == UNDIRECTED:
            source, target = np.minimum(source, target), np.maximum(source, target)
        cells, inverse = np.unique(source * self.n_nodes + target, return_inverse=True)
        magnitude = np.bincount(inverse, np.abs(signed), minlength=len(cells)).astype(np.float64)
        summed = np.bincount(inverse, signed, minlength=len(cells)).astype(np.float64)
        n = max(self.n_nodes, 1)
        ends = {"source": cells // n, "target": cells % n}
        return replace(
            self, **ends, signed=summed, magnitude=magnitude, channels=np.ones(len(cells), np.int64), _made={}
        )


def _expected(seen: View) -> Floats:
    from compgraph.communities.modularity import expected_weights

    try:
        return expected_weights(seen.dense(), seen.allowed.matrix)
    except GraphError as failed:
        raise UndefinedError(str(failed)) from failed


def view(graph: ComputationalGraph) -> View:
    """What measures and nulls see of a graph.

    Magnitudes of directed graphs are sums of |w| over channels; their signs, the direction of an effect, are
    those of the summed weights. In undirected graphs a pair is one edge with one sign. Edges of weight 0 are none.

    Raises
    ------
    GraphError
        If the graph has an edge that its architecture forbids.
    """
    pairs = node_pairs(graph)
    layered = is_layered(graph)
    allowed = Allowed.of(graph)
    keep = pairs.magnitude > 0
    none = np.zeros(0, np.int64)
    return View(
        source=pairs.source[keep],
        target=pairs.target[keep],
        signed=pairs.weight[keep],
        magnitude=pairs.magnitude[keep],
        channels=pairs.edges[keep],
        allowed=allowed,
        level=graph.node_columns["level"].astype(np.int64),
        kind=LAYERED if layered else DIRECTED if graph.directed else UNDIRECTED,
        inputs=graph.inputs if layered else none,
        outputs=graph.outputs if layered else none,
    )
