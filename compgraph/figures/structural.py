"""Structural connectivity: the strongest edges that the weights alone make likely."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from compgraph.figures import style
from compgraph.figures.circuit import draw_sketch
from compgraph.figures.sketch import sketch
from compgraph.figures.tables import busiest, described, edge_table, nodes_used, share_of_weight, strongest
from compgraph.graph import ComputationalGraph

EDGES = 60


def inner(graph: ComputationalGraph) -> ComputationalGraph:
    """Edges between the parts of a transformer that both read and write: attention and MLPs.

    Everything reads the embedding and everything is read by the logits; drawn, those edges would hide the
    rest. Other graphs, and graphs that have no other edges, are left whole.
    """
    if graph.architecture is None or graph.architecture.kind != "transformer":
        return graph
    ends = np.zeros(graph.n_nodes, dtype=bool)
    ends[np.concatenate([graph.inputs, graph.outputs])] = True
    between = ~(ends[graph.source] | ends[graph.target])
    return graph.subgraph(between) if between.any() else graph


@style.styled
def draw(graph: ComputationalGraph, *, edges: int = EDGES, width: style.Width = "double") -> Figure:
    """Layered drawing of the strongest structural edges.

    Parameters
    ----------
    graph
        Structural graph (`kind="structural"`).
    edges
        How many of the strongest edges (by absolute weight) to draw.
    width
        Page columns the figure fills.
    """
    whole = inner(graph)
    kept = whole.top(edges)
    between = " between attention and MLPs" if whole is not graph else ""
    return draw_sketch(
        sketch(kept, merge_channels=False),
        colour="channel",
        width=width,
        heading=f"{kept.n_edges:,} strongest of {style.count(whole.n_edges, 'edge')}{between}",
        empty="This graph has no edges.",
    )


def data(graph: ComputationalGraph, *, edges: int = EDGES) -> pd.DataFrame:
    """The drawn edges, strongest first: source, target, channel, weight."""
    return edge_table(inner(graph).top(edges))


def caption(graph: ComputationalGraph, *, edges: int = EDGES, subject: str = "") -> str:
    """What to look for, and what this graph shows.

    Parameters
    ----------
    graph, edges
        As for `draw`.
    subject
        The model the graph belongs to, in words.
    """
    opening = f"Structural connectivity{described(graph, subject)}."
    if graph.n_edges == 0:
        return f"{opening} The graph has no edges."
    whole = inner(graph)
    kept = whole.top(edges)
    left_out = graph.n_edges - whole.n_edges
    ends = f" (the {left_out:,} from the embedding and to the logits are left out)" if left_out else ""
    shown = sketch(kept, merge_channels=False)
    channelled = set(shown.edges["channel"]) & {"q", "k", "v"}
    colours = " Colours tell through which input a head reads: query, key or value." if channelled else ""
    best = strongest(kept, 1)[0]
    hub, degree = busiest(kept)
    return (
        f"{opening} Drawn are the {kept.n_edges:,} strongest of {style.count(whole.n_edges, 'edge')}{ends},"
        " computed from the weights without any data. Rows are sites, the input at the bottom; the width of"
        f" a line grows with its weight.{colours} Look for nodes that many strong edges enter or leave, and"
        f" for edges that skip rows. In this run the drawn edges touch {nodes_used(kept):,} of"
        f" {style.count(graph.n_nodes, 'node')} and hold {share_of_weight(kept, whole)} of their absolute"
        f" weight; the strongest is {best}; {hub} has the most, {degree:,} of them.{shown.note}"
    )
