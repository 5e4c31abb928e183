"""What a selection rule hands back, and how large a circuit is asked to be."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Choice:
    """Edges that a rule keeps.

    Attributes
    ----------
    edges
        bool [E] in the order of the graph's edges.
    record
        What the rule has to say about them, JSON-able; goes into the circuit's attributes.
    """

    edges: Mask
    record: dict[str, Any] = field(default_factory=dict)


def edge_budget(graph: ComputationalGraph, size: int | float) -> int:
    """A size as a number of edges: an int is one, a float in (0, 1] is a share and means `int(share · E)`.

    Raises
    ------
    GraphError
        Out of range.
    """
    if isinstance(size, float | np.floating):
        if not 0 < size <= 1:
            raise GraphError(f"n_edges {size} is out of range; a share of the edges lies in (0, 1]")
        return share_of(graph.n_edges, float(size))
    if isinstance(size, bool):
        raise GraphError(f"n_edges is {size}; it must be a number of edges or a share of them")
    count = operator.index(size)
    if not 0 <= count <= graph.n_edges:
        raise GraphError(f"n_edges {count} is out of range; this graph has {graph.n_edges} edges")
    return count


def share_of(count: int, share: float) -> int:
    """`floor(share · count)`, where 0.29 · 100 is 29 although floating point makes it 28.999999999999996."""
    return math.floor(share * count + 1e-9)


def check_share(name: str, value: float) -> None:
    """Refuse what is no share (GraphError)."""
    if not 0 <= value <= 1:
        raise GraphError(f"{name} {value} is out of range; a share lies between 0 and 1")
