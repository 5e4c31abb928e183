"""Structures: generated graphs sorted by the blocks of a block model and by communities, and candidate models."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from compgraph.figures import matrix as grid
from compgraph.figures import style

MATRIX_INCHES = 1.45
ROW_INCHES = 1.95
TOP_INCHES = 0.32
BOTTOM_INCHES = 0.28
LEFT_INCHES = 0.3


@style.styled
def draw(
    graphs: pd.DataFrame,
    nodes: pd.DataFrame,
    edges: pd.DataFrame,
    models: pd.DataFrame,
    *,
    width: style.Width = "double",
) -> Figure:
    """One row a graph: its matrix by communities, by blocks, and what each candidate model costs.

    Parameters
    ----------
    graphs, nodes, edges, models
        Of `compgraph.communities.blocks.recovered.find_structures`.
    width
        `double`, or `single` without the candidates.
    """
    total = style.WIDTHS[width]
    height = TOP_INCHES + ROW_INCHES * len(graphs) + BOTTOM_INCHES
    figure = style.new_figure(width, height)
    gap = 0.25
    for row, graph in enumerate(graphs.itertuples(index=False)):
        bottom = height - TOP_INCHES - ROW_INCHES * row - (ROW_INCHES - 0.3)
        of = nodes[nodes["graph"] == graph.graph]
        dense = _matrix(edges[edges["graph"] == graph.graph], len(of), bool(graph.directed))
        panels = (("community", _told_communities(graph)), ("block", _told_blocks(graph)))
        for column, (labels, told) in enumerate(panels):
            left = LEFT_INCHES + column * (MATRIX_INCHES + gap)
            place = (left / total, bottom / height, MATRIX_INCHES / total, MATRIX_INCHES / height)
            axes = figure.add_axes(place)
            _sorted(axes, dense, of[labels].to_numpy())
            axes.set_title(told, fontweight="normal", fontsize=style.SMALL, pad=3)
        axes.set_gid(str(graph.graph))
        figure.text(
            0.1 / total, (bottom + MATRIX_INCHES / 2) / height, _name(graph), rotation=90, ha="center", va="center"
        )
        if width == "double":
            left = LEFT_INCHES + 2 * (MATRIX_INCHES + gap) + 0.85
            inside = figure.add_axes(
                (left / total, bottom / height, (total - left - 0.15) / total, MATRIX_INCHES / height)
            )
            _candidates(inside, models[models["graph"] == graph.graph], last=row == len(graphs) - 1)
    for column, head in enumerate(("sorted by communities", "sorted by blocks")):
        centre = LEFT_INCHES + column * (MATRIX_INCHES + gap) + MATRIX_INCHES / 2
        figure.text(centre / total, 1 - 0.12 / height, head, ha="center", va="center", fontweight="bold")
    if width == "double":
        centre = (LEFT_INCHES + 2 * (MATRIX_INCHES + gap) + 0.85 + total - 0.15) / 2
        head = "description length of each model"
        figure.text(centre / total, 1 - 0.12 / height, head, ha="center", va="center", fontweight="bold")
    return figure


def _matrix(edges: pd.DataFrame, n: int, directed: bool) -> NDArray[np.float64]:
    dense = np.zeros((n, n))
    dense[edges["source"], edges["target"]] = 1
    return dense if directed else np.maximum(dense, dense.T)


def _sorted(axes: Axes, dense: NDArray[np.float64], labels: NDArray[np.int64]) -> None:
    order = np.argsort(labels, kind="stable")
    n = len(labels)
    ink = np.where(dense[np.ix_(order, order)] > 0, 1.0, np.nan)
    axes.imshow(ink, cmap=style.SEQUENTIAL, vmin=0, vmax=1.2, extent=(0, n, n, 0), interpolation="nearest")
    grid.borders(axes, [start for _, start, _ in grid.runs(labels[order].tolist())], n)
    axes.set_xticks([])
    axes.set_yticks([])
    grid.frame(axes)


def _candidates(axes: Axes, models: pd.DataFrame, last: bool) -> None:
    rows = np.arange(len(models))
    for row, model in zip(rows, models.itertuples(index=False), strict=True):
        if np.isfinite(model.above):
            axes.plot(model.above, row, "o", markersize=4, color=style.PALETTE[0] if model.kept else style.MUTED)
        else:
            axes.text(0.03, row, str(model.reason), transform=axes.get_yaxis_transform(), va="center",
                      fontsize=style.SMALL, color=style.MUTED)  # fmt: skip
    furthest = float(np.nanmax([1.0, *models["above"]]))
    axes.set_xlim(-0.06 * furthest, 1.08 * furthest)
    axes.axvline(0, color=style.FAINT, linewidth=0.8, zorder=0)
    axes.set_yticks(rows, models["model"])
    axes.set_ylim(len(models) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    if last:
        axes.set_xlabel("nats longer than the shortest")


def _name(graph: object) -> str:
    return f"{graph.graph}, directed" if graph.directed else str(graph.graph)  # type: ignore[attr-defined]


def _told_communities(graph: object) -> str:
    found = style.count(graph.n_communities, "community", "communities")  # type: ignore[attr-defined]
    return found if graph.n_beyond_chance else f"{found} by chance"  # type: ignore[attr-defined]


def _told_blocks(graph: object) -> str:
    if graph.n_blocks == 1:  # type: ignore[attr-defined]
        return "one block"
    return f"{style.count(graph.n_blocks, 'block')}: {graph.pattern}"  # type: ignore[attr-defined]


def data(graphs: pd.DataFrame, nodes: pd.DataFrame, edges: pd.DataFrame, models: pd.DataFrame) -> pd.DataFrame:
    """Every candidate of every graph, beside what was found in the graph: the columns of `graphs` and `models`."""
    return graphs.merge(models, on="graph", how="left")


def caption(
    graphs: pd.DataFrame, nodes: pd.DataFrame, edges: pd.DataFrame, models: pd.DataFrame, *, subject: str = ""
) -> str:
    """What to look for, and what was found. `subject` is not said: the graphs are of no model."""
    rows = graphs.to_dict("records")
    found = [
        f"{one['graph']}: {style.count(one['n_blocks'], 'block')}"
        + (f", {one['pattern']}" if one["n_blocks"] > 1 else "")
        + (f", adjusted Rand index {one['blocks_ari']:.2f} against {one['communities_ari']:.2f} of communities"
           if one["n_groups"] > 1 else "")
        for one in rows
    ]  # fmt: skip
    return (
        "Generated graphs of known structure, and one of none. Dots of the matrices are edges, lines the borders of"
        " groups: of communities (Leiden, modularity) on the left, of the block model in the middle. On the right, how"
        " many nats longer each kind of block model describes the graph than the shortest does (coloured); models that"
        " do not serve a graph say why. Communities by chance have a modularity that null graphs reach"
        " too. Look for cells that are evenly dark or light, off the diagonal too: a core"
        " with its periphery and a row of groups are no communities, and blocks all the same. In this run "
        + "; ".join(found)
        + "."
    )
