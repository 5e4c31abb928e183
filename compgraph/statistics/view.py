"""What measures and nulls see of a graph: dense matrices over its nodes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from compgraph.communities.modularity import expected_weights
from compgraph.communities.pairs import Floats, Mask, allowed_pairs, is_layered, node_pairs
from compgraph.graph import ComputationalGraph

LAYERED, DIRECTED, UNDIRECTED = "layered", "directed", "undirected"


class UndefinedError(Exception):
    """A measure has no value for this graph; the message is the reason that the table shows."""


@dataclass(frozen=True)
class View:
    """A graph as matrices.

    Attributes
    ----------
    signed
        Weights summed over channels, float [n, n]: `[u, v]` of u -> v; symmetric if undirected.
    magnitude
        Sums of |w|, float [n, n].
    allowed
        Pairs that could have an edge, bool [n, n].
    level
        Level of each node, int [n].
    kind
        `layered` (directed, with an architecture), `directed` or `undirected`.
    inputs, outputs
        Numbers of the nodes at the input and the output; empty unless layered.
    """

    signed: Floats
    magnitude: Floats
    allowed: Mask
    level: npt.NDArray[np.int64]
    kind: str
    inputs: npt.NDArray[np.int64]
    outputs: npt.NDArray[np.int64]

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self.level)

    @property
    def total(self) -> float:
        """Sum of |w| over ordered pairs; an undirected pair counts twice."""
        return float(self.magnitude.sum())

    @cached_property
    def ends(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Source and target of each pair with weight, once a pair."""
        matrix = self.magnitude if self.kind != UNDIRECTED else np.triu(self.magnitude)
        source, target = np.nonzero(matrix)
        return source, target

    @cached_property
    def expected(self) -> Floats:
        """Weights on the allowed pairs with the strengths of `magnitude`."""
        return expected_weights(self.magnitude, self.allowed)

    def with_weights(self, signed: Floats, same_strengths: bool = False) -> View:
        """The same nodes with other weights on the pairs of `ends`, given in that order.

        `same_strengths` says that every node keeps its strengths, so that `expected` need not be made anew.
        """
        source, target = self.ends
        matrix = np.zeros_like(self.signed)
        matrix[source, target] = signed
        if self.kind == UNDIRECTED:
            matrix = matrix + matrix.T
        made = replace(self, signed=matrix, magnitude=np.abs(matrix))
        if same_strengths and "expected" in self.__dict__:
            made.__dict__["expected"] = self.expected
        return made


def view(graph: ComputationalGraph) -> View:
    """Matrices of a graph.

    Magnitudes of directed graphs are sums of |w| over channels; their signs, the direction of an effect, are
    those of the summed weights. In undirected graphs a pair is one edge with one sign.
    """
    pairs = node_pairs(graph)
    layered = is_layered(graph)
    none = np.zeros(0, np.int64)
    return View(
        signed=pairs.matrix(signed=True),
        magnitude=pairs.matrix(),
        allowed=allowed_pairs(graph),
        level=graph.node_columns["level"].astype(np.int64),
        kind=LAYERED if layered else DIRECTED if graph.directed else UNDIRECTED,
        inputs=graph.inputs if layered else none,
        outputs=graph.outputs if layered else none,
    )
