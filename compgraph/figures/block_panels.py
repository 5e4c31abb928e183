"""Panels of the block figure: one matrix for each layer and each weight that a block model explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize, to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from compgraph.communities.pairs import node_pairs
from compgraph.figures import matrix as grid
from compgraph.figures import style
from compgraph.graph import ComputationalGraph

BAR_INCHES = 0.09
SCALE_SHARE = 0.45
"""Length of the scale of colours, as a share of the matrix."""

UNIT = "|weight|"
SIGN_UNIT = "sign"

SIGNS = style.DIVERGING.with_extremes(bad="white")

Levels = Sequence[NDArray[Any]]


@dataclass(frozen=True)
class Panel:
    """One matrix.

    Attributes
    ----------
    name
        Of the layer; empty for the only one.
    values
        float64 [n, n] in the order of the graph; NaN where there is nothing.
    unit
        What the colours say.
    """

    name: str
    values: NDArray[Any]
    unit: str = UNIT

    @property
    def title(self) -> str:
        """Layer and weight in words."""
        return ", ".join(word for word in (self.name, self.unit if self.unit == SIGN_UNIT else "") if word)


def stacked(graphs: Mapping[str, ComputationalGraph], names: Sequence[str]) -> ComputationalGraph:
    """Several graphs over common nodes as one, each a channel of it.

    Parameters
    ----------
    graphs
        By the names of layers; nodes are matched by name. The whole is directed if all of them are.
    names
        Of all nodes, in the order of the result.
    """
    number = {name: k for k, name in enumerate(names)}
    directed = all(graph.directed for graph in graphs.values())
    sites, levels = np.full(len(names), "", object), np.zeros(len(names), np.int64)
    ends, weights, layers = [], [], []
    for layer, graph in enumerate(graphs.values()):
        place = np.array([number[name] for name in graph.node_names], np.int64)
        sites[place], levels[place] = graph.node_columns["site"], graph.node_columns["level"]
        pairs = node_pairs(graph)
        both = np.stack([place[pairs.source], place[pairs.target]])
        ends.append(both if directed else np.sort(both, axis=0))
        weights.append(pairs.weight)
        layers.append(np.full(len(pairs.weight), layer))
    columns = {"name": list(names), "site": [str(site) for site in sites], "level": levels}
    source, target = np.concatenate(ends, axis=1)
    channel, weight = np.concatenate(layers), np.concatenate(weights)
    return ComputationalGraph(columns, source, target, channel, weight, channels=tuple(graphs), directed=directed)


def explained(panel: Panel, labels: NDArray[Any]) -> float:
    """Share of the variance of a panel's values (log of sizes, or signs) that lies between pairs of blocks.

    NaN where all values are the same; nodes without a block do not count. As large as chance makes it where a
    block has few nodes, so it is for panels beside each other.
    """
    source, target = np.nonzero(np.isfinite(panel.values) & (labels >= 0)[:, None] & (labels >= 0))
    values = panel.values[source, target]
    values = values if panel.unit == SIGN_UNIT else np.log(values)
    if len(values) < 2 or np.ptp(values) <= 1e-12:
        return float("nan")
    cell = np.unique(np.stack([labels[source], labels[target]]), axis=1, return_inverse=True)[1].ravel()
    sums, counts = np.bincount(cell, values - values.mean()), np.bincount(cell)
    return float((sums**2 / counts).sum() / ((values - values.mean()) ** 2).sum())


def bars_width(n_levels: int) -> float:
    """Inches that the bars of the levels take beside a matrix."""
    return 0.06 + BAR_INCHES * n_levels


def panels_of(graph: ComputationalGraph, fit: Mapping[str, Any] | None) -> list[Panel]:
    """The matrices that a block model explains: of each layer the sizes of weights, and their signs if those count.

    Parameters
    ----------
    graph
        Whose channels are the layers, if there are several.
    fit
        Summary of the block model: `layer_names` and `weights` of its parameters are read.
    """
    told = (fit or {}).get("parameters", {})
    layers = {"": graph}
    if len(told.get("layer_names", ())) > 1:
        used = np.unique(graph.channel)
        layers = {graph.channels[k] or "direct": graph.subgraph(graph.channel == k) for k in used}
    panels = []
    for name, layer in layers.items():
        weights = layer.matrix(signed=True)
        panels.append(Panel(name, np.where(weights != 0, np.abs(weights), np.nan)))
        if isinstance(told.get("weights"), list | tuple):
            panels.append(Panel(name, np.where(weights != 0, np.sign(weights), np.nan), SIGN_UNIT))
    return panels


def draw_panel(
    figure: Figure,
    panel: Panel,
    levels: Levels,
    order: NDArray[Any],
    place: tuple[float, float, float],
    *,
    directed: bool,
) -> None:
    """The sorted matrix of a panel with the borders of the finest blocks, a bar for each level, and a scale.

    Parameters
    ----------
    levels
        Block label of every node by level, finest first.
    order
        Of the nodes.
    place
        Left, bottom and side of the matrix, inches.
    directed
        Whether rows are sources.
    """
    left, bottom, side = place
    total, height = figure.get_size_inches()
    axes = figure.add_axes((left / total, bottom / height, side / total, side / height))
    _matrix(figure, axes, panel, levels[0][order], order, (left, bottom, side, total, height), directed)
    down_word = "source" if directed else "node"
    edge = (left - bars_width(len(levels)) - 0.14) / total
    figure.text(edge, (bottom + side) / height, down_word, ha="left", va="top", rotation=90, fontsize=style.SMALL)
    for depth, labels in enumerate(levels):
        gap = 0.05 + BAR_INCHES * depth
        thick = 0.8 * BAR_INCHES
        across = figure.add_axes((left / total, (bottom + side + gap) / height, side / total, thick / height))
        down = figure.add_axes(((left - gap - thick) / total, bottom / height, thick / total, side / height))
        _bar(across, labels[order], horizontal=True)
        _bar(down, labels[order], horizontal=False)


def _matrix(
    figure: Figure,
    axes: Axes,
    panel: Panel,
    labels: NDArray[Any],
    order: NDArray[Any],
    sizes: tuple[float, float, float, float, float],
    directed: bool,
) -> None:
    left, bottom, side, total, height = sizes
    n = len(order)
    values = panel.values[np.ix_(order, order)]
    signs = panel.unit == SIGN_UNIT
    norm = Normalize(-1, 1) if signs else colour_norm(values)
    # Of many nodes a cell is a mean over a tile: of sizes over all pairs, of signs over the pairs with an edge.
    shown = grid.shrink(values if signs else np.nan_to_num(values))
    image = axes.imshow(
        shown if signs else np.where(shown > 0, shown, np.nan),
        cmap=SIGNS if signs else style.SEQUENTIAL.with_extremes(bad="white", under=style.SEQUENTIAL(0.02)),
        norm=norm,
        extent=(0, n, n, 0),
        interpolation="nearest",
        aspect="equal",
    )
    grid.borders(axes, [start for _, start, _ in grid.runs(labels.tolist())], n)
    axes.set_xticks([])
    axes.set_yticks([])
    grid.frame(axes)
    long = SCALE_SHARE * side
    bar = figure.add_axes((left / total, (bottom - 0.2) / height, long / total, 0.08 / height))
    colours = figure.colorbar(image, cax=bar, orientation="horizontal", extend="neither")
    colours.outline.set_linewidth(0.4)
    colours.ax.minorticks_off()
    if signs:
        colours.set_ticks([-1, 1], labels=["−", "+"])
    elif ticks := narrow_ticks(norm):
        colours.set_ticks(ticks, labels=[style.number(tick) for tick in ticks])
    elif isinstance(norm, LogNorm):
        colours.set_ticks(decades(norm))
    place = {"fontsize": style.SMALL, "va": "center"}
    figure.text((left + long + 0.12) / total, (bottom - 0.16) / height, panel.unit, **place)  # type: ignore[arg-type]
    across = "target" if directed else "node"
    figure.text((left + side) / total, (bottom - 0.16) / height, across, ha="right", **place)  # type: ignore[arg-type]


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


def decades(norm: LogNorm) -> list[float]:
    """Powers of ten on a logarithmic scale: matplotlib places some beyond its ends."""
    assert norm.vmin is not None and norm.vmax is not None
    powers = np.arange(np.ceil(np.log10(norm.vmin)), np.floor(np.log10(norm.vmax)) + 1)
    return [float(power) for power in 10.0**powers]


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
