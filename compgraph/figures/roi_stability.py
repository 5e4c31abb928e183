"""Regions through training: whether those of one checkpoint are those of the next, and of the last."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from compgraph.figures import style

NEEDED = ("regions", "site", "first", "second", "against", "measure", "value", "null_mean", "q")
MEASURES = {"ari": "adjusted Rand index", "ami": "adjusted mutual information", "vi": "variation of information (nats)"}
AGAINST = {"next": "with the next checkpoint", "last": "with the last checkpoint"}
DASHES: dict[str, Any] = {"next": "solid", "last": (0, (4, 1.6))}


def data(table: pd.DataFrame) -> pd.DataFrame:
    """All rows, of every site, sorted by division, site, comparison, pair of checkpoints and measure.

    Parameters
    ----------
    table
        Of `compgraph.rois.checkpoints.roi_agreement`, checkpoints as training steps, with the column `regions` that
        names the division.
    """
    if missing := [name for name in NEEDED if name not in table]:
        raise ValueError(f"the table of agreement lacks the columns {', '.join(missing)}")
    keys = ["regions", "site", "against", "first", "second", "measure"]
    return table.sort_values(keys, ascending=[True, True, False, True, True, True], kind="stable", ignore_index=True)


def _means(table: pd.DataFrame) -> pd.DataFrame:
    """Means over sites, and the number of sites at which there is more agreement than by chance."""
    rows = table.assign(beyond=table["q"] <= 0.05)
    grouped = rows.groupby(["regions", "measure", "against", "first", "second"])
    means = grouped[["value", "null_mean"]].mean()
    return means.assign(n_sites=grouped["site"].nunique(), n_beyond=grouped["beyond"].sum()).reset_index()


@style.styled
def draw(table: pd.DataFrame, *, width: style.Width = "double") -> Figure:
    """A panel for each measure: agreement against the training step, a colour for each division.

    Parameters
    ----------
    table
        As for `data`.
    width
        Page columns the figure fills; `single`: panels one above the other.
    """
    rows = _means(table)
    if rows.empty:
        return style.message(style.new_figure(width, 1.6), "No region to follow over checkpoints.")
    colours = style.series_colours(dict.fromkeys(rows["regions"]))
    measures = [name for name in MEASURES if name in set(rows["measure"])]
    total, panel = style.WIDTHS[width], 2.1
    widest = max(style.text_width(name, style.SMALL) for name in (*colours, *AGAINST.values())) + 0.55
    columns = max(1, min(len(colours) + 2, int((total - 0.4) / widest)))
    legend = 0.15 * -(-(len(colours) + 2) // columns) + 0.14
    across = len(measures) if width == "double" else 1
    height = panel * (len(measures) // across) + legend
    figure = style.new_figure(total, height)
    cell = total / across
    for number, measure in enumerate(measures):
        row, column = divmod(number, across)
        x, y = column * cell + 0.5, height - legend - (row + 1) * panel + 0.42
        axes = figure.add_axes((x / total, y / height, (cell - 0.62) / total, (panel - 0.62) / height))
        _panel(axes, rows[rows["measure"] == measure], colours)
        axes.set_title(MEASURES[measure])
    handles = [Line2D([], [], color=colour, marker="o", markersize=2.6, label=name) for name, colour in colours.items()]
    handles += [Line2D([], [], color=style.MUTED, linestyle=DASHES[key], label=AGAINST[key]) for key in AGAINST]
    corner = (0.3 / total, 1 - 0.04 / height)
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=corner, ncols=columns, borderpad=0)
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, colours: dict[str, str]) -> None:
    """Steps on a logarithmic axis, on which step 0 stands at 1; thin: the mean of relabelled units."""
    for (name, against), own in rows.groupby(["regions", "against"], sort=False):
        ordered = own.sort_values("first")
        x = ordered["first"].to_numpy(float).clip(1)
        axes.plot(
            x, ordered["value"].to_numpy(float), color=colours[str(name)], linestyle=DASHES[str(against)], marker="o",
            markersize=2.6,
        )  # fmt: skip
        if against == "next":
            axes.plot(x, ordered["null_mean"].to_numpy(float), color=colours[str(name)], linewidth=0.6, alpha=0.6)
    axes.set_xscale("log")
    axes.set_xlabel("training step", labelpad=2)


def caption(table: pd.DataFrame, *, subject: str = "") -> str:
    """What to look for, and what this run shows.

    Parameters
    ----------
    table
        As for `data`.
    subject
        Model and data in words.
    """
    opening = f"Regions through training{' of ' + subject if subject else ''}."
    rows = _means(table)
    rows = rows[(rows["measure"] == "ari") & (rows["against"] == "next")]
    if rows.empty:
        return f"{opening} No region is found at several checkpoints."
    facts = []
    for name, own in rows.groupby("regions", sort=False):
        ordered = own.sort_values("first")
        first, last = ordered.iloc[0], ordered.iloc[-1]
        facts.append(
            f"{name} {first['value']:.2f} from step {first['first']} to {first['second']} and {last['value']:.2f} from "
            f"{last['first']} to {last['second']} ({last['n_beyond']} of {style.count(int(last['n_sites']), 'site')} "
            "beyond relabelled units)"
        )
    return (
        f"{opening} How far the regions of a checkpoint are those of the next (solid) and of the last (dashed), mean"
        " over sites; thin: relabelled units. Look for the step from which regions stay what they are. Adjusted Rand"
        f" index: {'; '.join(facts)}."
    )
