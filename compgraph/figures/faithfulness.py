"""Faithfulness: how much of the behaviour is left when only the strongest edges are kept."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from pandas.api.types import is_numeric_dtype

from compgraph.figures import style

HOW = ("ablation", "baseline", "norms", "runs")
NAMED_BY = ("model", "checkpoint", "dataset", "task", "graph", "method", "partition", *HOW)
DASHES: dict[str, object] = {"edge": "solid", "node": (0, (4, 1.6))}
MARKERS: dict[str, str] = {"counterfactual": "o", "zero": "s", "mean": "D"}
Y_LIMITS = (-0.35, 1.45)
NEEDED = ("fraction", "n_edges", "metric", "faithfulness")
Axis = Literal["fraction", "n_edges", "n_nodes", "mean_degree"]
AXES: dict[str, str] = {
    "fraction": "share of edges kept",
    "n_edges": "edges kept",
    "n_nodes": "nodes of the circuit",
    "mean_degree": "edges per node of the circuit",
}
"""Measures of size, in words."""
MOST_DECADES = 3
"""Of an axis that has ticks at 1, 2 and 5; longer ones at 1 alone."""


def series_columns(table: pd.DataFrame) -> list[str]:
    """The naming columns that differ between the lines of one panel.

    Numbers name no curve: the library's tables have a column `model` with the whole model's metric.
    """
    return [
        name
        for name in NAMED_BY
        if name in table and not is_numeric_dtype(table[name]) and table[name].nunique(dropna=False) > 1
    ]


DEGREE = "mean_degree"
"""Panel beside those of the metrics."""
BAND = {"null_low", "null_high", "p", "q"}
"""Columns of the null band."""
ALPHA = 0.05
"""False discovery rate at which a circuit is called better than chance."""


def checked(table: pd.DataFrame, axis: str = "fraction") -> pd.DataFrame:
    missing = [name for name in dict.fromkeys((*NEEDED, axis)) if name not in table]
    if missing:
        raise ValueError(f"the faithfulness table lacks the columns {', '.join(missing)}")
    return table[np.isfinite(table["faithfulness"].astype(float))].reset_index(drop=True)


@style.styled
def draw(table: pd.DataFrame, *, axis: Axis = "fraction", width: style.Width = "double") -> Figure:
    """Faithfulness against the size of the circuit, one panel per metric; against nodes, the mean degree too.

    Parameters
    ----------
    table
        One row per curve, size and metric: fraction (0 to 1), n_edges, metric, faithfulness, optionally low
        and high (interval), and any of the columns in `NAMED_BY`, which name the curves.
    axis
        What is across: the share of edges kept, the nodes that are left, or the edges per node.
    width
        Page columns the figure fills.
    """
    table = checked(table, axis)
    if table.empty:
        return style.message(style.new_figure(width, 1.6), "No evaluated circuit to draw.")
    table = table.assign(curve=label_of(table, series_columns(table)))
    metrics = list(dict.fromkeys(table["metric"]))
    lines = line_styles(table)
    # Four panels are two rows of two: a row of three would leave the fourth alone.
    panels = [*metrics, *([DEGREE] if shows_degree(table, axis) else [])]
    columns = min(len(panels), (2 if len(panels) == 4 else 3) if width == "double" else 1)
    rows = -(-len(panels) // columns)
    total = min(style.WIDTHS[width], 4.8) if columns == 1 else style.WIDTHS[width]
    panel = 2.35 if width == "double" else 2.1
    legend = 0.14 * legend_rows(lines, total) + 0.08 if len(lines) > 1 else 0.05
    height = rows * panel + legend
    figure = style.new_figure(total, height)
    cell = total / columns
    for position, metric in enumerate(panels):
        row, column = divmod(position, columns)
        x = (column * cell + 0.56) / total
        y = (height - legend - (row + 1) * panel + 0.45) / height
        axes = figure.add_axes((x, y, (cell - 0.68) / total, (panel - 0.66) / height))
        if metric == DEGREE:
            _degrees(axes, table[table["metric"] == metrics[0]], lines)
        else:
            draw_panel(axes, table[table["metric"] == metric], lines, axis, first=column == 0)
        axes.set_title(str(metric).replace("_", " "))
    if len(lines) > 1:
        draw_legend(figure, lines, total)
    return figure


def line_styles(table: pd.DataFrame) -> dict[str, dict[str, object]]:
    """Curve name -> how to draw it: dash by ablation, marker by baseline, colour by all else."""
    names = series_columns(table)
    coloured = [name for name in names if name not in ("ablation", "baseline")]
    labels = label_of(table, coloured)
    colours = style.series_colours(labels.unique())
    out: dict[str, dict[str, object]] = {}
    full = label_of(table, names)
    for label in dict.fromkeys(full):
        row = table[full == label].iloc[0]
        ablation = str(row["ablation"]) if "ablation" in table else "edge"
        out[label] = {
            "color": colours[labels[full == label].iloc[0]],
            "linestyle": DASHES.get(ablation, "solid"),
            "marker": MARKERS.get(str(row["baseline"]), "v") if "baseline" in table else "o",
            "markersize": 2.8,
        }
    return out


def label_of(table: pd.DataFrame, columns: list[str]) -> pd.Series:
    """Name of the curve that each row belongs to."""
    if not columns:
        return pd.Series("", index=table.index)
    words = [table[c].astype(str) + (f" {c}" if c in ("ablation", "norms") else "") for c in columns]
    text = words[0]
    for word in words[1:]:
        text = text + ", " + word
    return text


def draw_panel(axes: Axes, table: pd.DataFrame, lines: dict[str, dict[str, object]], axis: str, *, first: bool) -> None:
    for level, word, side, drop in (
        (1.0, "whole model", "left", 2),
        (0.0, "everything ablated", "right", -2),
    ):
        axes.axhline(level, color=style.MUTED, linewidth=0.7, linestyle=(0, (1, 1.5)), zorder=1)
        axes.annotate(
            word,
            (0.02 if side == "left" else 1.0, level),
            xycoords=("axes fraction", "data"),
            xytext=(0, drop),
            textcoords="offset points",
            ha=side,
            va="bottom" if drop > 0 else "top",
            fontsize=style.SMALL - 0.5,
            color=style.MUTED,
        )
    smallest = float(table.loc[table[axis] > 0, axis].min()) if (table[axis] > 0).any() else 0.5
    for label, how in lines.items():
        curve = table[table["curve"] == label].sort_values("fraction", kind="stable")
        if curve.empty:
            continue
        # An empty circuit has no place on a logarithmic axis: it is drawn one step left of the smallest size.
        x = curve[axis].to_numpy(dtype=float).copy()
        x[x <= 0] = smallest / 2
        y = curve["faithfulness"].to_numpy(dtype=float)
        axes.plot(x, np.clip(y, *Y_LIMITS), zorder=3, **how)  # type: ignore[arg-type]
        if set(curve.columns) >= BAND:
            low, high = (np.clip(curve[side].to_numpy(dtype=float), *Y_LIMITS) for side in ("null_low", "null_high"))
            axes.fill_between(x, low, high, color=style.MUTED, alpha=0.28, linewidth=0, zorder=1)
        if {"low", "high"} <= set(curve.columns):
            low, high = (np.clip(curve[side].to_numpy(dtype=float), *Y_LIMITS) for side in ("low", "high"))
            axes.fill_between(x, low, high, color=how["color"], alpha=0.16, linewidth=0, zorder=2)
        for beyond, marker, edge in (
            (y > Y_LIMITS[1], "^", Y_LIMITS[1]),
            (y < Y_LIMITS[0], "v", Y_LIMITS[0]),
        ):
            if beyond.any():
                axes.plot(
                    x[beyond],
                    np.full(beyond.sum(), edge),
                    marker,
                    color=how["color"],
                    markersize=4,
                    clip_on=False,
                    zorder=4,
                )
    _axes(axes, table, smallest, axis, first=first)


def shows_degree(table: pd.DataFrame, axis: str) -> bool:
    """Whether there is a panel of the mean degree."""
    return axis == "n_nodes" and "mean_degree" in table


def _degrees(axes: Axes, table: pd.DataFrame, lines: dict[str, dict[str, object]]) -> None:
    """How many edges a node has in circuits of so many nodes."""
    there = table[table["n_nodes"] > 0]
    for label, how in lines.items():
        curve = there[there["curve"] == label].sort_values("fraction", kind="stable")
        axes.plot(curve["n_nodes"].to_numpy(dtype=float), curve["mean_degree"].to_numpy(dtype=float), **how)  # type: ignore[arg-type]
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(_plain))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.set_ylim(bottom=0)
    axes.set_xlabel(AXES["n_nodes"])
    axes.set_ylabel("edges per node", labelpad=2)


def _axes(axes: Axes, table: pd.DataFrame, smallest: float, axis: str, *, first: bool) -> None:
    axes.set_xscale("log")
    low = smallest / (2.0 if (table[axis] <= 0).any() else 1.0)
    axes.set_xlim(low / 1.25, 1.25 * (1.0 if axis == "fraction" else max(float(table[axis].max()), smallest)))
    lowest = float(np.nanmin(table.get("low", table["faithfulness"]).astype(float)))
    highest = float(np.nanmax(table.get("high", table["faithfulness"]).astype(float)))
    axes.set_ylim(max(Y_LIMITS[0], min(-0.15, lowest - 0.05)), min(Y_LIMITS[1], max(1.12, highest + 0.05)))
    axes.xaxis.set_major_formatter(FuncFormatter(_share if axis == "fraction" else _plain))
    axes.xaxis.set_minor_formatter(NullFormatter())
    if axis != "fraction":
        decades = np.log10(axes.get_xlim()[1] / axes.get_xlim()[0])
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < MOST_DECADES else (1.0,)))
    axes.set_xlabel(AXES[axis] + (_of_how_many(table) if axis == "fraction" else ""))
    if first:
        axes.set_ylabel("faithfulness", labelpad=2)


def _of_how_many(table: pd.DataFrame) -> str:
    """` (of 3,580)` where all curves count the same edges."""
    whole = table.loc[table["fraction"] == 1.0, "n_edges"].unique()
    return f" (of {int(whole[0]):,})" if len(whole) == 1 else ""


def _share(value: float, _: object = None) -> str:
    percent = 100 * value
    return f"{percent:.3g} %"


def _plain(value: float, _: object = None) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def legend_rows(lines: dict[str, dict[str, object]], inches: float) -> int:
    return -(-len(lines) // _legend_columns(lines, inches))


def _legend_columns(lines: dict[str, dict[str, object]], inches: float) -> int:
    widest = max(style.text_width(label, style.SMALL) for label in lines) + 0.68
    return max(1, min(len(lines), int((inches - 0.3) / widest)))


def draw_legend(figure: Figure, lines: dict[str, dict[str, object]], inches: float) -> None:
    handles = [Line2D([], [], label=label, **how) for label, how in lines.items()]  # type: ignore[arg-type]
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0.35 / inches, 0.99),
        ncols=_legend_columns(lines, inches),
        columnspacing=1.4,
        handlelength=3.0,
        labelspacing=0.35,
        borderaxespad=0.4,
        borderpad=0.0,
    )


def data(table: pd.DataFrame, *, axis: Axis = "fraction") -> pd.DataFrame:
    """The plotted rows, sorted by metric, curve and size."""
    keys = ["metric", *[name for name in NAMED_BY if name in table], "fraction"]
    return checked(table, axis).sort_values(keys, kind="stable").reset_index(drop=True)


def smallest_faithful(curve: pd.DataFrame, level: float) -> pd.Series | None:
    """The row of the smallest size from which on the curve stays at or above a level, if there is one."""
    ordered = curve.sort_values("fraction", kind="stable")
    below = np.flatnonzero(ordered["faithfulness"].to_numpy(dtype=float) < level)
    start = int(below[-1]) + 1 if len(below) else 0
    return ordered.iloc[start] if start < len(ordered) else None


def caption(table: pd.DataFrame, *, axis: Axis = "fraction", subject: str = "", level: float = 0.8) -> str:
    """What to look for, and what these curves show.

    Parameters
    ----------
    table, axis
        As for `draw`.
    subject
        The model, checkpoint and task in words.
    level
        The faithfulness whose circuit size is stated.
    """
    against = "" if axis == "fraction" else f", against {AXES[axis]}"
    opening = f"Faithfulness{' of ' + subject if subject else ''}{against}."
    table = checked(table, axis)
    if table.empty:
        return f"{opening} No circuit was evaluated."
    intervals = (
        " Shades are confidence intervals over examples." if {"low", "high"} <= set(table.columns) else ""
    )
    chance = ""
    if set(table.columns) >= BAND and table["null_low"].notna().any():
        tested = table[table["p"].notna()]
        ahead = int((tested["q"] < ALPHA).sum())
        chance = (
            " Grey bands hold 90 % of the random circuits of the same size; "
            f"{ahead} of {style.count(len(tested), 'circuit')} do better than chance at a false discovery rate of 5 %."
        )
    facts = [
        _fact(part, str(metric).replace("_", " "), level)
        for metric, part in table.groupby("metric", sort=False)
    ]
    degrees = " The last panel has the edges per node of the same circuits." if shows_degree(table, axis) else ""
    return (
        f"{opening} The network runs with only its strongest edges (or nodes) intact and all others replaced"
        " by their baseline value; 1 is the whole model's metric, 0 the metric with everything"
        f" ablated.{_beyond(table)}{intervals}{chance}{degrees}"
        " Look for how early a curve reaches 1: the earlier, the sparser"
        " the circuit; values above 1 mean that the removed edges worked against the behaviour. In this run,"
        f" {'; '.join(facts)}."
    )


def _beyond(table: pd.DataFrame) -> str:
    outside = ~table["faithfulness"].between(*Y_LIMITS)
    return (
        f" Triangles mark {style.count(int(outside.sum()), 'value')} beyond the axis."
        if outside.any()
        else ""
    )


def _fact(part: pd.DataFrame, metric: str, level: float) -> str:
    """From which size on the curve that gets there first stays at a level."""
    labels = label_of(part, series_columns(part))
    curves = {str(label): curve for label, curve in part.groupby(labels, sort=False)}
    reached = {
        label: row for label, curve in curves.items() if (row := smallest_faithful(curve, level)) is not None
    }
    goal = style.percent(level)
    if not reached:
        best = float(part["faithfulness"].max())
        return f"{metric} never stays at or above {goal}; its best is {style.number(best)}"
    label = min(reached, key=lambda name: (float(reached[name]["fraction"]), name))
    row = reached[label]
    size = f"{style.count(int(row['n_edges']), 'edge')} ({_share(float(row['fraction']))})"
    if len(curves) == 1:
        return f"{metric} stays at or above {goal} from {size} on"
    share = f"{len(reached)} of {len(curves)} curves get there"
    return f"{metric} first stays at or above {goal} with {label}, from {size} on ({share})"
