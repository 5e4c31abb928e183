"""Knock-in and knock-out: what circuits keep alone, and what the network keeps without them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from compgraph.figures import style

NEEDED = ("fraction", "n_edges", "metric", "faithfulness", "completeness", "overlap", "overlap_low", "overlap_high")
LINES = {
    "faithfulness": ("the circuit alone", style.PALETTE[0], "o"),
    "completeness": ("the network without it", style.PALETTE[1], "s"),
}
LIMITS = (-0.35, 1.45)


def data(table: pd.DataFrame) -> pd.DataFrame:
    """The plotted rows: those where the shares are defined, sorted by metric and size.

    Parameters
    ----------
    table
        Of `compgraph.evaluation.knock_out`, with the column `fraction`.
    """
    if missing := [name for name in NEEDED if name not in table]:
        raise ValueError(f"the table of knock-outs lacks the columns {', '.join(missing)}")
    return table.dropna(subset=["overlap"]).sort_values(["metric", "fraction"], kind="stable").reset_index(drop=True)


@style.styled
def draw(table: pd.DataFrame, *, width: style.Width = "double") -> Figure:
    """Faithfulness and completeness against the share of edges, a panel a metric.

    Parameters
    ----------
    table
        See `data`.
    width
        Page columns the figure fills.
    """
    table = data(table)
    if table.empty:
        return style.message(style.new_figure(width, 1.6), "Faithfulness is undefined at every size.")
    metrics = list(dict.fromkeys(table["metric"]))
    columns = min(len(metrics), 3 if width == "double" else 1)
    rows = -(-len(metrics) // columns)
    total = min(style.WIDTHS[width], 4.8) if columns == 1 else style.WIDTHS[width]
    panel, legend = 2.2, 0.22
    height, cell = rows * panel + legend, total / columns
    figure = style.new_figure(total, height)
    for position, metric in enumerate(metrics):
        row, column = divmod(position, columns)
        x, y = column * cell + 0.56, height - legend - (row + 1) * panel + 0.42
        axes = figure.add_axes((x / total, y / height, (cell - 0.7) / total, (panel - 0.66) / height))
        part = table[(table["metric"] == metric) & (table["fraction"] > 0)]
        for level in (0.0, 1.0):
            axes.axhline(level, color=style.MUTED, linewidth=0.7, linestyle=(0, (1, 1.5)), zorder=1)
        size = part["fraction"].to_numpy(float)
        for name, (_, colour, marker) in LINES.items():
            values = [part[f"{name}{end}"].to_numpy(float).clip(*LIMITS) for end in ("", "_low", "_high")]
            axes.plot(size, values[0], color=colour, marker=marker, markersize=2.8, zorder=3)
            axes.fill_between(size, *values[1:], color=colour, alpha=0.16, linewidth=0, zorder=2)
        axes.set_xscale("log")
        axes.set_xlim(size.min() / 1.25, 1.25)
        axes.set_ylim(*LIMITS)
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %")
        axes.set_xlabel("share of edges in the circuit")
        axes.set_title(str(metric).replace("_", " "))
        if column == 0:
            axes.set_ylabel("share of the behaviour kept", labelpad=2)
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=2.8, label=label)
        for label, colour, marker in LINES.values()
    ]
    corner = (0.5 / total, 1 - 0.04 / height)
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=corner, ncols=2, columnspacing=1.4, borderpad=0)
    return figure


def caption(table: pd.DataFrame, *, subject: str = "") -> str:
    """What to look for, and what this run shows."""
    opening = f"Knock-in and knock-out{' of ' + subject if subject else ''}."
    table = data(table)
    if table.empty:
        return f"{opening} Faithfulness is undefined at every size."
    said = []
    for metric, part in table.groupby("metric", sort=False):
        row = part.loc[part["overlap"].abs().idxmax()]
        certain = row["overlap_low"] > 0 or row["overlap_high"] < 0
        kind = "both can do" if row["overlap"] > 0 else "takes the two together"
        doubt = "" if certain else ", which may be chance"
        said.append(
            f"{str(metric).replace('_', ' ')} {np.abs(row['overlap']):.2f} with"
            f" {style.count(int(row['n_edges']), 'edge')} ({kind}{doubt})"
        )
    return (
        f"{opening} A circuit alone, and the network without its edges; 1 is the whole network, 0 the network with"
        " everything ablated. If all work is done once, the two lines add up to 1. Look for where both are high (parts"
        " that stand in for each other) or both low (parts that only work together). Shades are 95 % intervals. The"
        f" sum is furthest from 1 by: {'; '.join(said)}."
    )
