"""Reproducibility: how far circuits from other seeds and other wordings agree, and keep the same behaviour."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from compgraph.figures import style

MEASURES = {"jaccard": "Jaccard index", "rbo": "rank-biased overlap"}
NEEDED = ("source", "fraction", "n_edges", *(f"{m}{end}" for m in MEASURES for end in ("", "_min", "_max", "_null")))
AREA_COLUMNS = ("source", "graph", "data", "metric", "cpr")
DASHES: tuple[Any, ...] = ("solid", (0, (4, 1.6)), (0, (1, 1.5)))
NULLS = {
    "layers": "random circuits with as many edges between every two sites",
    "size": "random circuits of the same size",
}


def data(circuits: pd.DataFrame, areas: pd.DataFrame) -> pd.DataFrame:
    """The plotted rows: agreement by source and size, then CPR by source, data and graph.

    Parameters
    ----------
    circuits, areas
        Of `compgraph.evaluation.reproducibility`.
    """
    for table, needed in ((circuits, NEEDED), (areas, AREA_COLUMNS)):
        if len(table) and (missing := [name for name in needed if name not in table]):
            raise ValueError(f"the table of reproducibility lacks the columns {', '.join(missing)}")
    if circuits.empty:
        return circuits
    first = circuits.sort_values(["source", "fraction"], kind="stable").assign(shows="agreement")
    second = _areas(areas).sort_values(["source", "data", "graph"], kind="stable").assign(shows="cpr")
    return pd.concat([first, second], ignore_index=True)


def _areas(areas: pd.DataFrame) -> pd.DataFrame:
    """Areas of the first metric that are defined."""
    return areas[(areas["metric"] == areas["metric"].iloc[0]) & areas["cpr"].notna()]


@style.styled
def draw(circuits: pd.DataFrame, areas: pd.DataFrame, *, width: style.Width = "double") -> Figure:
    """Agreement against size with its null, and CPR of every graph on every set of data.

    Parameters
    ----------
    circuits, areas
        See `data`.
    width
        Page columns the figure fills.
    """
    data(circuits, areas)
    if circuits.empty:
        return style.message(style.new_figure(width, 1.6), "No size is as large as one edge.")
    sources = list(dict.fromkeys(circuits["source"]))
    colours = style.series_colours(sources)
    total, wide = style.WIDTHS[width], width == "double"
    columns, panel = (3, 2.25) if wide else (1, 2.05)
    rows = -(-3 // columns)
    columns_of_legend = len(sources) + 1 if wide else 1
    legend = 0.06 + 0.16 * -(-(len(sources) + 1) // columns_of_legend)
    height = rows * panel + legend
    figure = style.new_figure(total, height)
    cell = total / columns
    places = [
        figure.add_axes(
            (
                (k % columns * cell + 0.52) / total,
                (height - legend - (k // columns + 1) * panel + 0.45) / height,
                (cell - 0.64) / total,
                (panel - 0.7) / height,
            )
        )
        for k in range(3)
    ]
    for axes, (name, label) in zip(places, MEASURES.items(), strict=False):
        _agreement(axes, circuits, name, label, colours)
    _cpr(places[2], areas, colours)
    handles: list[Any] = [Line2D([], [], color=colours[one], marker="o", markersize=2.8, label=one) for one in sources]
    handles.append(Patch(color=style.MUTED, alpha=0.28, linewidth=0, label="random circuits"))
    corner = (0.4 / total, 1 - 0.03 / height)
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=corner, ncols=columns_of_legend, borderpad=0)
    return figure


def _agreement(axes: Axes, table: pd.DataFrame, name: str, label: str, colours: dict[str, str]) -> None:
    for (source, part), dash in zip(table.groupby("source", sort=False), DASHES, strict=False):
        part, colour = part.sort_values("fraction", kind="stable"), colours[str(source)]
        size = part["fraction"].to_numpy(float)
        axes.plot(size, part[name], color=colour, marker="o", markersize=2.8, zorder=3)
        axes.fill_between(size, part[f"{name}_min"], part[f"{name}_max"], color=colour, alpha=0.16, linewidth=0)
        if part[f"{name}_null"].notna().any():
            axes.plot(size, part[f"{name}_null"], color=style.MUTED, linewidth=0.9, linestyle=dash, zorder=2)
            ends = (part[f"{name}_null_{end}"].to_numpy(float) for end in ("low", "high"))
            axes.fill_between(size, *ends, color=style.MUTED, alpha=0.28, linewidth=0, zorder=1)
    axes.set_xscale("log")
    axes.set_xlim(float(table["fraction"].min()) / 1.25, 1.25)
    axes.set_ylim(0, 1.03)
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %")
    axes.set_xlabel("share of edges in the circuit")
    axes.set_title(label)
    axes.set_ylabel("agreement", labelpad=2)


def _cpr(axes: Axes, areas: pd.DataFrame, colours: dict[str, str]) -> None:
    """A column for each set of data, a dot for each graph."""
    known = _areas(areas)
    axes.set_title("CPR on each data")
    if known.empty:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "undefined", transform=axes.transAxes, ha="center", color=style.MUTED)
        return
    for column, ((source, _), part) in enumerate(known.groupby(["source", "data"], sort=False)):
        shifts = np.linspace(-0.2, 0.2, len(part)) if len(part) > 1 else np.zeros(1)
        axes.plot(column + shifts, part["cpr"], "o", color=colours[str(source)], markersize=3.2, zorder=3)
        axes.hlines(part["cpr"].mean(), column - 0.32, column + 0.32, color=colours[str(source)], linewidth=0.8)
    axes.set_xlim(-0.6, column + 0.6)
    axes.set_xticks(range(column + 1), [str(k + 1) for k in range(column + 1)])
    axes.set_xlabel("set of data")
    low, high = float(known["cpr"].min()), float(known["cpr"].max())
    axes.set_ylim(min(0.0, low - 0.05), max(1.05, high + 0.05))


def caption(circuits: pd.DataFrame, areas: pd.DataFrame, *, subject: str = "", at: float = 0.1) -> str:
    """What to look for, and what this run shows.

    Parameters
    ----------
    circuits, areas, subject
        As elsewhere.
    at
        The share of edges whose agreement is stated; the nearest that there is.
    """
    opening = f"Reproducibility{' of ' + subject if subject else ''}."
    if circuits.empty:
        return f"{opening} No size is as large as one edge."
    facts = []
    for source, part in circuits.groupby("source", sort=False):
        row = part.iloc[(part["fraction"] - at).abs().argmin()]
        size = style.count(int(row["n_edges"]), "edge")
        fact = f"over {source} the Jaccard index with {size} is {row['jaccard']:.2f}"
        if np.isfinite(row["jaccard_null"]):
            fact += f", of random circuits {row['jaccard_null']:.2f} (q = {style.number(float(row['jaccard_q']))})"
        facts.append(fact)
    null = NULLS[circuits["among"].iloc[0] if "among" in circuits else "size"]
    known = _areas(areas)
    columns = known.drop_duplicates(["source", "data"])
    names = ", ".join(f"{k + 1}: {d} ({s})" for k, (s, d) in enumerate(zip(columns.source, columns.data, strict=True)))
    cpr = f" Dots are graphs, lines their mean; data {names}." if len(known) else ""
    return (
        f"{opening} The graph is compared with graphs of the same nodes that were made from another seed or another"
        " wording of the task: how far circuits of the same size agree, on average over pairs of graphs, shades the"
        f" least and the most; grey, the same for {null}. Look for the distance from it, and for a small spread of"
        f" CPR.{cpr} Here {'; '.join(facts)}."
    )
