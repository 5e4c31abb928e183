"""Region ablation: classes by classes, regions of one removed or alone kept, a row for each division into regions."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from compgraph.figures import block_ablation, style
from compgraph.figures.heat import annotated, spoken, task_ticks

TITLES = {"removed": "removed", "kept": "alone kept"}
HEADING_INCHES = 0.16
ROW_INCHES = 0.13
MOST_INCHES = 2.4


def data(table: pd.DataFrame) -> pd.DataFrame:
    """The plotted rows: of one division after another, as in `compgraph.figures.block_ablation.data`.

    Parameters
    ----------
    table
        Table `tasks` of the test `region-ablation`.
    """
    if "partition" not in table:
        raise ValueError("the table of region ablation lacks the column partition")
    parts = [block_ablation.data(own) for _, own in table.groupby("partition", sort=False)]
    return pd.concat(parts, ignore_index=True) if parts else table


@style.styled
def draw(table: pd.DataFrame, *, width: style.Width = "double") -> Figure:
    """A pair of matrices (target by measured class) for every division, of the first metric; their titles say the mean
    of the targets' own classes and of the others.

    Parameters
    ----------
    table
        As for `data`.
    width
        `double`: the two modes side by side; `single`: one above the other.
    """
    rows = _one_metric(data(table))
    if rows.empty:
        return style.message(style.new_figure(width, 1.6), "No ablated region to draw.")
    column = block_ablation.shown(str(rows["metric"].iloc[0]), None)
    divisions, modes = list(dict.fromkeys(rows["partition"])), [mode for mode in TITLES if (rows["mode"] == mode).any()]
    classes = sorted(set(rows["target"]) | set(rows["task"]))
    total = style.WIDTHS[width]
    margin = 0.42 + max(style.text_width(spoken(name), style.SMALL) for name in classes)
    across = len(modes) if width == "double" else 1
    wide = (total - margin - 0.12 - 0.25 * (across - 1)) / across
    high = min(MOST_INCHES, ROW_INCHES * max(len(classes), 4))
    below = task_ticks(classes, wide / len(classes)) + 0.12
    panel = high + below + 0.32
    part_height = panel * (len(modes) // across) + HEADING_INCHES
    height = part_height * len(divisions) + 0.05
    figure = style.new_figure(total, height)
    for place, division in enumerate(divisions):
        top = height - place * part_height - 0.05
        figure.text(0.05 / total, (top - 0.1) / height, division, fontweight="bold", va="center")
        for number, mode in enumerate(modes):
            row, beside = divmod(number, across)
            x, y = margin + beside * (wide + 0.25), top - HEADING_INCHES - row * panel - 0.22 - high
            axes = figure.add_axes((x / total, y / height, wide / total, high / height))
            part = rows[(rows["partition"] == division) & (rows["mode"] == mode)]
            _panel(axes, part, classes, column, (wide, high))
            own, others = _means(part, column)
            axes.set_title(f"{TITLES[mode]}: {own:.2f} own, {others:.2f} others")
            if beside:
                axes.set_yticks([])
    return figure


def _one_metric(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["metric"] == rows["metric"].iloc[0]] if len(rows) else rows


def _panel(axes: Axes, part: pd.DataFrame, classes: list[str], column: str, inches: tuple[float, float]) -> None:
    matrix = part.pivot(index="target", columns="task", values=column).reindex(index=classes, columns=classes)
    values = matrix.to_numpy(float)
    annotated(axes, values, classes, classes, inches, limits=(0.0, 1.0), form=lambda value: f"{value:.2f}")


def _means(part: pd.DataFrame, column: str) -> tuple[float, float]:
    """Mean over targets of what is measured on the target's own class, and on the others."""
    same = part["target"] == part["task"]
    return float(part.loc[same, column].mean()), float(part.loc[~same, column].mean())


def caption(table: pd.DataFrame, *, subject: str = "") -> str:
    """What to look for, and what this run shows.

    Parameters
    ----------
    table
        As for `data`.
    subject
        Model, site and data in words.
    """
    opening = f"Region ablation{' of ' + subject if subject else ''}."
    rows = _one_metric(data(table))
    if rows.empty:
        return f"{opening} No region was ablated."
    metric = str(rows["metric"].iloc[0])
    column = block_ablation.shown(metric, None)
    facts = []
    for division, own in rows.groupby("partition", sort=False):
        said = [
            f"{mode} {values[0]:.2f} against {values[1]:.2f}"
            for mode in TITLES
            if np.isfinite(values := _means(own[own["mode"] == mode], column)).all()
        ]
        facts.append(f"{division}: {', '.join(said)}" if said else f"{division}: no region serves any class")
    what = metric.replace("_", " ") if column == "value" else f"faithfulness of {metric.replace('_', ' ')}"
    return (
        f"{opening} Rows: the class whose regions are removed, or alone kept; columns: the class that is measured. Look"
        " for a pale diagonal where regions are removed and a dark one where they are kept, and for the division in"
        f" which the two stand out most. Mean {what} of the target's own class against the others':"
        f" {'; '.join(facts)}."
    )
