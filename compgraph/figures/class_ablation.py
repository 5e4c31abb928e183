"""Class ablation: accuracy against the share of regions ablated, or kept, the most supporting first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from compgraph.figures import style
from compgraph.figures.heat import annotated, spoken

EVERY = "all"
NEEDED = ("partition", "mode", "share", "class", "accuracy", "model", "chance")
MODES = {"removed": "share of regions removed", "kept": "share of regions kept"}
LEVELS = (("model", "whole network", (0, (1, 1.5))), ("chance", "chance", (0, (4, 1.6))))
MOST_CLASSES = 30


def data(table: pd.DataFrame) -> pd.DataFrame:
    """The plotted rows, sorted by partition, mode, class and share.

    Parameters
    ----------
    table
        Of `compgraph.evaluation.class_ablation.ClassAblation`.
    """
    if missing := [name for name in NEEDED if name not in table]:
        raise ValueError(f"the table of class ablation lacks the columns {', '.join(missing)}")
    order = ["partition", "mode", "class", "share"]
    return table.sort_values(order, ascending=[True, False, True, True], kind="stable").reset_index(drop=True)


@style.styled
def draw(table: pd.DataFrame, *, of: str = EVERY, width: style.Width = "double") -> Figure:
    """A line for every partition: on the left regions are removed, on the right they alone are kept.

    Parameters
    ----------
    table
        Of `ClassAblation`.
    of
        Class of the examples; `all` for all of them.
    width
        `double`: panels side by side; `single`: one above the other.
    """
    table = data(table)
    part = table[table["class"].astype(str) == of]
    if part.empty:
        return style.message(style.new_figure(width, 1.6), f"No ablated region to draw for class {of!r}.")
    names = list(dict.fromkeys(part["partition"]))
    colours = _colours(names)
    modes = [mode for mode in MODES if (part["mode"] == mode).any()]
    total = style.WIDTHS[width]
    across = len(modes) if width == "double" else 1
    cell, panel = min(total / across, 3.6), 2.2
    columns = _legend_columns([*names, *(word for _, word, _ in LEVELS)], total)
    legend = 0.15 * -(-(len(names) + len(LEVELS)) // columns) + 0.16
    height = panel * (len(modes) // across) + legend
    figure = style.new_figure(total, height)
    for number, mode in enumerate(modes):
        row, column = divmod(number, across)
        x, y = column * cell + 0.55, height - legend - (row + 1) * panel + 0.42
        axes = figure.add_axes((x / total, y / height, (cell - 0.78) / total, (panel - 0.5) / height))
        _lines(axes, part[part["mode"] == mode], colours)
        axes.set_xlabel(MODES[mode], labelpad=2)
        if column == 0:
            axes.set_ylabel("accuracy" if of == EVERY else f"accuracy on {spoken(of)}", labelpad=2)
    handles = [
        Line2D([], [], color=colours[name], marker="o", markersize=2.6, linestyle=_dash(name), label=name)
        for name in names
    ]
    handles += [
        Line2D([], [], color=style.MUTED, linewidth=0.9, linestyle=dash, label=word) for _, word, dash in LEVELS
    ]
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0.45 / total, 1 - 0.06 / height),
        ncols=columns,
        columnspacing=1.4,
        handlelength=2.4,
        borderpad=0,
    )
    return figure


LIKE = "random like "
"""Begins the names of random regions that have the sizes of some division's."""


def _colours(names: list[str]) -> dict[str, str]:
    """Random regions have the colour of the (first) division that they are like."""
    like = {name: name.removeprefix(LIKE).split(", ")[0] for name in names}
    own = style.series_colours(dict.fromkeys(like.values()))
    return {name: own[like[name]] for name in names}


def _dash(name: str) -> Any:
    return (0, (2, 1.2)) if name.startswith("random") else "solid"


def _legend_columns(names: list[str], inches: float) -> int:
    widest = max(style.text_width(name, style.SMALL) for name in names) + 0.5
    return max(1, min(len(names), int((inches - 0.5) / widest)))


def _lines(axes: Axes, part: pd.DataFrame, colours: dict[str, str]) -> None:
    for column, _, dash in LEVELS:
        axes.axhline(float(part[column].iloc[0]), color=style.MUTED, linewidth=0.9, linestyle=dash, zorder=1)
    for name, colour in colours.items():
        line = part[part["partition"] == name].sort_values("share")
        x, y = line["share"].to_numpy(float), line["accuracy"].to_numpy(float)
        axes.plot(x, y, color=colour, marker="o", markersize=2.6, linestyle=_dash(name), zorder=3, clip_on=False)
        if {"low", "high"} <= set(line):
            low, high = line["low"].to_numpy(float), line["high"].to_numpy(float)
            axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0, zorder=2)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))


@style.styled
def draw_classes(table: pd.DataFrame, partition: str, *, width: style.Width = "double") -> Figure:
    """Accuracy on each class against the share of regions, of one partition: a row a class.

    Parameters
    ----------
    table
        Of `ClassAblation`.
    partition
        The name of one of its partitions.
    width
        As for `draw`.

    Raises
    ------
    ValueError
        No such partition.
    """
    table = data(table)
    if partition not in set(table["partition"]):
        raise ValueError(f"no partition {partition!r}; there are {', '.join(map(str, table['partition'].unique()))}")
    part = table[(table["partition"] == partition) & (table["class"] != EVERY)]
    modes = [mode for mode in MODES if (part["mode"] == mode).any()]
    classes = list(dict.fromkeys(part["class"].astype(str)))[:MOST_CLASSES]
    if not classes:
        return style.message(style.new_figure(width, 1.6), "No class to draw by itself.")
    total, left_out = style.WIDTHS[width], part["class"].nunique() - len(classes)
    margin = 0.4 + max(style.text_width(spoken(name), style.SMALL) for name in classes)
    across = len(modes) if width == "double" else 1
    wide, high = (total - margin - 0.15 - 0.2 * (across - 1)) / across, 0.19 * max(len(classes), 3)
    panel = high + 0.5
    height = panel * (len(modes) // across) + 0.15
    figure = style.new_figure(total, height)
    for number, mode in enumerate(modes):
        row, column = divmod(number, across)
        x, y = margin + column * (wide + 0.2), height - 0.15 - row * panel - high
        axes = figure.add_axes((x / total, y / height, wide / total, high / height))
        values = part[part["mode"] == mode].pivot(index="class", columns="share", values="accuracy").loc[classes]
        shares = [f"{100 * share:.3g}" for share in values.columns]
        annotated(axes, values.to_numpy(float), classes, shares, (wide, high), limits=(0.0, 1.0), form=_percent)
        axes.set_xlabel(MODES[mode] + " (%)", labelpad=2)
        if column:
            axes.set_yticks([])
        else:
            axes.set_ylabel("class", labelpad=2)
    if left_out:
        said = f"{style.count(left_out, 'more class', 'more classes')} not drawn"
        figure.text(margin / total, 1 - 0.07 / height, said, va="center", fontsize=style.SMALL, color=style.MUTED)
    return figure


def _percent(value: float) -> str:
    return f"{100 * value:.0f}"


def caption(table: pd.DataFrame, *, of: str = EVERY, subject: str = "", at: float = 0.1) -> str:
    """What to look for, and what this run shows.

    Parameters
    ----------
    table, of
        As for `draw`.
    subject
        Model, site and data in words.
    at
        The share of regions whose effect is stated; the nearest that was run.
    """
    opening = f"Class ablation{' of ' + subject if subject else ''}."
    table = data(table)
    part = table[table["class"].astype(str) == of]
    if part.empty:
        return f"{opening} No region was ablated."
    shares = part["share"].unique()
    share = float(shares[np.abs(shares - at).argmin()])
    rows = part[part["share"] == share].set_index(["partition", "mode"])["accuracy"]
    facts = [_fact(name, rows.loc[name]) for name in part["partition"].unique()]
    whole, chance = (style.percent(float(part[name].iloc[0])) for name in ("model", "chance"))
    bands = " Shades are 95 % intervals over examples." if {"low", "high"} <= set(part) else ""
    return (
        f"{opening} Regions are sorted by their support of the right output; a growing share of them is removed, or all"
        f" but that share. The whole network's accuracy is {whole}, chance {chance}.{bands} Look for lines that fall"
        " early where regions are removed and rise early where they are kept: few regions carry the decision; and for"
        f" their distance from random parts of equal sizes. At {style.percent(share)} of the regions:"
        f" {'; '.join(facts)}."
    )


def _fact(name: object, row: pd.Series) -> str:
    said = [f"{style.percent(float(row[mode]))} {mode}" for mode in MODES if mode in row.index]
    return f"{name} {', '.join(said)}"
