"""Task separability: which task each block serves, and whether that is more than chance."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from compgraph.figures import style
from compgraph.figures.heat import annotated, task_ticks

MOST_BLOCKS = 40
"""Rows drawn; of more blocks those with the most attribution."""
ROW_INCHES = 0.155
TITLE = "share of the block's attribution"
SHARE_COLUMNS = ("block", "task", "share", "of_task")
BLOCK_COLUMNS = ("block", "name", "weight", "specificity", "task", "q")


def data(shares: pd.DataFrame, blocks: pd.DataFrame, summary: pd.DataFrame | None = None) -> pd.DataFrame:
    """One row a block and task, blocks as they are drawn: by the task they serve most, then by specificity.

    Parameters
    ----------
    shares, blocks
        Of `compgraph.evaluation.separability.Separability`.
    summary
        Not plotted row by row; taken so that all three functions have the same arguments.
    """
    for table, needed in ((shares, SHARE_COLUMNS), (blocks, BLOCK_COLUMNS)):
        if missing := [name for name in needed if name not in table]:
            raise ValueError(f"the table of task separability lacks the columns {', '.join(missing)}")
    used = blocks[blocks["weight"] > 0].sort_values(["task", "specificity", "block"], ascending=[True, False, True])
    used = used.assign(row=np.arange(len(used))).rename(columns={"task": "serves"})
    joined = used.merge(shares, on="block").sort_values(["row", "task"], kind="stable")
    return joined.drop(columns="row").reset_index(drop=True)


@style.styled
def draw(
    shares: pd.DataFrame, blocks: pd.DataFrame, summary: pd.DataFrame | None = None, *, width: style.Width = "double"
) -> Figure:
    """Share of each block's attribution by task, the blocks' weights, and the index against its null.

    Parameters
    ----------
    shares, blocks
        Of `Separability`.
    summary
        `Separability.to_table()`: index and null; not drawn where it is None or its index undefined.
    width
        Page columns the figure fills; `single` leaves out the weights.
    """
    rows = data(shares, blocks)
    if rows.empty:
        return style.message(style.new_figure(width, 1.6), "No block with attribution to draw.")
    drawn, left_out = _heaviest(rows)
    tasks = sorted(drawn["task"].unique())
    names = drawn["name"].drop_duplicates().astype(str).tolist()
    total = style.WIDTHS[width]
    margin = 0.46 + max(style.text_width(name, style.SMALL) for name in names)
    wide = (0.5 * total if width == "double" else total - 0.15) - margin
    wide = min(wide, 0.9 * len(tasks))
    axis = summary is not None and bool(np.isfinite(summary["index"].iloc[0]))
    bottom = (0.62 if axis else 0.2) + task_ticks(tasks, wide / len(tasks))
    high = ROW_INCHES * max(len(names), 4)
    height = bottom + high + 0.32 + (0.16 if left_out else 0)
    figure = style.new_figure(total, height)
    axes = figure.add_axes((margin / total, bottom / height, wide / total, high / height))
    matrix = drawn.pivot(index="block", columns="task", values="share").loc[drawn["block"].drop_duplicates()].to_numpy()
    annotated(axes, matrix, names, tasks, (wide, high), limits=(0.0, 1.0), form=_percent)
    axes.set_title(TITLE)
    axes.set_ylabel("block", labelpad=4)
    if left_out:
        figure.text(
            margin / total, (height - 0.1) / height, left_out, va="center", fontsize=style.SMALL, color=style.MUTED
        )
    if width == "double":
        x = margin + max(wide, style.text_width(TITLE, style.TEXT + 0.5)) + 0.25
        panel = figure.add_axes((x / total, bottom / height, (total - x - 0.2) / total, high / height))
        _weights(panel, drawn, tasks)
    if axis and summary is not None:
        x = 0.95 if width == "double" else 0.6
        strip = figure.add_axes((x / total, 0.34 / height, (total - x - 0.2) / total, 0.14 / height))
        _index(figure, strip, summary.iloc[0], height)
    return figure


def _heaviest(rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The rows of the blocks that are drawn, and a sentence about the others."""
    blocks = rows.drop_duplicates("block")
    if len(blocks) <= MOST_BLOCKS:
        return rows, ""
    kept = set(blocks.nlargest(MOST_BLOCKS, "weight")["block"])
    rest = blocks[~blocks["block"].isin(kept)]
    share = style.percent(float(rest["weight"].sum()))
    return rows[rows["block"].isin(kept)], f"{style.count(len(rest), 'lighter block')} with {share} of it not drawn"


def _weights(axes: Axes, rows: pd.DataFrame, tasks: list[str]) -> None:
    """Bars: the block's share of all attribution, in the colour of the task it serves most."""
    blocks = rows.drop_duplicates("block")
    colours = style.series_colours(tasks)
    weight = blocks["weight"].to_numpy(float)
    place = np.arange(len(blocks)) + 0.5
    axes.barh(place, weight, height=0.7 * min(1, len(blocks) / 4), color=[colours[task] for task in blocks["serves"]])
    for y, w, q in zip(place, weight, blocks["q"].to_numpy(float), strict=True):
        if q <= 0.05:
            axes.text(w + 0.012 * weight.max(), y + 0.1, "*", va="center", fontsize=style.TEXT)
    axes.set_ylim(len(blocks), 0)
    axes.set_xlim(0, 1.12 * weight.max())
    axes.set_yticks([])
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0 if weight.max() > 0.04 else 1, symbol=" %"))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_title("block's share of all attribution")


def _index(figure: Figure, axes: Axes, row: pd.Series, height: float) -> None:
    """The index as a dot on a line from 0 to 1, the null's band behind it."""
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    if np.isfinite(row["low"]):
        axes.axvspan(float(row["low"]), max(float(row["high"]), float(row["low"]) + 0.003), color=style.FAINT, zorder=1)
    axes.plot([row["index"]], [0.5], "o", color=style.PALETTE[0], markersize=4.5, clip_on=False, zorder=3)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 (alike)", "0.25", "0.5", "0.75", "1 (disjoint)"])
    labels = axes.get_xticklabels()
    labels[0].set_horizontalalignment("left")
    labels[-1].set_horizontalalignment("right")
    axes.set_xlabel("separability index" + ("; shade: tasks shuffled" if np.isfinite(row["low"]) else ""), labelpad=1)


def _percent(value: float) -> str:
    return f"{100 * value:.0f}"


def caption(
    shares: pd.DataFrame, blocks: pd.DataFrame, summary: pd.DataFrame | None = None, *, subject: str = ""
) -> str:
    """What to look for, and what this run shows.

    Parameters
    ----------
    shares, blocks, summary
        As for `draw`.
    subject
        Model, graph and tasks in words.
    """
    opening = f"Task separability{' of ' + subject if subject else ''}."
    rows = data(shares, blocks)
    if rows.empty:
        return f"{opening} No block has any attribution."
    used = rows.drop_duplicates("block")
    certain = used[used["q"] <= 0.05]
    star = f" Stars mark blocks more specific than under shuffled tasks (q ≤ 0.05): {len(certain)} of {len(used)}."
    return (
        f"{opening} Numbers are per cent of a block's attribution that each task accounts for, every task counting"
        " alike; blocks are sorted by the task they serve most. Look for rows with one dark cell: blocks of"
        f" one task. Bars are the block's share of all attribution.{star}{_verdict(summary)}"
    )


def _verdict(summary: pd.DataFrame | None) -> str:
    if summary is None or summary.empty:
        return ""
    row = summary.iloc[0]
    if not np.isfinite(row["index"]):
        return f" The index is undefined: {row['reason']}."
    said = f" The index is {style.number(float(row['index']))}"
    if not np.isfinite(row["p"]):
        return f"{said}; it was compared with no null."
    return (
        f"{said} (0: all tasks use the blocks alike, 1: no block is shared), under shuffled tasks"
        f" {style.number(float(row['null_mean']))} on average (p = {style.number(float(row['p']))}); corrected for that"
        f" it is {style.number(float(row['adjusted']))}."
    )
