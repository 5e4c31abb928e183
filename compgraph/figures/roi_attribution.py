"""What regions respond to: regions by inputs, and regions by classes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from compgraph.figures import style
from compgraph.figures.heat import annotated, spoken, task_ticks
from compgraph.figures.matrix import frame, runs

ROI_COLUMNS = ("roi", "site", "size")
RESPONSE_COLUMNS = ("roi", "item", "class", "response")
MOST_ROIS = 60
ROW_INCHES = 0.12
RANGE = 2.0
"""Responses, in standard deviations of a unit, from which the colour is the darkest."""


def data(rois: pd.DataFrame, responses: pd.DataFrame) -> pd.DataFrame:
    """One row a region and item, as they are drawn: regions by the class they respond to most, items by class.

    Parameters
    ----------
    rois, responses
        Of `compgraph.rois.describe.describe_rois` and `compgraph.rois.responses.Responses.to_table`.
    """
    for table, needed in ((rois, ROI_COLUMNS), (responses, RESPONSE_COLUMNS)):
        if missing := [name for name in needed if name not in table]:
            raise ValueError(f"the table of regions lacks the columns {', '.join(missing)}")
    known = rois.assign(top_class=rois.get("top_class", ""), selectivity=rois.get("selectivity", np.nan))
    order = known.sort_values(["top_class", "selectivity", "roi"], ascending=[True, False, True], kind="stable")
    place = pd.Series(np.arange(len(order)), index=order["roi"])
    joined = responses.merge(known[["roi", "site", "top_class", "selectivity"]], on="roi")
    joined = joined.assign(row=joined["roi"].map(place)).sort_values(["row", "class", "item"], kind="stable")
    return joined.drop(columns="row").reset_index(drop=True)


@style.styled
def draw(rois: pd.DataFrame, responses: pd.DataFrame, *, width: style.Width = "double") -> Figure:
    """Left: the response of each region to each input. Right: the same averaged by class.

    Parameters
    ----------
    rois, responses
        As for `data`; of more than 60 regions the most selective are drawn.
    width
        Page columns the figure fills; `single` leaves out the inputs.
    """
    rows = _drawn(data(rois, responses))
    if rows.empty:
        return style.message(style.new_figure(width, 1.6), "No site is divided into regions.")
    names, matrix, classes = _matrix(rows)
    groups = runs(classes)
    total, margin = style.WIDTHS[width], 0.2 + max(style.text_width(name, style.SMALL) for name in names)
    several = classes[0] != classes[-1]
    left = (0.5 if several else 1.0) * (total - margin - 0.4) if width == "double" or not several else 0.0
    right = total - margin - 0.25 - (left + 0.2 if left else 0) if several else 0.0
    high = ROW_INCHES * max(len(names), 6)
    bottom = 0.3 + (task_ticks([g[0] for g in groups], right / len(groups)) if several else 0.15)
    height = bottom + high + 0.3
    figure = style.new_figure(total, height)
    x = margin
    if left:
        axes = figure.add_axes((x / total, bottom / height, left / total, high / height))
        _inputs(axes, matrix, groups, left)
        axes.set_yticks(np.arange(len(names)) + 0.5, names)
        axes.set_title("response to each input")
        x += left + 0.2
    if several:
        axes = figure.add_axes((x / total, bottom / height, right / total, high / height))
        means = np.stack([matrix[:, start:stop].mean(axis=1) for _, start, stop in groups], axis=1)
        annotated(
            axes, means, names, [g[0] for g in groups], (right, high), limits=(-RANGE, RANGE), cmap=style.DIVERGING
        )
        axes.set_title("mean by class")
        if left:
            axes.set_yticks([])
    return figure


def _drawn(rows: pd.DataFrame) -> pd.DataFrame:
    best = rows.drop_duplicates("roi").sort_values("selectivity", ascending=False, kind="stable")["roi"][:MOST_ROIS]
    return rows[rows["roi"].isin(set(best))]


def _matrix(rows: pd.DataFrame) -> tuple[list[str], NDArray[np.float64], list[str]]:
    """Names of the regions, responses [regions, items], and the class of each item."""
    names = rows["roi"].drop_duplicates().astype(str).tolist()
    matrix = rows["response"].to_numpy(np.float64).reshape(len(names), -1)
    return names, matrix, rows["class"].astype(str).tolist()[: matrix.shape[1]]


def _inputs(axes: Axes, matrix: NDArray[np.float64], groups: list[tuple[object, int, int]], inches: float) -> None:
    n, m = matrix.shape
    axes.imshow(
        matrix, cmap=style.DIVERGING, vmin=-RANGE, vmax=RANGE, extent=(0, m, n, 0), aspect="auto", interpolation="none"
    )
    for _, start, _ in groups[1:]:
        axes.axvline(start, color=style.INK, linewidth=0.3)
    wide = [style.text_width(spoken(name), style.SMALL) < inches * (stop - start) / m for name, start, stop in groups]
    axes.set_xticks([(a + b) / 2 for _, a, b in groups], [spoken(g[0]) if w else "" for g, w in zip(groups, wide)])  # noqa: B905
    axes.tick_params(length=0)
    frame(axes)


def caption(rois: pd.DataFrame, responses: pd.DataFrame, *, subject: str = "") -> str:
    """What to look for, and what this run shows.

    Parameters
    ----------
    rois, responses
        As for `data`.
    subject
        Model, site and data in words.
    """
    opening = f"Responses of regions of interest{' of ' + subject if subject else ''}."
    if rois.empty:
        return f"{opening} No site is divided into regions."
    said = (
        f"{opening} A region's response is the mean of its units, each standardised. Inputs are sorted by class, "
        "regions by the class that they respond to most. Look for regions (rows) that respond to one class alone."
    )
    if "p_adjusted" not in rois:
        return f"{said} {style.count(len(rois), 'region')}; the inputs have no classes."
    found = int((rois["p_adjusted"] <= 0.05).sum())
    middle = float(rois["selectivity"].median())
    chance = float(rois["null"].median())
    return (
        f"{said} Selectivity is the share of a response's variance that lies between classes: its median over "
        f"{style.count(len(rois), 'region')} is {middle:.2f}, {chance:.2f} with classes shuffled; {found} of them are "
        "selective at an adjusted p of 0.05."
    )
