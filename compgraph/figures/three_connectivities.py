"""Kinds of connectivity against each other: their common edges, and how alike they are beside what layers explain."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from scipy.stats import rankdata

from compgraph.figures import style
from compgraph.graph import ComputationalGraph
from compgraph.statistics.compare import CommonEdges

MEASURES: dict[str, str] = {
    "rank": "rank correlation",
    "rank_by_layers": "… within pairs of sites",
    "top_overlap": "overlap of the strongest",
    "subspace": "leading eigenvectors",
    "blocks": "agreement of communities",
}
"""Measures in the order of their rows, with their names; those without a null are left to the table."""

LEVEL = 0.05
MAX_PAIRS = 3
POINTS = 3000
"""More edges than this are drawn as a density."""


def pairs_of(table: pd.DataFrame) -> list[tuple[str, str]]:
    """The pairs of graphs that are drawn, in their order."""
    pairs = table[["a", "b"]].drop_duplicates()
    return list(pairs.itertuples(index=False, name=None))[:MAX_PAIRS]


@style.styled
def draw(table: pd.DataFrame, graphs: Mapping[str, ComputationalGraph], *, width: style.Width = "double") -> Figure:
    """Ranks of common edges in either graph for every pair of graphs, and the measures with their null bands.

    Parameters
    ----------
    table
        Of `compgraph.statistics.compare.compare_all`.
    graphs
        Name -> graph, as the table calls them.
    width
        Page columns the figure fills.
    """
    pairs = pairs_of(table)
    total = style.WIDTHS[width]
    colours = style.series_colours([f"{a} / {b}" for a, b in pairs])
    columns = len(pairs) if width == "double" else 1
    rows = -(-len(pairs) // columns)
    cell = total / columns
    side = min(cell - 0.85, 1.75)
    measured = 0.27 * len(MEASURES) * max(1.0, len(pairs) / 2)
    tall = side + 0.78
    height = rows * tall + measured + 0.62
    figure = style.new_figure(width, height)
    for k, (a, b) in enumerate(pairs):
        row, column = divmod(k, columns)
        left, bottom = column * cell + 0.55, height - (row + 1) * tall + 0.48
        axes = figure.add_axes((left / total, bottom / height, side / total, side / height))
        _edges(axes, CommonEdges.of(graphs[a], graphs[b]), a, b, colours[f"{a} / {b}"])
    margin = 0.2 + max(style.text_width(name, style.SMALL) for name in MEASURES.values())
    legend = 0.35 + max(style.text_width(f"{a} / {b}", style.SMALL) for a, b in pairs)
    room = (total - margin - legend - 0.15) if width == "double" else (total - margin - 0.15)
    axes = figure.add_axes((margin / total, 0.45 / height, room / total, measured / height))
    _measures(axes, table, pairs, colours, beside=width == "double")
    return figure


def _edges(axes: Axes, pair: CommonEdges, a: str, b: str, colour: str) -> None:
    """Rank of each common edge in both graphs, as a share of them."""
    x, y = (rankdata(values) / len(values) for values in pair.values)
    if len(x) <= POINTS:
        axes.scatter(x, y, s=4.0, color=colour, alpha=0.45, linewidths=0, rasterized=True)
    else:
        axes.hexbin(x, y, gridsize=26, cmap=style.SEQUENTIAL, linewidths=0.1, extent=(0, 1, 0, 1))
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
        axis.set_ticks([0, 0.5, 1])
    axes.set_xlabel(a, labelpad=2)
    axes.set_ylabel(b, labelpad=1)
    axes.set_title(style.count(len(x), "common edge"), fontweight="normal")


def _measures(
    axes: Axes, table: pd.DataFrame, pairs: list[tuple[str, str]], colours: dict[str, str], *, beside: bool
) -> None:
    step = 0.72 / len(pairs)
    for k, (a, b) in enumerate(pairs):
        own = table[(table["a"] == a) & (table["b"] == b)].set_index("measure")
        for row, measure in enumerate(MEASURES):
            at = row + (k - (len(pairs) - 1) / 2) * step
            found = own.loc[measure]
            if np.isfinite(found["low"]):
                axes.plot(
                    [found["low"], found["high"]], [at, at], color=style.FAINT, linewidth=5, solid_capstyle="butt"
                )
                axes.plot(
                    [found["null_mean"]] * 2, [at - 0.3 * step, at + 0.3 * step], color=style.MUTED, linewidth=0.8
                )
            if np.isfinite(found["value"]):
                face = colours[f"{a} / {b}"] if found["q"] <= LEVEL else "white"
                axes.plot(
                    found["value"], at, "o", color=colours[f"{a} / {b}"], markerfacecolor=face, markersize=4.2, zorder=3
                )
        axes.plot([], [], "o", color=colours[f"{a} / {b}"], label=f"{a} / {b}")
    axes.axvline(0, color=style.MUTED, linewidth=0.5, zorder=0)
    axes.set_yticks(range(len(MEASURES)), list(MEASURES.values()))
    axes.set_ylim(len(MEASURES) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("likeness; grey: 95 % of relabelled graphs")
    if beside:
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), handletextpad=0.2)


def data(table: pd.DataFrame, graphs: Mapping[str, ComputationalGraph]) -> pd.DataFrame:
    """The whole table, pairs that are not drawn included."""
    return table.reset_index(drop=True)


def caption(table: pd.DataFrame, graphs: Mapping[str, ComputationalGraph], *, subject: str = "") -> str:
    """What to look for, and what this comparison shows."""
    pairs = pairs_of(table)
    opening = f"Kinds of connectivity compared{', ' + subject if subject else ''}."
    facts = []
    for a, b in pairs:
        own = table[(table["a"] == a) & (table["b"] == b)].set_index("measure")
        within = own.loc["rank_by_layers"]
        chance = (
            f"p = {style.number(float(within['p']))}" if np.isfinite(within["p"]) else f"not tested: {within['reason']}"
        )
        facts.append(
            f"{a} and {b} share {style.count(int(within['n_pairs']), 'edge')}, with a rank correlation of "
            f"{style.number(float(own.loc['rank', 'value']))} ({style.number(float(within['value']))} within pairs of "
            f"sites, {chance})"
        )
    left = len(table[["a", "b"]].drop_duplicates()) - len(pairs)
    more = f" {style.count(left, 'further pair')} of graphs are in the table." if left else ""
    return (
        f"{opening} Above, every common edge by its rank in two graphs; below, how alike the graphs are, with grey"
        " bands for graphs whose nodes were relabelled inside their sites. Depth alone makes any two graphs correlate:"
        " look for points outside their band; filled ones are significant at a false discovery rate of"
        f" {style.percent(LEVEL)}. In this run, {'; '.join(facts)}.{more}"
    )
