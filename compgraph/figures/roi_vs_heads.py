"""Whether regions of interest are better nodes than heads: their overlap, and faithfulness of circuits over each."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from compgraph.figures import style
from compgraph.figures.faithfulness import (
    checked,
    draw_legend,
    draw_panel,
    label_of,
    legend_rows,
    line_styles,
    series_columns,
)

OVERLAP_COLUMNS = ("regions", "site", "ami", "null_low", "null_high")


def data(curves: pd.DataFrame, overlap: pd.DataFrame) -> pd.DataFrame:
    """The plotted rows: those of the overlap (`shows` is overlap), then those of the curves (faithfulness).

    Parameters
    ----------
    curves
        Of circuits over several partitions (`compgraph.figures.faithfulness`).
    overlap
        Of `compgraph.rois.overlap.overlap_with_heads`, with the column `regions` that names the division.
    """
    if missing := [name for name in OVERLAP_COLUMNS if name not in overlap]:
        raise ValueError(f"the table of overlap lacks the columns {', '.join(missing)}")
    shown = overlap.sort_values(["regions", "site"], kind="stable").assign(shows="overlap")
    return pd.concat([shown, _one_metric(curves).assign(shows="faithfulness")], ignore_index=True)


@style.styled
def draw(curves: pd.DataFrame, overlap: pd.DataFrame, *, width: style.Width = "double") -> Figure:
    """Left: overlap of regions and heads, site by site, with the range of random regions of the same sizes. Right:
    faithfulness against the share of edges kept.

    Parameters
    ----------
    curves, overlap
        As for `data`; of several metrics the first is drawn. No left panel where nothing overlaps.
    width
        Page columns the figure fills.
    """
    curves = checked(_one_metric(curves))
    if curves.empty:
        return style.message(style.new_figure(width, 1.6), "No evaluated circuit to draw.")
    curves = curves.assign(curve=label_of(curves, series_columns(curves)))
    lines = line_styles(curves)
    total = style.WIDTHS[width]
    top = 0.14 * legend_rows(lines, total) + 0.12
    height = 2.5 + top
    figure = style.new_figure(total, height)
    left = 0.0 if overlap.empty else 0.42 * total
    if left:
        axes = figure.add_axes((0.56 / total, 0.5 / height, (left - 0.7) / total, 1.75 / height))
        _overlap(axes, overlap, {name: str(style_of["color"]) for name, style_of in lines.items()})
    axes = figure.add_axes(((left + 0.56) / total, 0.5 / height, (total - left - 0.68) / total, 1.75 / height))
    draw_panel(axes, curves, lines, "fraction", first=True)
    axes.set_title(str(curves["metric"].iloc[0]).replace("_", " "))
    if len(lines) > 1:
        draw_legend(figure, lines, total)
    return figure


def _one_metric(curves: pd.DataFrame) -> pd.DataFrame:
    """Of the first metric, and of the first entry of `ablation` where there are several."""
    if curves.empty:
        return curves
    chosen = curves[curves["metric"] == curves["metric"].iloc[0]]
    if "task" in chosen:
        chosen = chosen[chosen["task"] == "all"]
    for name in ("runs", "ablation", "baseline", "norms"):
        if name in chosen and len(chosen):
            chosen = chosen[chosen[name] == chosen[name].iloc[0]]
    return chosen


def _overlap(axes: Axes, overlap: pd.DataFrame, of_curves: dict[str, str]) -> None:
    """Divisions called like a curve have its colour."""
    names, sites = sorted(overlap["regions"].unique()), sorted(overlap["site"].unique())
    colours = style.series_colours(names) | {name: of_curves[name] for name in names if name in of_curves}
    for place, name in enumerate(names):
        own = overlap[overlap["regions"] == name].set_index("site")
        x = [sites.index(site) + (place - (len(names) - 1) / 2) * 0.7 / len(names) for site in own.index]
        axes.vlines(x, own["null_low"], own["null_high"], color=style.FAINT, linewidth=4, zorder=1)
        axes.plot(x, own["ami"], "o", color=colours[name], markersize=3.5, label=name, zorder=3)
    axes.set_xticks(range(len(sites)), sites)
    axes.set_xlim(-0.5, len(sites) - 0.5)
    axes.axhline(0, color=style.MUTED, linewidth=0.6, zorder=0)
    axes.set_ylabel("adjusted mutual information")
    axes.set_title("regions and heads")
    axes.legend(loc="best", fontsize=style.SMALL)


def caption(curves: pd.DataFrame, overlap: pd.DataFrame, *, subject: str = "") -> str:
    """What to look for, and what this run shows.

    Parameters
    ----------
    curves, overlap
        As for `data`.
    subject
        Model, checkpoint and data in words.
    """
    opening = f"Regions against heads as nodes{' of ' + subject if subject else ''}."
    said = []
    if len(overlap):
        means = overlap.groupby("regions")[["ami", "null_high"]].mean()
        each = "; ".join(
            f"{name} {row.ami:.2f} (random ones up to {row.null_high:.2f})" for name, row in means.iterrows()
        )
        said.append(
            "Left: adjusted mutual information of regions and heads, 1 where they are the same; grey: the 95 % range "
            f"of random regions of the same sizes. Mean over sites: {each}."
        )
    curves = _one_metric(curves)
    if len(curves) and "graph" in curves:
        areas = curves.groupby("graph")["faithfulness"].mean().sort_values(ascending=False)
        listed = "; ".join(f"{name} {value:.2f}" for name, value in areas.items())
        said.append(
            "Faithfulness of circuits that keep a share of the edges, whose number differs between partitions; better "
            f"nodes have a curve further up. Mean over the sizes: {listed}."
        )
    return " ".join([opening, *said])
