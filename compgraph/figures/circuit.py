"""Layered drawing of a graph: sites as rows, the input at the bottom, the logits at the top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch, Rectangle
from matplotlib.path import Path
from numpy.typing import NDArray

from compgraph.figures import style
from compgraph.figures.layout import LANE_GAP, PORT_SHARE, layered, split_rows
from compgraph.figures.sketch import Sketch

BOX_HEIGHT = 0.155
BOX_PAD = 0.055
BOX_GAP = 0.07
BOX_MAX = 1.0
LINE_HEIGHT = 0.17
LINE_MAX = 3.4
LINE_MIN = 0.45
LINE_POWER = 0.7

CHANNEL_WORDS = {"q": "query", "k": "key", "v": "value", "": "MLP or logits input"}

Colour = Literal["sign", "channel"]


def draw_sketch(
    shown: Sketch,
    *,
    colour: Colour = "sign",
    width: style.Width = "double",
    heading: str = "",
    empty: str = "",
    paint: Mapping[str, str] | None = None,
    key: Mapping[str, str] | None = None,
) -> Figure:
    """Draw a sketch: edges run upwards, as wide as their absolute weight, coloured by sign or channel.

    Parameters
    ----------
    shown
        Result of `sketch`.
    colour
        `sign` or `channel` (q, k, v).
    width
        Page columns the figure fills.
    heading
        One line above the drawing: what is shown of how much.
    empty
        The sentence to show if there is no edge.
    paint
        Name of a node -> its colour, instead of that of its kind of site; nodes that it does not name are grey.
    key
        What these colours mean: word -> colour.
    """
    if shown.edges.empty:
        return style.message(style.new_figure(width, 1.6), empty or "No edge to draw.")
    nodes, edges = shown.nodes, shown.edges
    inches = style.WIDTHS[width]
    left = 0.16 + max(style.text_width(title, style.SMALL) for title in set(nodes["title"]))
    total = inches - left - 0.12
    line = line_widths(edges["weight"].to_numpy())
    box = _box_widths(nodes, edges, line / 72)
    row = split_rows(nodes["level"].tolist(), box.tolist(), 0.72 * total, BOX_GAP)
    ends = edges["source"].to_numpy(dtype=int), edges["target"].to_numpy(dtype=int)
    placed = layered(row, box, *ends, line / 72, total=total, gap=BOX_GAP)
    n_rows = int(row.max()) + 1
    pitch = float(np.clip(8.2 / max(1, n_rows), 0.25, 0.52))
    handles = [*_marks(key or {}), *_handles(edges, colour, line)]
    lines = [text for text in (heading, *shown.omissions) if text]
    beside = (
        _legend_width(handles) + max((style.text_width(text, style.SMALL) for text in lines[:1]), default=0)
        < inches - 0.5
    )
    legend_rows = _in_rows(handles, inches - 0.2)
    bottom, top = 0.04, 0.12 + LINE_HEIGHT * (max(len(lines), 1) + (0 if beside else len(legend_rows)))
    height = bottom + top + n_rows * pitch
    figure = style.new_figure(width, height)
    axes = style.clean_axes(figure.add_axes((0.0, 0.0, 1.0, 1.0)))
    axes.set_xlim(0, inches)
    axes.set_ylim(0, height)
    y = bottom + (np.arange(n_rows) + 0.5) * pitch
    _bands(axes, nodes, row, y, pitch, left, inches)
    _edges(axes, edges, placed.routes, y, left, colour, line)
    shades = [style.site_colour(site) for site in nodes["site"]]
    if paint is not None:
        shades = [paint.get(name, style.MUTED) for name in nodes["name"]]
    _nodes(axes, nodes, left + placed.x, y[placed.row], box, shades)
    for number, text in enumerate(lines):
        at = height - 0.05 - LINE_HEIGHT * (number + 0.5)
        axes.text(0.1, at, text, va="center", ha="left", fontsize=style.SMALL, color=style.MUTED)
    if beside:
        _legend(axes, handles, (inches - 0.1, height - 0.05 - 0.5 * LINE_HEIGHT), "center right")
    else:
        for number, row_handles in enumerate(legend_rows):
            _legend(
                axes,
                row_handles,
                (0.1, height - 0.05 - LINE_HEIGHT * (len(lines) + number + 0.5)),
                "center left",
            )
    return figure


def _box_widths(nodes: pd.DataFrame, edges: pd.DataFrame, line: NDArray[Any]) -> NDArray[Any]:
    """Inches: room for the label, and for the lines that leave or enter, up to `BOX_MAX`."""
    label = np.array([style.text_width(text, style.SMALL) + 2 * BOX_PAD for text in nodes["label"]])
    lanes = [np.bincount(edges[end], line + LANE_GAP, len(nodes)) for end in ("source", "target")]
    return np.asarray(np.maximum(label, np.minimum(np.maximum(*lanes) / PORT_SHARE, BOX_MAX)))


def line_widths(weight: NDArray[Any]) -> NDArray[Any]:
    """Line widths in points: |weight| to the power 0.7; thinner if most edges are equally strong."""
    size = np.abs(weight)
    if not len(size) or size.max() == 0:
        return np.full(len(size), LINE_MIN)
    ratio = (size / size.max()) ** LINE_POWER
    return np.asarray(np.maximum(LINE_MIN, min(LINE_MAX, 1.5 / ratio.mean()) * ratio))


def _bands(
    axes: Axes,
    nodes: pd.DataFrame,
    row: NDArray[Any],
    y: NDArray[Any],
    pitch: float,
    left: float,
    right: float,
) -> None:
    """Row titles, and a shade behind every second layer."""
    for level, members in nodes.groupby("level"):
        rows = np.unique(row[members.index])
        low, high = y[rows.min()] - pitch / 2, y[rows.max()] + pitch / 2
        if int(level) % 2:
            axes.add_patch(Rectangle((0, low), right, high - low, color=style.BAND, linewidth=0, zorder=0))
        sites = list(dict.fromkeys(members["site"]))
        shade = style.site_colour(sites[0]) if len(sites) == 1 else style.INK
        axes.text(
            0.1,
            (low + high) / 2,
            str(members["title"].iloc[0]),
            va="center",
            ha="left",
            color=shade,
            fontsize=style.SMALL,
        )


def _edges(
    axes: Axes,
    edges: pd.DataFrame,
    routes: Sequence[Sequence[tuple[float, int]]],
    y: NDArray[Any],
    left: float,
    colour: Colour,
    line: NDArray[Any],
) -> None:
    order = np.argsort(edges["weight"].abs().to_numpy(), kind="stable")
    shade = edge_colours(edges, colour)
    size = edges["weight"].abs().to_numpy()
    ratio = size / size.max() if size.max() > 0 else np.ones(len(size))
    paths = [_path(routes[e], y, left) for e in order]
    collection = PathCollection(
        paths,
        facecolors="none",
        edgecolors=[to_rgba(shade[e], 0.55 + 0.4 * ratio[e]) for e in order],
        linewidths=line[order],
        capstyle="butt",
        zorder=1,
    )
    collection.set_gid("edges")
    axes.add_collection(collection, autolim=False)


def edge_colours(edges: pd.DataFrame, colour: Colour) -> list[str]:
    """Colour of each edge by the sign of its weight or by its channel."""
    if colour == "channel":
        return [style.CHANNEL_COLOURS.get(channel, style.CHANNEL_COLOURS[""]) for channel in edges["channel"]]
    return [style.SIGN_COLOURS["negative" if weight < 0 else "positive"] for weight in edges["weight"]]


def _path(route: Sequence[tuple[float, int]], y: NDArray[Any], left: float) -> Path:
    """A smooth path that leaves and enters every row vertically."""
    half = BOX_HEIGHT / 2
    up = 1.0 if route[-1][1] >= route[0][1] else -1.0
    points = [(left + x, float(y[r])) for x, r in route]
    if route[0][1] == route[-1][1]:  # inside one row: an arc above it
        (x0, y0), (x1, _) = points[0], points[-1]
        rise = y0 + half + min(0.12 + 0.08 * abs(x1 - x0), 0.3)
        return Path(
            [(x0, y0), (x0, rise), (x1, rise), (x1, y0)], [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4]
        )
    vertices = [(points[0][0], points[0][1] + up * half)]
    codes = [Path.MOVETO]
    for number in range(1, len(points)):
        x0, y0 = vertices[-1]
        x1, y1 = points[number][0], points[number][1] - up * half
        bend = 0.55 * (y1 - y0)
        vertices += [(x0, y0 + bend), (x1, y1 - bend), (x1, y1)]
        codes += [Path.CURVE4] * 3
        if number < len(points) - 1:
            vertices.append((x1, points[number][1] + up * half))
            codes.append(Path.LINETO)
    return Path(vertices, codes)


def _nodes(
    axes: Axes, nodes: pd.DataFrame, x: NDArray[Any], y: NDArray[Any], box: NDArray[Any], shades: Sequence[str]
) -> None:
    for (_, node), cx, cy, wide, shade in zip(nodes.iterrows(), x, y, box, shades, strict=True):
        several = node["members"] > 1
        axes.add_patch(
            FancyBboxPatch(
                (cx - wide / 2, cy - BOX_HEIGHT / 2),
                wide,
                BOX_HEIGHT,
                boxstyle="round,pad=0,rounding_size=0.045",
                facecolor=style.tint(shade, 0.93 if several else 0.8),
                edgecolor=shade,
                linewidth=0.7,
                linestyle=(0, (2, 1.2)) if several else "solid",
                zorder=2,
            )
        )
        label = axes.text(
            cx,
            cy - 0.004,
            str(node["label"]),
            ha="center",
            va="center_baseline",
            fontsize=style.SMALL,
            color=style.INK,
            zorder=3,
        )
        label.set_gid("node-label")


def _marks(key: Mapping[str, str]) -> list[Line2D]:
    """A box in the legend for each colour of nodes."""
    return [
        Line2D([], [], linestyle="none", marker="s", markersize=5.5, markerfacecolor=style.tint(colour, 0.8),
               markeredgecolor=colour, label=word)
        for word, colour in key.items()
    ]  # fmt: skip


def _handles(edges: pd.DataFrame, colour: Colour, line: NDArray[Any]) -> list[Line2D]:
    """What the colours mean, and two sample widths where weights differ."""
    size = edges["weight"].abs().to_numpy()
    handles: list[Line2D] = []
    if colour == "channel":
        present = [channel for channel in style.CHANNEL_COLOURS if (edges["channel"] == channel).any()]
        if present != [""]:
            handles += [
                Line2D([], [], color=style.CHANNEL_COLOURS[c], linewidth=2, label=CHANNEL_WORDS[c])
                for c in present
            ]
    elif size.max() > 0:
        for sign, here in (("positive", edges["weight"] >= 0), ("negative", edges["weight"] < 0)):
            if here.any():
                handles.append(Line2D([], [], color=style.SIGN_COLOURS[sign], linewidth=2, label=sign))
    strongest = float(size.max())
    if strongest > 0 and size.min() < 0.5 * strongest:
        for share in (1.0, 0.25):
            points = max(LINE_MIN, float(line.max()) * share**LINE_POWER)
            handles.append(
                Line2D(
                    [],
                    [],
                    color=style.MUTED,
                    linewidth=points,
                    label=f"|w| = {style.number(share * strongest)}",
                )
            )
    return handles


def _handle_width(handle: Line2D) -> float:
    return style.text_width(str(handle.get_label()), style.SMALL) + 0.3


def _legend_width(handles: Sequence[Line2D]) -> float:
    return sum(_handle_width(handle) for handle in handles)


def _in_rows(handles: Sequence[Line2D], room: float) -> list[list[Line2D]]:
    rows: list[list[Line2D]] = []
    for handle in handles:
        if rows and _legend_width(rows[-1]) + _handle_width(handle) <= room:
            rows[-1].append(handle)
        else:
            rows.append([handle])
    return rows


def _legend(
    axes: Axes,
    handles: Sequence[Line2D],
    at: tuple[float, float],
    loc: Literal["center left", "center right"],
) -> None:
    if not handles:
        return
    axes.add_artist(
        Legend(
            axes,
            handles,
            [str(handle.get_label()) for handle in handles],
            loc=loc,
            bbox_to_anchor=at,
            bbox_transform=axes.transData,
            ncols=len(handles),
            handlelength=1.4,
            columnspacing=1.1,
            handletextpad=0.5,
            borderpad=0.0,
            borderaxespad=0.0,
        )
    )
