"""Which edges are strong, and which nodes lie on a path: the selections of `ComputationalGraph`."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Order = Literal["abs", "signed", "negative"]

Vector = npt.NDArray[np.floating[Any]]


def strength(weight: Vector, by: Order) -> Vector:
    """What edges are ordered by: |weight|, weight or -weight."""
    if by == "abs":
        magnitude: Vector = np.abs(weight)
        return magnitude
    if by == "signed":
        return weight
    if by == "negative":
        return -weight
    raise ValueError(f"by must be 'abs', 'signed' or 'negative', not {by!r}")


def strongest(values: Vector, k: int) -> npt.NDArray[np.bool_]:
    """Which are the k largest values (all, if there are fewer); of equal ones the earlier."""
    if k < 0:
        raise ValueError(f"k must be at least 0, not {k}")
    if k >= len(values):
        return np.ones(len(values), dtype=bool)
    if k == 0:
        return np.zeros(len(values), dtype=bool)
    bound = np.partition(values, len(values) - k)[len(values) - k]
    mask: npt.NDArray[np.bool_] = values > bound
    ties = np.flatnonzero(values == bound)
    mask[ties[: k - int(mask.sum())]] = True
    return mask


def sums_by_node(
    source: np.ndarray, target: np.ndarray, weight: Vector, n_nodes: int, ends: tuple[str, ...]
) -> npt.NDArray[np.float64]:
    """Sum of the weights of the edges that have a node at one of the ends (`out`: source, `in`: target)."""
    total = np.zeros(n_nodes)
    for end in ends:
        total += np.bincount(source if end == "out" else target, weights=weight, minlength=n_nodes)
    return total


def on_path(
    source: np.ndarray, target: np.ndarray, n_nodes: int, inputs: np.ndarray, outputs: np.ndarray
) -> npt.NDArray[np.bool_]:
    """Which nodes are on a directed path from one of `inputs` to one of `outputs`, bool [n_nodes]."""
    return _reachable(source, target, n_nodes, inputs) & _reachable(target, source, n_nodes, outputs)


def _reachable(source: np.ndarray, target: np.ndarray, n_nodes: int, start: np.ndarray) -> np.ndarray:
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import breadth_first_order

    # One more node, with an edge to every start, makes this a single search.
    rows = np.concatenate([source, np.full(len(start), n_nodes, dtype=source.dtype)])
    columns = np.concatenate([target, start.astype(target.dtype)])
    links = csr_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(n_nodes + 1, n_nodes + 1))
    links.data[:] = 1  # parallel edges were summed, and 256 of them would wrap to no edge
    reached = np.zeros(n_nodes + 1, dtype=bool)
    reached[breadth_first_order(links, n_nodes, return_predecessors=False)] = True
    return reached[:n_nodes]
