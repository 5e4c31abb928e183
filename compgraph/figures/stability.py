"""Stability: how far circuits from disjoint samples of the data agree."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from compgraph.figures import style

NEEDED = ("source", "fraction", "n_edges", "jaccard", "jaccard_min", "jaccard_max", "jaccard_chance", "rbo", "core")
LINES = {"jaccard": ("Jaccard index", style.PALETTE[0], "o"), "rbo": ("rank-biased overlap", style.PALETTE[1], "s")}
DASHES: tuple[Any, ...] = ("solid", (0, (4, 1.6)), (0, (1, 1.5)))


def data(table: pd.DataFrame) -> pd.DataFrame:
    """The plotted rows, sorted by source and size.

    Parameters
    ----------
    table
        Of `compgraph.evaluation.stability`.
    """
    if missing := [name for name in NEEDED if name not in table and len(table)]:
        raise ValueError(f"the table of stability lacks the columns {', '.join(missing)}")
    return table.sort_values(["source", "fraction"], kind="stable").reset_index(drop=True) if len(table) else table


@style.styled
def draw(table: pd.DataFrame, *, width: style.Width = "double") -> Figure:
    """Agreement of circuits against their size, with what chance would share.

    Parameters
    ----------
    table
        See `data`.
    width
        Page columns the figure fills.
    """
    table = data(table)
    if table.empty:
        return style.message(style.new_figure(width, 1.6), "No size is as large as one edge.")
    sources = list(dict.fromkeys(table["source"]))
    total = min(style.WIDTHS[width], 4.8)
    columns = 3 if width == "double" else 1
    legend = 0.15 * -(-len(LINES) * len(sources) // columns + (columns == 1)) + 0.16
    height = 2.1 + legend
    figure = style.new_figure(total, height)
    axes = figure.add_axes((0.5 / total, 0.42 / height, (total - 0.65) / total, (height - 0.45 - legend) / height))
    handles = []
    for name, (label, colour, marker) in LINES.items():
        for source, dash in zip(sources, DASHES, strict=False):
            part = table[table["source"] == source]
            size = part["fraction"].to_numpy(float)
            axes.plot(size, part[name], color=colour, marker=marker, markersize=2.8, linestyle=dash, zorder=3)
            ends = (part[f"{name}_{end}"].to_numpy(float) for end in ("min", "max"))
            axes.fill_between(size, *ends, color=colour, alpha=0.16, linewidth=0, zorder=2)
            words = label if len(sources) == 1 else f"{label}, {source}"
            handles.append(Line2D([], [], color=colour, marker=marker, markersize=2.8, linestyle=dash, label=words))
    chance = table.drop_duplicates("fraction").sort_values("fraction")
    axes.plot(chance["fraction"], chance["jaccard_chance"], color=style.MUTED, linewidth=0.9, linestyle=(0, (4, 1.6)))
    handles.append(Line2D([], [], color=style.MUTED, linewidth=0.9, linestyle=(0, (4, 1.6)), label="Jaccard by chance"))
    axes.set_xscale("log")
    axes.set_xlim(float(table["fraction"].min()) / 1.25, 1.25)
    axes.set_ylim(0, 1.03)
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %")
    axes.set_xlabel("share of edges in the circuit")
    axes.set_ylabel("agreement of two circuits", labelpad=2)
    corner = (0.45 / total, 1 - 0.04 / height)
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=corner, ncols=columns, columnspacing=1.4, borderpad=0
    )  # fmt: skip
    return figure


def caption(table: pd.DataFrame, *, subject: str = "", at: float = 0.1) -> str:
    """What to look for, and what this run shows.

    Parameters
    ----------
    table, subject
        As elsewhere.
    at
        The share of edges whose agreement is stated; the nearest that there is.
    """
    opening = f"Stability{' of ' + subject if subject else ''}."
    table = data(table)
    if table.empty:
        return f"{opening} No size is as large as one edge."
    row = table.iloc[(table["fraction"] - at).abs().argmin()]
    return (
        f"{opening} The graph is made again from disjoint samples of the examples; lines say how far the circuits of"
        " the same size agree, on average over pairs of samples, shades the least and the most. Rank-biased overlap"
        f" looks at the order too. Look for the distance from chance. With {style.count(int(row['n_edges']), 'edge')}"
        f" the Jaccard index is {row['jaccard']:.2f}, by chance {row['jaccard_chance']:.2f};"
        f" {int(row['core'])} of them are in every circuit."
    )
