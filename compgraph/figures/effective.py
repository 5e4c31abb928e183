"""Effective connectivity: the circuit that the strongest causal edges form."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from compgraph.figures import style
from compgraph.figures.circuit import Colour, draw_sketch
from compgraph.figures.sketch import sketch
from compgraph.figures.tables import described, edge_table, nodes_used, share_of_weight, strongest
from compgraph.graph import ComputationalGraph

EDGES = 100


def circuit(graph: ComputationalGraph, edges: int = EDGES) -> ComputationalGraph:
    """The strongest edges that lie on a path from the input to the output."""
    return graph.top(edges).prune()


@style.styled
def draw(
    graph: ComputationalGraph, *, edges: int = EDGES, colour: Colour = "sign", width: style.Width = "double"
) -> Figure:
    """Layered drawing of the pruned circuit of the strongest edges.

    Parameters
    ----------
    graph
        Effective graph with all its edges (`kind="effective"`).
    edges
        How many of the strongest edges (by absolute weight) to keep before pruning.
    colour
        `sign`: channels added up, positive red and negative blue; `channel`: one line per channel.
    width
        Page columns the figure fills.
    """
    kept = circuit(graph, edges)
    shown = sketch(kept, merge_channels=colour == "sign")
    edges_shown = f"{kept.n_edges:,} of {style.count(graph.n_edges, 'edge')}"
    nodes_shown = f"{nodes_used(kept):,} of {style.count(graph.n_nodes, 'node')}"
    return draw_sketch(
        shown,
        colour=colour,
        width=width,
        heading=f"{edges_shown}, {nodes_shown}",
        empty=_empty(graph, edges),
    )


def _empty(graph: ComputationalGraph, edges: int) -> str:
    return f"The {min(edges, graph.n_edges):,} strongest edges hold no path from the input to the output."


def data(graph: ComputationalGraph, *, edges: int = EDGES) -> pd.DataFrame:
    """The edges of the circuit, strongest first: source, target, channel, weight."""
    return edge_table(circuit(graph, edges))


def caption(graph: ComputationalGraph, *, edges: int = EDGES, subject: str = "") -> str:
    """What to look for, and what this graph shows.

    Parameters
    ----------
    graph, edges
        As for `draw`.
    subject
        The model, checkpoint and task the graph belongs to, in words.
    """
    opening = f"Effective connectivity{described(graph, subject)}."
    kept = circuit(graph, edges)
    if kept.n_edges == 0:
        return f"{opening} {_empty(graph, edges)}"
    weight = np.asarray(kept.weight, dtype=float)
    size = np.abs(weight)
    raising = size[weight > 0].sum() / size.sum() if size.sum() > 0 else 0.0
    final = np.asarray(kept.nodes["level"])[kept.target] == np.asarray(kept.nodes["level"]).max()
    direct = size[final].sum() / size.sum() if size.sum() > 0 else 0.0
    best = strongest(kept, min(3, kept.n_edges))
    shown = sketch(kept)
    merged = "; query, key and value edges of one pair of nodes are added up" if "q" in graph.channels else ""
    return (
        f"{opening} The {min(edges, graph.n_edges):,} strongest of {style.count(graph.n_edges, 'edge')},"
        f" pruned to the {kept.n_edges:,} that lie on a path from the input (bottom) to the output (top);"
        " rows are sites. Width grows with the absolute score; corrupting a red edge raises the metric,"
        f" corrupting a blue edge lowers it{merged}. Look for the few nodes through which most paths run. In"
        f" this run the circuit uses {nodes_used(kept):,} of {style.count(graph.n_nodes, 'node')} and holds"
        f" {share_of_weight(kept, graph)} of the total absolute score, {style.percent(raising)} of it"
        f" positive; {style.percent(direct)} of its score enters the last row directly. Strongest:"
        f" {'; '.join(best)}.{shown.note}"
    )
