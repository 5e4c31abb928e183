"""Which method finds the better circuits, and at what cost: areas under faithfulness against passes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from compgraph.figures import style

COLUMNS = ("method", "task", "metric", "area", "value", "low", "high", "passes")
AREAS = {
    "cpr": "CPR: area under faithfulness (higher is better)",
    "cmd": "CMD: area of its distance from 1 (lower is better)",
}
MARKERS = "osD^vP*X<>"
APART = 1 / 3
USUAL = ("logit_difference", "margin")
"""Metrics that are drawn where there are several; else the first."""


def data(areas: pd.DataFrame) -> pd.DataFrame:
    """The points that are drawn, of one metric: methods by cost, then by name.

    Parameters
    ----------
    areas
        One row a graph, task, metric and area: `method` (the graph's name), `task`, `metric`, `area` (`cpr`, `cmd`),
        `value`, `low`, `high` (95 % bootstrap interval over examples), `passes` (forward and backward passes an example
        that the scores took).
    """
    if missing := [name for name in COLUMNS if name not in areas]:
        raise ValueError(f"the table of methods lacks the columns {', '.join(missing)}")
    metrics = list(dict.fromkeys(areas["metric"]))
    metric = next((name for name in USUAL if name in metrics), metrics[0] if metrics else "")
    shown = areas[areas["metric"] == metric]
    return shown.sort_values(["passes", "method", "task", "area"], kind="stable").reset_index(drop=True)


@style.styled
def draw(areas: pd.DataFrame, *, width: style.Width = "double") -> Figure:
    """CPR and CMD against passes: a colour for each method, a marker for each task, intervals as bars.

    Parameters
    ----------
    areas
        As for `data`.
    width
        Page columns the figure fills; `single` sets the panels one above the other.
    """
    rows = data(areas)
    rows = rows[rows["value"].notna()]
    if rows.empty:
        return style.message(style.new_figure(width, 1.6), "No area to draw: no circuit has a faithfulness.")
    methods, tasks = list(dict.fromkeys(rows["method"].astype(str))), list(dict.fromkeys(rows["task"].astype(str)))
    colours = style.series_colours(methods)
    markers = {task: MARKERS[place % len(MARKERS)] for place, task in enumerate(tasks)}
    total = style.WIDTHS[width]
    across = 2 if width == "double" else 1
    high, left, gap = 1.75, 0.5, 0.62
    wide = (total - left - 0.12 - (across - 1) * gap) / across
    handles = _handles(colours, markers)
    columns = max(1, int(total / (0.42 + max(style.text_width(str(one.get_label()), style.SMALL) for one in handles))))
    legend = 0.16 * -(-len(handles) // columns) + 0.1
    n_rows = len(AREAS) // across
    height = n_rows * (high + 0.66) + legend
    figure = style.new_figure(width, height)
    for number, (area, title) in enumerate(AREAS.items()):
        x = left + (number % across) * (wide + gap)
        y = height - (number // across) * (high + 0.66) - high - 0.24
        axes = figure.add_axes((x / total, y / height, wide / total, high / height))
        _panel(axes, rows[rows["area"] == area], colours, markers)
        axes.set_title(title, fontsize=style.SMALL)
    figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.02, 0.0), ncols=columns, frameon=False,
                  fontsize=style.SMALL, borderaxespad=0.1, labelspacing=0.3, columnspacing=1.0)  # fmt: skip
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, colours: Mapping[str, str], markers: Mapping[str, str]) -> None:
    passes = rows["passes"].to_numpy(dtype=float)
    places = {key: place for place, key in enumerate((method, task) for method in colours for task in markers)}
    side = np.array([places[str(method), str(task)] for method, task in zip(rows["method"], rows["task"], strict=True)])
    # Side by side where costs are the same: a third of an octave for all of them together.
    shift = 2.0 ** (APART * ((side + 0.5) / len(places) - 0.5))
    for row, x in zip(rows.itertuples(), np.maximum(passes, 0.5) * shift, strict=True):
        colour = colours[str(row.method)]
        if np.isfinite(row.low) and np.isfinite(row.high):
            axes.plot([x, x], [row.low, row.high], color=colour, linewidth=1.0, alpha=0.7)
        axes.plot([x], [row.value], markers[str(row.task)], color=colour, markersize=4.2, markeredgecolor="white",
                  markeredgewidth=0.4)  # fmt: skip
    axes.set_xscale("log")
    low, top = max(passes.min(initial=1.0), 0.5), max(passes.max(initial=1.0), 1.0)
    axes.set_xlim(0.75 * low, 1.35 * top)
    ticks = sorted({float(f"{value:.2g}") for value in np.maximum(passes, 0.5)})
    axes.set_xticks(ticks, [style.number(value) for value in ticks])
    axes.minorticks_off()
    axes.set_xlabel("passes an example (forward and backward)")


def _handles(colours: Mapping[str, str], markers: Mapping[str, str]) -> list[Line2D]:
    methods = [Line2D([], [], color=colour, linewidth=2.2, label=name) for name, colour in colours.items()]
    if len(markers) < 2:
        return methods
    return methods + [
        Line2D([], [], linestyle="none", marker=marker, color=style.MUTED, markersize=4.2, label=name)
        for name, marker in markers.items()
    ]


def caption(areas: pd.DataFrame, *, subject: str = "") -> str:
    """What to look for, and what these methods show.

    Parameters
    ----------
    areas
        As for `data`.
    subject
        Model, checkpoint and tasks in words.
    """
    opening = f"Methods against their costs{', ' + subject if subject else ''}."
    rows = data(areas)
    whole = rows[(rows["task"] == "all") & (rows["area"] == "cpr") & rows["value"].notna()]
    if whole.empty:
        return f"{opening} No circuit has a faithfulness."
    best = whole.sort_values("value", ascending=False, kind="stable")
    listed = "; ".join(
        f"{row.method} {style.number(row.value)} [{style.number(row.low)}, {style.number(row.high)}]"
        f" for {style.number(row.passes)} passes"
        for row in best.itertuples()
    )
    first, rest = best.iloc[0], best.iloc[1:]
    alike = rest[rest["high"] >= first["low"]]["method"].astype(str).tolist()
    verdict = f" The intervals of {', '.join(alike)} reach that of {first['method']}." if alike else ""
    return (
        f"{opening} Areas under the curve of {str(rows['metric'].iloc[0]).replace('_', ' ')} faithfulness over the"
        " share of edges kept, with 95 % bootstrap intervals over examples, against the passes that the scores took."
        f" Look for the upper left (CPR) and lower left (CMD). In this run, CPR: {listed}.{verdict}"
    )
