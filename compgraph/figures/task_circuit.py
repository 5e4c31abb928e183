"""The circuit of a mixture of tasks: which nodes and paths serve which task."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from compgraph.figures import style
from compgraph.figures.circuit import draw_sketch
from compgraph.figures.effective import EDGES, circuit
from compgraph.figures.separability import data as shares_of_blocks
from compgraph.figures.sketch import sketch
from compgraph.figures.tables import edge_table, nodes_used
from compgraph.graph import ComputationalGraph

LEVEL = 0.05
"""False discovery rate up to which a node counts as more specific than chance."""
PALE = 0.72
"""How far the colour of a node that may serve its task by chance is mixed with white."""


@style.styled
def draw(
    graph: ComputationalGraph,
    shares: pd.DataFrame,
    blocks: pd.DataFrame,
    *,
    edges: int = EDGES,
    width: style.Width = "double",
) -> Figure:
    """Layered drawing of the pruned circuit, each node in the colour of the task that it serves most.

    Parameters
    ----------
    graph
        Effective graph with all its edges, of a mixture of tasks.
    shares, blocks
        Of `compgraph.evaluation.separability.Separability`, with every node a block of its own.
    edges
        How many of the strongest edges (by absolute weight) to keep before pruning.
    width
        Page columns the figure fills.
    """
    kept = circuit(graph, edges)
    served = _served(kept, shares, blocks)
    colours = style.series_colours(sorted(shares["task"].unique()))
    paint = {
        name: colours[task] if certain else style.tint(colours[task], PALE)
        for name, task, certain in zip(served["node"], served["task"], served["certain"], strict=True)
        if task in colours
    }
    heading = f"{kept.n_edges:,} of {style.count(graph.n_edges, 'edge')}"
    return draw_sketch(
        sketch(kept), width=width, heading=heading, empty=_empty(graph, edges), paint=paint, key=_key(served, colours)
    )


def _key(served: pd.DataFrame, colours: Mapping[str, str]) -> dict[str, str]:
    """The tasks that some node serves, and what pale and grey mean where they occur."""
    key = {task: colours[task] for task in sorted(set(served["task"]) & set(colours))}
    if (served["certain"] == False).any() and key:  # noqa: E712
        key["pale: not beyond chance"] = style.tint(next(iter(key.values())), PALE)
    return key


def _served(kept: ComputationalGraph, shares: pd.DataFrame, blocks: pd.DataFrame) -> pd.DataFrame:
    """One row a node of the circuit: the task it serves most, its share, and whether that is beyond chance."""
    rows = shares_of_blocks(shares, blocks)
    best = rows.sort_values(["name", "share"], ascending=[True, False], kind="stable").drop_duplicates("name")
    best = best.set_index(best["name"].astype(str))
    nodes = [str(name) for name in kept.node_names if name in set(_used(kept))]
    found = best.reindex(nodes)
    return pd.DataFrame(
        {
            "node": nodes,
            "task": found["serves"].to_numpy(dtype=object),
            "share": found["share"].to_numpy(dtype=float),
            "q": found["q"].to_numpy(dtype=float),
            "certain": (found["q"] <= LEVEL).to_numpy(),
        }
    )


def _used(kept: ComputationalGraph) -> list[str]:
    return [kept.node_names[node] for node in np.unique(np.concatenate([kept.source, kept.target]))]


def _empty(graph: ComputationalGraph, edges: int) -> str:
    return f"The {min(edges, graph.n_edges):,} strongest edges hold no path from the input to the output."


def data(
    graph: ComputationalGraph, shares: pd.DataFrame, blocks: pd.DataFrame, *, edges: int = EDGES
) -> pd.DataFrame:
    """The edges of the circuit, strongest first, with the task that each end serves most and its share there."""
    kept = circuit(graph, edges)
    served = _served(kept, shares, blocks).set_index("node")
    table = edge_table(kept)
    for end in ("source", "target"):
        found = served.reindex(table[end].astype(str))
        table[f"{end}_task"] = found["task"].to_numpy(dtype=object)
        table[f"{end}_share"] = found["share"].to_numpy(dtype=float)
        table[f"{end}_q"] = found["q"].to_numpy(dtype=float)
    return table


def caption(
    graph: ComputationalGraph,
    shares: pd.DataFrame,
    blocks: pd.DataFrame,
    *,
    edges: int = EDGES,
    subject: str = "",
) -> str:
    """What to look for, and what this circuit shows.

    Parameters
    ----------
    graph, shares, blocks, edges
        As for `draw`.
    subject
        Model, checkpoint and tasks in words.
    """
    opening = f"Circuit of a mixture of tasks{', ' + subject if subject else ''}."
    kept = circuit(graph, edges)
    if kept.n_edges == 0:
        return f"{opening} {_empty(graph, edges)}"
    served = _served(kept, shares, blocks)
    certain = served[served["certain"]]
    tasks = sorted(shares["task"].unique())
    counts = ", ".join(f"{task} {int((certain['task'] == task).sum())}" for task in tasks)
    most = certain.sort_values("share", ascending=False).head(3)
    examples = "; ".join(f"{row.node} ({row.task}, {style.percent(row.share)})" for row in most.itertuples())
    even = style.percent(1 / len(tasks))
    return (
        f"{opening} The {min(edges, graph.n_edges):,} strongest of {style.count(graph.n_edges, 'edge')}, pruned to the"
        f" {kept.n_edges:,} that lie on a path from the input (bottom) to the output (top). A node has the colour of"
        f" the task with the largest share of its attribution (even shares would be {even}), pale where shuffled tasks"
        " give as much, grey where there is no attribution. Width grows with the absolute score; corrupting a red edge"
        " raises the metric, corrupting a blue edge lowers it. Look for paths of one colour. In this run"
        f" {len(certain):,} of {nodes_used(kept):,} nodes serve a task more than chance (q \u2264 {LEVEL:g}):"
        f" {counts}.{' Most specific: ' + examples + '.' if examples else ''}{sketch(kept).note}"
    )
