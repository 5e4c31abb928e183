"""Blocks: the weight matrix sorted by the blocks of a stochastic block model, with its nested levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize, to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from compgraph.figures import matrix as grid
from compgraph.figures import style
from compgraph.figures.tables import described
from compgraph.graph import ComputationalGraph

MATRIX_INCHES = 3.9
BAR_INCHES = 0.09
MAX_LEVELS = 6
MAX_SITES = 40

Levels = Sequence[NDArray[Any]]


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
        Any graph.
    levels
        Block label of every node, one int array [n_nodes] per nested level, finest first; -1 for none.
    fit
        Summary of the block model (`BlockModel.summary()`), if there is one: its description lengths are
        said.
    width
        `double`: with the share of every block's nodes per site; `single`: the matrix alone.
    """
    levels = checked_levels(graph, levels)
    if graph.n_nodes == 0 or graph.n_edges == 0:
        return style.message(style.new_figure(width, 1.6), "No edge, so no block structure to draw.")
    order = sorted_nodes(graph, levels)
    shown = levels[:MAX_LEVELS]
    total = style.WIDTHS[width]
    bars = 0.06 + BAR_INCHES * len(shown)
    left = 0.26 + bars
    side = min(MATRIX_INCHES, total - left - 0.12) if width == "double" else total - left - 0.12
    bottom, top = 0.5, 0.36 + bars
    if width == "double":
        bottom = max(
            bottom, 0.2 + max(style.text_width(str(s), style.SMALL) for s in graph.nodes["site"].unique())
        )
    height = bottom + side + top
    figure = style.new_figure(width, height)
    heading = (
        f"{style.count(n_blocks(levels[0]), 'block')} of {style.count(graph.n_nodes, 'node')}{_gain(fit)}"
    )
    figure.text(0.1 / total, 1 - 0.14 / height, heading, va="center", fontsize=style.SMALL, color=style.MUTED)
    axes = figure.add_axes((left / total, bottom / height, side / total, side / height))
    _matrix(figure, axes, graph, levels[0], order, (left, bottom, side, total, height))
    for depth, labels in enumerate(shown):
        gap = 0.05 + BAR_INCHES * depth
        across = figure.add_axes(
            (left / total, (bottom + side + gap) / height, side / total, 0.8 * BAR_INCHES / height)
        )
        down = figure.add_axes(
            (
                (left - gap - 0.8 * BAR_INCHES) / total,
                bottom / height,
                0.8 * BAR_INCHES / total,
                side / height,
            )
        )
        _bar(across, labels[order], horizontal=True)
        _bar(down, labels[order], horizontal=False)
    if width == "double":
        x = left + side + 0.25
        panel = figure.add_axes((x / total, bottom / height, (total - x - 0.12) / total, side / height))
        _homes(panel, graph, levels[0], order, total - x - 0.12)
    return figure


def _matrix(
    figure: Figure,
    axes: Axes,
    graph: ComputationalGraph,
    labels: NDArray[Any],
    order: NDArray[Any],
    sizes: tuple[float, float, float, float, float],
) -> None:
    left, bottom, side, total, height = sizes
    n = graph.n_nodes
    values = np.abs(graph.matrix(signed=True))[np.ix_(order, order)]
    shown, norm = grid.shrink(values), colour_norm(values)
    image = axes.imshow(
        np.where(shown > 0, shown, np.nan),
        cmap=style.SEQUENTIAL.with_extremes(bad="white", under=style.SEQUENTIAL(0.02)),
        norm=norm,
        extent=(0, n, n, 0),
        interpolation="nearest",
        aspect="equal",
    )
    groups = grid.runs(labels[order].tolist())
    grid.borders(axes, [start for _, start, _ in groups], n)
    axes.set_xticks([])
    axes.set_yticks([])
    grid.frame(axes)
    bar = figure.add_axes((left / total, (bottom - 0.2) / height, 0.55 * side / total, 0.08 / height))
    colours = figure.colorbar(image, cax=bar, orientation="horizontal", extend="neither")
    colours.outline.set_linewidth(0.4)
    colours.ax.minorticks_off()
    ticks = narrow_ticks(norm)
    if ticks:
        colours.set_ticks(ticks, labels=[style.number(tick) for tick in ticks])
    figure.text(
        (left + 0.57 * side) / total, (bottom - 0.16) / height, "|weight|", va="center", fontsize=style.SMALL
    )
    across, down = ("target", "source") if graph.directed else ("node", "node")
    place = {"fontsize": style.SMALL, "color": style.INK}
    figure.text((left + side) / total, (bottom - 0.16) / height, across, ha="right", va="center", **place)  # type: ignore[arg-type]
    figure.text(0.12 / total, (bottom + side) / height, down, ha="left", va="top", rotation=90, **place)  # type: ignore[arg-type]


def colour_norm(values: NDArray[Any]) -> Normalize:
    """Logarithmic over at most three decades from the 5th percentile on; linear for equal weights."""
    positive = values[values > 0]
    if not len(positive):
        return Normalize(0.0, 1.0)
    low, high = float(np.quantile(positive, 0.05)), float(positive.max())
    low = max(low, high / 1000)
    return LogNorm(low, high) if high > low * 1.5 else Normalize(0.0, high)


def narrow_ticks(norm: Normalize) -> list[float]:
    """Values 1, 2 and 5 times a power of ten for a logarithmic scale that spans few of them; else none."""
    if not isinstance(norm, LogNorm) or norm.vmin is None or norm.vmax is None or norm.vmax / norm.vmin > 50:
        return []
    powers = 10.0 ** np.arange(np.floor(np.log10(norm.vmin)), np.ceil(np.log10(norm.vmax)) + 1)
    ticks = [float(digit * power) for power in powers for digit in (1, 2, 5)]
    return [tick for tick in ticks if norm.vmin <= tick <= norm.vmax]


def _bar(axes: Axes, labels: NDArray[Any], *, horizontal: bool) -> None:
    """One nested level as alternating colours along the matrix."""
    n, groups = len(labels), grid.runs(labels.tolist())
    palette = [to_rgb(style.tint(colour, 0.25)) for colour in style.PALETTE[:-1]]
    colours = np.ones((n, 3))
    for position, (label, start, stop) in enumerate(groups):
        if label != -1:
            colours[start:stop] = palette[position % len(palette)]
    image, extent = (colours[None], (0, n, 0, 1)) if horizontal else (colours[:, None], (0, 1, n, 0))
    axes.imshow(image, extent=extent, aspect="auto", interpolation="nearest")
    cuts = [start for _, start, _ in groups[1:]] if len(groups) <= 40 else []
    for cut in cuts:
        (axes.axvline if horizontal else axes.axhline)(cut, color="white", linewidth=0.8)
    style.clean_axes(axes)
    axes.set_gid("level-bar")


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
    return (
        f"{opening} Absolute weights of all pairs of nodes, sorted by the blocks of a stochastic block model;"
        " lines are block borders, coloured bars the nested levels (innermost bar: finest), darker cells"
        " stronger weights. On the right, the share of each block's nodes per site. Look for cells that are"
        " evenly dark or light: nodes of one block have the same partners. Blocks that are just layers say"
        f" little. In this run the fit finds {found} for {style.count(graph.n_nodes, 'node')}{nested};"
        f" {site_text}{_gain(fit)}{sure}.{without}"
    )
