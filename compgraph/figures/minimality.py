"""Minimality: what the loss of each edge of a circuit costs, against chance."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from compgraph.figures import style

NEEDED = ("name", "loss", "chance", "q", "needed")
MOST = 40
"""Rows drawn; of more those with the largest loss."""
ROW_INCHES = 0.145


def data(edges: pd.DataFrame, circuit: pd.DataFrame) -> pd.DataFrame:
    """Edges, or nodes, by falling loss.

    Parameters
    ----------
    edges
        Of `compgraph.evaluation.minimality`; without rows where there was no circuit.
    circuit
        The circuit's row of a faithfulness table.
    """
    if edges.empty:
        return edges
    if missing := [name for name in NEEDED if name not in edges]:
        raise ValueError(f"the table of minimality lacks the columns {', '.join(missing)}")
    return edges.sort_values("loss", ascending=False, kind="stable").reset_index(drop=True)


@style.styled
def draw(edges: pd.DataFrame, circuit: pd.DataFrame, *, width: style.Width = "double") -> Figure:
    """A dot for every edge at its loss; the shade holds what chance loses.

    Parameters
    ----------
    edges, circuit
        See `data`.
    width
        Page columns the figure fills.
    """
    rows = data(edges, circuit)
    if rows.empty:
        return style.message(style.new_figure(width, 1.6), "No connected circuit to test.")
    shown = rows.head(MOST)
    names = [str(name).replace("->", "\u2192") for name in shown["name"]]
    total = style.WIDTHS[width]
    left = 0.2 + max(style.text_width(name, style.SMALL) for name in names)
    high = ROW_INCHES * max(len(shown), 4)
    columns = 3 if width == "double" else 1
    top = 0.24 + 0.15 * (3 // columns - 1) + (0.19 if len(shown) < len(rows) else 0)
    height = high + 0.42 + top
    figure = style.new_figure(total, height)
    axes = figure.add_axes((left / total, 0.42 / height, (total - left - 0.2) / total, high / height))
    places = np.arange(len(shown)) + 0.5
    loss, chance = shown["loss"].to_numpy(float), float(shown["chance"].iloc[0])
    # Losses of nothing have no place on a logarithmic axis: they lie at its left end.
    positive = np.append(loss, chance)[np.append(loss, chance) > 0]
    least = float(positive.min()) / 2 if len(positive) else 1e-12
    least = max(least, 1e-8 * float(positive.max())) if len(positive) else least
    # At least two powers of ten, or the axis might have no number.
    least = min(least, float(positive.max()) / 60) if len(positive) else least
    x = np.maximum(loss, least)
    axes.set_xscale("log")
    axes.set_xlim(least, 2 * float(max(x.max(), chance)) if len(positive) else 1.0)
    axes.xaxis.set_minor_formatter(NullFormatter())
    if (loss < least).any():
        axes.annotate(
            "0" if (loss <= 0).any() else "less", (0, 0), (0, -6), "axes fraction", "offset points",
            ha="center", va="top", fontsize=style.SMALL, annotation_clip=False,
        )  # fmt: skip
    axes.axvspan(least, max(chance, least), color=style.FAINT, alpha=0.6, linewidth=0, zorder=0)
    needed = shown["needed"].to_numpy(bool)
    for own, colour, face in ((needed, style.PALETTE[0], style.PALETTE[0]), (~needed, style.PALETTE[1], "white")):
        axes.scatter(x[own], places[own], s=14, color=colour, facecolor=face, linewidths=0.9, clip_on=False, zorder=3)
    axes.set_ylim(len(shown), 0)
    axes.set_yticks(places, names)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("loss without it (mean squared change)", labelpad=2, loc="right")
    handles = [
        Line2D([], [], linestyle="", marker="o", color=style.PALETTE[0], markersize=4, label="needed"),
        Line2D(
            [], [], linestyle="", marker="o", color=style.PALETTE[1], markerfacecolor="white", markersize=4,
            label="not needed more than chance",
        ),
        Line2D([], [], color=style.FAINT, linewidth=5, label="what chance loses (95 %)"),
    ]  # fmt: skip
    begin = (left if columns == 3 else 0.1) / total
    corner = (begin, 1 - 0.04 / height)
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=corner, ncols=columns, columnspacing=1.4, borderpad=0
    )  # fmt: skip
    if len(shown) < len(rows):
        left_out = f"{style.count(len(rows) - len(shown), 'more edge')} with smaller losses not drawn"
        figure.text(begin, (high + 0.5) / height, left_out, fontsize=style.SMALL, color=style.MUTED)
    return figure


def caption(edges: pd.DataFrame, circuit: pd.DataFrame, *, subject: str = "") -> str:
    """What to look for, and what this run shows."""
    opening = f"Minimality{' of ' + subject if subject else ''}."
    rows = data(edges, circuit)
    if rows.empty:
        return f"{opening} The graph has no circuit of this size that connects input and output."
    idle, row = int((~rows["needed"].astype(bool)).sum()), circuit.iloc[0]
    kept = f"{row['faithfulness']:.2f}" if np.isfinite(row["faithfulness"]) else "an undefined share"
    null = row.get("null_mean", np.nan)
    chance = f" (random circuits {null:.2f})" if np.isfinite(null) else ""
    return (
        f"{opening} Every edge of a circuit is removed alone, and the change of the metric, squared, averaged over"
        " examples. Filled dots lose more than random removals do (false discovery rate 5 %); the shade holds 95 % of"
        f" those. The circuit keeps {kept} of the {str(row['metric']).replace('_', ' ')}{chance}; {idle} of its"
        f" {len(rows)} edges (or nodes) are not needed more than chance. Look for the gap between the two kinds."
    )
