"""Structural connectivity: the strongest edges that the weights alone make likely, and static circuits of heads."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from compgraph.figures import style, virtual_circuits
from compgraph.figures.circuit import draw_sketch
from compgraph.figures.sketch import sketch
from compgraph.figures.tables import busiest, described, edge_table, nodes_used, share_of_weight, strongest
from compgraph.graph import ComputationalGraph

EDGES = 60
LEVEL = 0.05
"""Only edges with adjusted p-values up to this are drawn, where there are any."""


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


def certain(graph: ComputationalGraph) -> ComputationalGraph | None:
    """The edges beyond chance; None where none is or none was tested."""
    adjusted = graph.columns.get("p_adjusted")
    if adjusted is None or not (adjusted <= LEVEL).any():
        return None
    return graph.subgraph(adjusted <= LEVEL)


def _circuits(graph: ComputationalGraph) -> bool:
    return graph.attributes.get("method") == "virtual-circuits"


def _drawn(graph: ComputationalGraph, edges: int) -> tuple[ComputationalGraph, str]:
    """The edges that are drawn, and in words what they are the strongest of."""
    whole = inner(graph)
    sure = certain(whole)
    kept = (whole if sure is None else sure).top(edges)
    if sure is None:
        return kept, style.count(whole.n_edges, "edge")
    return kept, f"{style.count(sure.n_edges, 'edge')} beyond chance (of {whole.n_edges:,})"


@style.styled
def draw(graph: ComputationalGraph, *, edges: int = EDGES, width: style.Width = "double") -> Figure:
    """Layered drawing of the strongest structural edges, or of `virtual-circuits` the scores of heads.

    Parameters
    ----------
    graph
        Structural graph (`kind="structural"`).
    edges
        How many of the strongest edges (by absolute weight) to draw.
    width
        Page columns the figure fills.
    """
    if _circuits(graph):
        return virtual_circuits.draw(graph, width=width)
    kept, of = _drawn(graph, edges)
    between = " between attention and MLPs" if inner(graph) is not graph else ""
    return draw_sketch(
        sketch(kept, merge_channels=False),
        colour="channel",
        width=width,
        heading=f"{kept.n_edges:,} strongest of {of}{between}",
        empty="This graph has no edges.",
    )


def data(graph: ComputationalGraph, *, edges: int = EDGES) -> pd.DataFrame:
    """The drawn edges, strongest first: source, target, channel, weight, if there is a null z and p; or the heads."""
    if _circuits(graph):
        return virtual_circuits.data(graph)
    kept = _drawn(graph, edges)[0]
    order = np.argsort(-np.abs(kept.weight.astype(float)), kind="stable")
    tested = {name: kept.columns[name][order] for name in ("z", "p", "p_adjusted") if name in kept.columns}
    return edge_table(kept).assign(**tested)


def caption(graph: ComputationalGraph, *, edges: int = EDGES, subject: str = "") -> str:
    """What to look for, and what this graph shows.

    Parameters
    ----------
    graph, edges
        As for `draw`.
    subject
        The model the graph belongs to, in words.
    """
    if _circuits(graph):
        return virtual_circuits.caption(graph, subject=subject)
    opening = f"Structural connectivity{described(graph, subject)}."
    if graph.n_edges == 0:
        return f"{opening} The graph has no edges."
    whole = inner(graph)
    kept, of = _drawn(graph, edges)
    left_out = graph.n_edges - whole.n_edges
    ends = f" (the {left_out:,} from the embedding and to the logits are left out)" if left_out else ""
    shown = sketch(kept, merge_channels=False)
    channelled = set(shown.edges["channel"]) & {"q", "k", "v"}
    colours = " Colours tell through which input a head reads: query, key or value." if channelled else ""
    best = strongest(kept, 1)[0]
    hub, degree = busiest(kept)
    return (
        f"{opening} Drawn are the {kept.n_edges:,} strongest of {of}{ends},"
        f" computed from the weights without any data.{_chance(whole)} Rows are sites, the input at the bottom; the"
        f" width of a line grows with its weight.{colours} Look for nodes that many strong edges enter or leave, and"
        f" for edges that skip rows. In this run the drawn edges touch {nodes_used(kept):,} of"
        f" {style.count(graph.n_nodes, 'node')} and hold {share_of_weight(kept, whole)} of their absolute"
        f" weight; the strongest is {best}; {hub} has the most, {degree:,} of them.{shown.note}"
    )


def _chance(whole: ComputationalGraph) -> str:
    """What chance means here."""
    if "p_adjusted" not in whole.columns:
        return ""
    opening = "None is beyond chance, that is" if certain(whole) is None else "Beyond chance are those"
    return (
        f" {opening} larger than when the same weights are turned at random against each other, at a false discovery"
        f" rate of {LEVEL}."
    )
