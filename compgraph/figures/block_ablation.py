"""Block ablation: what every task loses when one task's blocks are removed, and keeps when they alone are kept."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from compgraph.figures import style
from compgraph.figures.heat import annotated, spoken, task_ticks

NEEDED = ("target", "task", "mode", "metric", "value", "faithfulness")
TITLES = {"removed": "blocks of the target removed", "kept": "only blocks of the target kept"}
CELL_INCHES = 0.95
ROW_INCHES = 0.34
BRIGHT = {"accuracy", "probability", "reciprocal_rank"}
"""Metrics between 0 and 1, whose own values are drawn unless asked otherwise: their zero needs no empty network."""


def _checked(table: pd.DataFrame) -> pd.DataFrame:
    if missing := [name for name in NEEDED if name not in table]:
        raise ValueError(f"the table of block ablation lacks the columns {', '.join(missing)}")
    return table


def shown(metric: str, show: str | None) -> str:
    """The column that is drawn: `faithfulness`, or `value` for metrics between 0 and 1."""
    if show is None:
        return "value" if metric in BRIGHT else "faithfulness"
    if show not in ("value", "faithfulness"):
        raise ValueError(f"show is {show!r}; valid are value, faithfulness")
    return show


def data(table: pd.DataFrame) -> pd.DataFrame:
    """The plotted rows, sorted by metric, mode, target and task."""
    order = {mode: number for number, mode in enumerate(TITLES)}
    return (
        _checked(table)
        .sort_values(["metric", "target", "task"], kind="stable")
        .sort_values("mode", key=lambda column: column.map(order), kind="stable")
        .sort_values("metric", kind="stable")
        .reset_index(drop=True)
    )


@style.styled
def draw(table: pd.DataFrame, *, show: str | None = None, width: style.Width = "double") -> Figure:
    """A matrix of targets by measured tasks for each metric, with the target's blocks removed and alone kept.

    Parameters
    ----------
    table
        Of `compgraph.evaluation.block_ablation.BlockAblation`.
    show
        `faithfulness` or `value`; None: values of metrics between 0 and 1, faithfulness of all others.
    width
        `double`: the two modes side by side; `single`: one above the other.
    """
    table = data(table)
    if table.empty:
        return style.message(style.new_figure(width, 1.6), "No ablated block to draw.")
    metrics, modes = list(dict.fromkeys(table["metric"])), list(dict.fromkeys(table["mode"]))
    targets, tasks = sorted(table["target"].unique()), sorted(table["task"].unique())
    total = style.WIDTHS[width]
    margin = 0.42 + max(style.text_width(spoken(name), style.SMALL) for name in targets)
    across = len(modes) if width == "double" else 1
    gap = 0.25
    # Wide enough for the panels' titles, however few the tasks.
    title = max(style.text_width(TITLES[mode], style.TEXT + 0.6) for mode in modes)
    wide = min((total - margin - 0.12 - gap * (across - 1)) / across, max(title, CELL_INCHES * len(tasks)))
    below = task_ticks(tasks, wide / len(tasks)) + 0.3
    high = ROW_INCHES * max(len(targets), 2)
    panel = high + below + 0.5
    rows = len(metrics) * (len(modes) // across)
    height = rows * panel + 0.05
    figure = style.new_figure(total, height)
    for number, (metric, mode) in enumerate((metric, mode) for metric in metrics for mode in modes):
        row, column = divmod(number, across)
        x = margin + column * (wide + gap)
        y = height - row * panel - 0.44 - high
        axes = figure.add_axes((x / total, y / height, wide / total, high / height))
        part = table[(table["metric"] == metric) & (table["mode"] == mode)]
        _panel(axes, part, targets, tasks, shown(metric, show), (wide, high))
        axes.set_title(TITLES[mode])
        axes.set_xlabel("measured task", labelpad=2)
        if column == 0:
            axes.set_ylabel("target", labelpad=4)
            heading = (margin / total, (y + high + 0.32) / height)
            figure.text(*heading, _quantity(metric, shown(metric, show)), color=style.MUTED, fontsize=style.SMALL)
        else:
            axes.set_yticks([])
    return figure


def _quantity(metric: str, column: str) -> str:
    name = metric.replace("_", " ")
    return name if column == "value" else f"faithfulness of {name}"


def _panel(
    axes: Axes, part: pd.DataFrame, targets: list[str], tasks: list[str], column: str, inches: tuple[float, float]
) -> None:
    values = part.pivot(index="target", columns="task", values=column).reindex(index=targets, columns=tasks)
    matrix = values.to_numpy(float)
    annotated(axes, matrix, targets, tasks, inches, limits=(0.0, 1.0), form=_two_digits)
    for i, target in enumerate(targets):
        for j, task in enumerate(tasks):
            if target == task:
                colour = "white" if matrix[i, j] > 0.55 else style.INK
                axes.add_patch(Rectangle((j + 0.03, i + 0.05), 0.94, 0.9, fill=False, edgecolor=colour, linewidth=1.1))
    if "q" not in part:
        return
    q = part.pivot(index="target", columns="task", values="q").reindex(index=targets, columns=tasks).to_numpy(float)
    for i, j in np.argwhere(q <= 0.05):
        dark = matrix[i, j] > 0.55
        colour = "white" if dark else style.INK
        axes.plot([j + 1 - 0.08 / (inches[0] / len(tasks))], [i + 0.08 / (inches[1] / len(targets))], ".", color=colour)
        axes.lines[-1].set_markersize(2.6)


def _two_digits(value: float) -> str:
    text = f"{value:.2f}" if abs(value) < 10 else f"{value:,.0f}"
    return text.replace("-0.00", "0.00").replace("-", "\u2212")


def caption(table: pd.DataFrame, *, show: str | None = None, subject: str = "") -> str:
    """What to look for, and what this run shows.

    Parameters
    ----------
    table, show
        As for `draw`.
    subject
        Model, graph and tasks in words.
    """
    opening = f"Block ablation{' of ' + subject if subject else ''}."
    table = data(table)
    if table.empty:
        return f"{opening} No block was ablated."
    metrics = list(dict.fromkeys(table["metric"]))
    facts = [_fact(table[table["metric"] == metric], metric, shown(metric, show)) for metric in metrics]
    grey = " Grey: no block serves the target, or there is nothing to lose." if _missing(table, show) else ""
    dots = " Dots mark cells beyond random nodes of the same kinds and number (q ≤ 0.05)." if "q" in table else ""
    scale = ""
    if any(shown(metric, show) == "faithfulness" for metric in metrics):
        scale = " Faithfulness is 1 for the whole network and 0 with the nodes of all blocks ablated."
    return (
        f"{opening} Rows: the task whose blocks are removed, or alone kept; columns: the task that is measured; framed:"
        f" the target itself.{scale}{dots}{grey} Look for a pale diagonal where blocks are removed and a dark one"
        f" where they are kept: blocks that their task needs and no other does. In this run, {'; '.join(facts)}."
    )


def _missing(table: pd.DataFrame, show: str | None) -> bool:
    return any(table.loc[table["metric"] == m, shown(m, show)].isna().any() for m in table["metric"].unique())


def _fact(part: pd.DataFrame, metric: str, column: str) -> str:
    said = []
    for mode, words in (("removed", "without its blocks a task keeps"), ("kept", "with them alone")):
        rows = part[part["mode"] == mode]
        own = rows.loc[rows["target"] == rows["task"], column].mean()
        others = rows.loc[rows["target"] != rows["task"], column].mean()
        if np.isfinite(own):
            rest = f", the others {_two_digits(others)}" if np.isfinite(others) else ""
            said.append(f"{words} {_two_digits(own)} on average{rest}")
    what = _quantity(metric, column)
    return f"{what}: {', '.join(said)}" if said else f"{what} is defined for no target"
