"""Edges that a circuit does not need: those of random paths added to it (Shi et al. 2024, arXiv 2410.13032)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from compgraph.graph_select import on_path

Masks = npt.NDArray[np.bool_]

TRIES = 1000
"""Paths drawn for one that has a new edge."""


def inflated_circuits(
    graph: ComputationalGraph, circuit: Masks, n: int, seed: int = 0
) -> tuple[Masks, npt.NDArray[np.int64]]:
    """Circuits with a random path added, bool [n, edges], and a random new edge of each, int [n].

    A path is a walk from a random output back to an input; each step takes one of the edges into the node at random,
    all alike. So short paths are likelier than among all paths of a deep network, nearly all of which are long. A path
    without a new edge is drawn again.

    Raises
    ------
    GraphError
        No edge is left that lies on a path from an input to an output.
    """
    alive = on_path(graph.source, graph.target, graph.n_nodes, graph.inputs, graph.outputs)
    usable = np.flatnonzero(alive[graph.source] & alive[graph.target])
    if circuit[usable].all():
        raise GraphError("the circuit has every edge on a path from input to output; there is none to add")
    rng = np.random.default_rng([seed, 7])
    order = usable[np.argsort(graph.target[usable], kind="stable")]
    count = np.bincount(graph.target[order], minlength=graph.n_nodes)
    first = np.cumsum(count) - count
    outputs = graph.outputs[count[graph.outputs] > 0]
    masks, removed = np.tile(circuit, (n, 1)), np.zeros(n, np.int64)
    for row in range(n):
        for _ in range(TRIES):
            path = _path(graph.source, order, first, count, int(rng.choice(outputs)), rng)
            new = [edge for edge in path if not circuit[edge]]
            if new:
                masks[row, path] = True
                removed[row] = rng.choice(new)
                break
        else:
            raise GraphError(f"{TRIES} random paths had no edge that the circuit of {int(circuit.sum())} edges lacks")
    return masks, removed


def _path(
    source: npt.NDArray[np.int32],
    order: npt.NDArray[np.int64],
    first: npt.NDArray[np.int64],
    count: npt.NDArray[np.int64],
    node: int,
    rng: np.random.Generator,
) -> list[int]:
    path = []
    while count[node]:
        edge = int(order[first[node] + rng.integers(count[node])])
        path.append(edge)
        node = int(source[edge])
    return path


def without_one(masks: Masks, edges: npt.NDArray[np.integer]) -> Masks:
    """Each circuit [n, edges] without its own edge."""
    out = masks.copy()
    out[np.arange(len(out)), edges] = False
    return out
