"""When each node joins the circuit, and when it leaves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from compgraph.emergence.quantities import strongest
from compgraph.graph import ComputationalGraph

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("node", "site", "born", "died", "alive", "spells")


def node_births(steps: Sequence[int], graphs: Sequence[ComputationalGraph], share: float = 0.1) -> pd.DataFrame:
    """When the nodes of a sequence of graphs are in the circuit of the strongest edges.

    A node is alive at a checkpoint if it is on a path from input to output over the strongest edges; in a graph
    without direction, if it has one of them.

    Parameters
    ----------
    steps, graphs
        In order of training; all graphs name the same nodes.
    share
        Share of the edges in the circuit.

    Returns
    -------
    DataFrame
        One row a node: node, site, born (step of the first checkpoint at which it is alive, NaN if it never is), died
        (step of the checkpoint after the last at which it is; NaN if it is alive at the end), alive (checkpoints),
        spells (stretches of checkpoints at which it is alive without a break).

    Raises
    ------
    ValueError
        Different numbers of steps and graphs, or graphs over different nodes.
    """
    import pandas as pd

    if len(steps) != len(graphs) or not graphs:
        raise ValueError(f"as many steps as graphs are needed, at least one: {len(steps)} and {len(graphs)} given")
    names = graphs[0].node_names
    if any(graph.node_names != names for graph in graphs):
        raise ValueError("node_births: the graphs do not have the same nodes in the same order")
    alive = np.array([_alive(graph, share) for graph in graphs])
    begins = alive & ~np.vstack([np.zeros((1, len(names)), bool), alive[:-1]])
    rows = []
    for k, (name, site) in enumerate(zip(names, graphs[0].node_columns["site"], strict=True)):
        there = np.flatnonzero(alive[:, k])
        born = float(steps[there[0]]) if len(there) else math.nan
        died = float(steps[there[-1] + 1]) if len(there) and there[-1] + 1 < len(steps) else math.nan
        rows.append((name, str(site), born, died, len(there), int(begins[:, k].sum())))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _alive(graph: ComputationalGraph, share: float) -> list[bool]:
    circuit = strongest(graph, share)
    if graph.directed:
        kept = set(circuit.prune().node_names)
        return [name in kept for name in graph.node_names]
    touched = np.zeros(graph.n_nodes, bool)
    touched[circuit.source] = touched[circuit.target] = True
    return list(touched)
