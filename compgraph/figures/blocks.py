"""Blocks: the weight matrix sorted by the blocks of a stochastic block model, with its nested levels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from compgraph.figures import matrix as grid
from compgraph.figures import style
from compgraph.figures.block_panels import SIGN_UNIT, Levels, Panel, bars_width, draw_panel, explained, panels_of
from compgraph.figures.tables import described
from compgraph.graph import ComputationalGraph

MATRIX_INCHES = 3.9
MAX_LEVELS = 6
COLUMNS = 3
"""Matrices side by side."""


def sorted_nodes(graph: ComputationalGraph, levels: Levels) -> NDArray[Any]:
    """Order of the matrix: blocks of the coarsest level first, then finer ones, then order of computation.

    Blocks of one level are ordered by their nodes' mean level in the network; nodes without a block (-1) come
    last.
    """
    depth = graph.nodes["level"].to_numpy(dtype=float)
    keys = [np.arange(graph.n_nodes), depth]
    for labels in levels:
        mean = {int(block): float(depth[labels == block].mean()) for block in np.unique(labels)}
        keys += [labels, np.array([np.inf if b < 0 else mean[int(b)] for b in labels])]
    return np.asarray(np.lexsort(keys))


def checked_levels(graph: ComputationalGraph, levels: Levels) -> list[NDArray[Any]]:
    """Levels as integer arrays of the right length, finest first, without a coarsest level of one block only.

    Raises
    ------
    ValueError
        If there is no level, or one has another length than the graph has nodes.
    """
    arrays = [np.asarray(labels, dtype=int) for labels in levels]
    if not arrays:
        raise ValueError("levels is empty; give at least one array of block labels")
    for labels in arrays:
        if labels.shape != (graph.n_nodes,):
            raise ValueError(f"a level has shape {labels.shape}, the graph {graph.n_nodes} nodes")
    while len(arrays) > 1 and n_blocks(arrays[-1]) <= 1:
        arrays.pop()
    return arrays


def n_blocks(labels: NDArray[Any]) -> int:
    """Number of blocks; nodes labelled -1 belong to none."""
    return len(np.unique(labels[labels >= 0]))


@style.styled
def draw(
    graph: ComputationalGraph,
    *,
    levels: Levels,
    fit: Mapping[str, Any] | None = None,
    width: style.Width = "double",
) -> Figure:
    """Absolute weights sorted by block, with nested levels as colour bars, and where the blocks live.

    Parameters
    ----------
    graph
        Any graph; of a fit of several layers one whose channels they are.
    levels
        Block label of every node, one int array [n_nodes] per nested level, finest first; -1 for none.
    fit
        Summary of the block model (`BlockModel.summary()`), if there is one: its description lengths are
        said, and there is a matrix for each of its layers, and for signs where they are a second weight.
    width
        `double`: with the share of every block's nodes per site; `single`: the matrices alone, one below the other.
    """
    levels = checked_levels(graph, levels)
    if graph.n_nodes == 0 or graph.n_edges == 0:
        return style.message(style.new_figure(width, 1.6), "No edge, so no block structure to draw.")
    order = sorted_nodes(graph, levels)
    panels = panels_of(graph, fit)
    drawn = _one if len(panels) == 1 else _several
    figure = drawn(graph, panels, levels, order, width)
    total, height = figure.get_size_inches()
    heading = f"{style.count(n_blocks(levels[0]), 'block')} of {style.count(graph.n_nodes, 'node')}{_gain(fit)}"
    figure.text(0.1 / total, 1 - 0.14 / height, heading, va="center", fontsize=style.SMALL, color=style.MUTED)
    return figure


def _one(
    graph: ComputationalGraph, panels: list[Panel], levels: Levels, order: NDArray[Any], width: style.Width
) -> Figure:
    """One matrix, and on a double width where its blocks are."""
    shown = levels[:MAX_LEVELS]
    total = style.WIDTHS[width]
    bars = bars_width(len(shown))
    left = 0.26 + bars
    side = min(MATRIX_INCHES, total - left - 0.12) if width == "double" else total - left - 0.12
    bottom, top = (_below(graph) if width == "double" else 0.5), 0.36 + bars
    height = bottom + side + top
    figure = style.new_figure(width, height)
    draw_panel(figure, panels[0], shown, order, (left, bottom, side), directed=graph.directed)
    if width == "double":
        x = left + side + 0.25
        panel = figure.add_axes((x / total, bottom / height, (total - x - 0.12) / total, side / height))
        _homes(panel, graph, levels[0], order, total - x - 0.12)
    return figure


def _several(
    graph: ComputationalGraph, panels: list[Panel], levels: Levels, order: NDArray[Any], width: style.Width
) -> Figure:
    """A matrix for each layer and weight, all in one order, and on a double width where the blocks are, as the last."""
    shown = levels[:MAX_LEVELS]
    total = style.WIDTHS[width]
    cells = len(panels) + (width == "double")
    columns = min(COLUMNS, cells) if width == "double" else 1
    rows = -(-cells // columns)
    cell, bars = total / columns, bars_width(len(shown))
    side = cell - bars - 0.38
    tall = side + bars + 0.24 + 0.36
    last = _below(graph) if width == "double" else 0.5
    height = 0.3 + rows * tall + last - 0.36
    figure = style.new_figure(width, height)
    for k in range(cells):
        row, column = divmod(k, columns)
        left, bottom = column * cell + 0.26 + bars, height - 0.3 - (row + 1) * tall + 0.36
        if k == len(panels):
            where = figure.add_axes((left / total, bottom / height, side / total, side / height))
            _homes(where, graph, levels[0], order, side)
            continue
        draw_panel(figure, panels[k], shown, order, (left, bottom, side), directed=graph.directed)
        title = (bottom + side + bars + 0.09) / height
        figure.text(left / total, title, panels[k].title, va="center", fontsize=style.TEXT, fontweight="bold")
    return figure


def _below(graph: ComputationalGraph) -> float:
    """Inches below a matrix for the names of sites beside it, and for its scale."""
    return max(0.5, 0.2 + max(style.text_width(str(site), style.SMALL) for site in graph.nodes["site"].unique()))


def homes(graph: ComputationalGraph, labels: NDArray[Any]) -> pd.DataFrame:
    """Share of every block's nodes per site: rows are blocks, columns sites in order of computation."""
    nodes = graph.nodes
    sites = nodes.sort_values("level", kind="stable")["site"].astype(str).drop_duplicates().tolist()
    table = pd.crosstab(
        pd.Series(labels, name="block"), pd.Series(nodes["site"].astype(str).to_numpy(), name="site")
    )
    return table.reindex(columns=sites, fill_value=0).pipe(lambda t: t.div(t.sum(axis=1), axis=0))


def _homes(
    axes: Axes, graph: ComputationalGraph, labels: NDArray[Any], order: NDArray[Any], inches: float
) -> None:
    """The same rows as the matrix: for every block, the share of its nodes in each site."""
    share = homes(graph, labels)
    groups = grid.runs(labels[order].tolist())
    n, n_sites = len(labels), share.shape[1]
    edges = np.array([start for _, start, _ in groups] + [n], dtype=float)
    values = share.loc[[block for block, _, _ in groups]].to_numpy()
    axes.pcolormesh(
        np.arange(n_sites + 1),
        edges,
        values,
        cmap="Greys",
        vmin=0,
        vmax=max(1e-9, 1.5 * float(values.max())),
        edgecolors="none",
    )
    axes.hlines(
        edges[1:-1], 0, n_sites, colors=style.INK, linewidth=grid.border_width(len(groups)), alpha=0.75
    )
    axes.set_ylim(n, 0)
    axes.set_xlim(0, n_sites)
    step = int(np.ceil(n_sites * style.SMALL * 1.2 / 72 / inches))
    ticks = np.arange(0, n_sites, step)
    axes.set_xticks(ticks + 0.5, [share.columns[t] for t in ticks], rotation=90)
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.set_title("where each block's nodes are", fontweight="normal", fontsize=style.SMALL, pad=4)
    grid.frame(axes)


def _gain(fit: Mapping[str, Any] | None) -> str:
    """`; described in 91 nats fewer than one block`, where the fit says so."""
    if not fit or fit.get("description_length") is None or fit.get("description_length_one_block") is None:
        return ""
    gain = float(fit["description_length_one_block"]) - float(fit["description_length"])
    if gain == 0:
        return "; no partition describes the graph shorter than one block"
    return f"; described in {style.number(abs(gain))} nats {'fewer' if gain > 0 else 'more'} than one block"


def data(graph: ComputationalGraph, *, levels: Levels, fit: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """The nodes in the order of the matrix: node, site, and their block per level (`level0` is the
    finest).
    """
    levels = checked_levels(graph, levels)
    order = sorted_nodes(graph, levels)
    table = pd.DataFrame(
        {
            "node": graph.nodes["name"].to_numpy()[order],
            "site": graph.nodes["site"].astype(str).to_numpy()[order],
        }
    )
    for depth, labels in enumerate(levels):
        table[f"level{depth}"] = labels[order]
    return table


def caption(
    graph: ComputationalGraph, *, levels: Levels, fit: Mapping[str, Any] | None = None, subject: str = ""
) -> str:
    """What to look for, and what these blocks show.

    Parameters
    ----------
    graph, levels, fit
        As for `draw`.
    subject
        The graph in words.
    """
    levels = checked_levels(graph, levels)
    opening = f"Blocks{described(graph, subject)}."
    if graph.n_edges == 0:
        return f"{opening} The graph has no edges."
    finest = levels[0]
    counts = [n_blocks(labels) for labels in levels]
    found = style.count(counts[0], "block")
    nested = (
        f", grouped into {', '.join(str(c) for c in counts[1:])} at the coarser levels"
        if len(counts) > 1
        else ""
    )
    share = homes(graph, finest)
    pure = int((share[share.index >= 0].max(axis=1) > 0.999).sum())
    site_text = f"{pure} of {counts[0]} blocks lie inside one site" if counts[0] else "no node has a block"
    idle = int((finest < 0).sum())
    without = f" {style.count(idle, 'node')} at the end belong to no block." if idle else ""
    sure = ""
    if fit and fit.get("agreement") is not None:
        runs = "runs from different seeds agree with an adjusted Rand index of"
        sure = f"; {runs} {style.number(float(fit['agreement']))} on average"
    panels = panels_of(graph, fit)
    what = "Absolute weights of all pairs of nodes" if len(panels) == 1 else _told_panels(panels)
    homes_at = "On the right" if len(panels) == 1 else "Last"
    return (
        f"{opening} {what}, sorted by the blocks of a stochastic block model;"
        " lines are block borders, coloured bars the nested levels (innermost bar: finest), darker cells"
        f" stronger weights. {homes_at}, the share of each block's nodes per site. Look for cells that are"
        " evenly dark or light: nodes of one block have the same partners. Blocks that are just layers say"
        f" little. In this run the fit finds {found} for {style.count(graph.n_nodes, 'node')}{nested};"
        f" {site_text}{_gain(fit)}{sure}{_shown_best(panels, finest)}.{without}"
    )


def _told_panels(panels: list[Panel]) -> str:
    layers = list(dict.fromkeys(panel.name for panel in panels if panel.name))
    signs = any(panel.unit == SIGN_UNIT for panel in panels)
    of = f" of {len(layers)} layers ({', '.join(layers)}), each with colours of its own" if layers else ""
    return f"Absolute weights{' and signs (red: positive)' if signs else ''}{of}, all in one order of nodes"


def _shown_best(panels: list[Panel], labels: NDArray[Any]) -> str:
    """In which of several panels the blocks show most."""
    shares = {panel.title or panel.unit: explained(panel, labels) for panel in panels}
    known = {name: share for name, share in shares.items() if np.isfinite(share)}
    if len(panels) == 1 or not known or n_blocks(labels) < 2:
        return ""
    told = ", ".join(f"{name} {style.percent(share)}" for name, share in known.items())
    return f"; of the variance between pairs (of signs, or of log |weight|) lies between blocks: {told}"
