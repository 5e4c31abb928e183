"""How well methods find edges that are known: a ROC and a precision-recall curve for each method."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from compgraph.figures import style

ROC, RECALL = style.PALETTE[0], style.PALETTE[1]
CURVE_COLUMNS = ("case", "method", "fpr", "tpr", "precision")
AREA_COLUMNS = ("case", "method", "auroc", "auprc")
PANEL, GAP, TITLE, FOOT = 0.92, 0.2, 0.36, 0.42
GRID = np.linspace(0, 1, 201)


def data(curves: pd.DataFrame, areas: pd.DataFrame) -> pd.DataFrame:
    """The curves, methods from the best to the worst mean area under the ROC curve.

    Parameters
    ----------
    curves, areas
        Of `compgraph.evaluation.ground_truth.KnownEdges`.
    """
    for table, needed in ((curves, CURVE_COLUMNS), (areas, AREA_COLUMNS)):
        if missing := [name for name in needed if name not in table]:
            raise ValueError(f"the table of known edges lacks the columns {', '.join(missing)}")
    rank = {name: place for place, name in enumerate(_ranked(areas)["method"])}
    order = np.argsort(curves["method"].map(rank).to_numpy(), kind="stable")
    return curves.iloc[order].reset_index(drop=True)


def _ranked(areas: pd.DataFrame) -> pd.DataFrame:
    """One row a method: mean, smallest and largest area over the cases that it served, best first."""
    served = areas[areas["auroc"].notna()]
    found = served.groupby("method", sort=False).agg(
        auroc=("auroc", "mean"), least=("auroc", "min"), most=("auroc", "max"), auprc=("auprc", "mean")
    )
    return found.sort_values(["auroc", "auprc"], ascending=False, kind="stable").reset_index()


@style.styled
def draw(curves: pd.DataFrame, areas: pd.DataFrame, *, width: style.Width = "double") -> Figure:
    """One panel a method: thin lines are networks, the thick one their mean.

    Parameters
    ----------
    curves, areas
        Of `KnownEdges`.
    width
        Page columns the figure fills: six panels a row, or three.
    """
    rows, ranked = data(curves, areas), _ranked(areas)
    if ranked.empty:
        return style.message(style.new_figure(width, 1.6), "No method served any network.")
    total = style.WIDTHS[width]
    columns = min(len(ranked), 6 if width == "double" else 3)
    n_rows = -(-len(ranked) // columns)
    left = 0.42
    panel = min(PANEL, (total - left - 0.1) / columns - GAP)
    height = n_rows * (panel + TITLE) + FOOT + 0.08
    figure = style.new_figure(width, height)
    for number, row in enumerate(ranked.itertuples()):
        x = left + (number % columns) * (panel + GAP)
        y = height - (number // columns + 1) * (panel + TITLE)
        axes = figure.add_axes((x / total, y / height, panel / total, panel / height))
        _panel(axes, rows[rows["method"] == row.method])
        axes.set_title(_fitted(str(row.method), panel), pad=11, loc="left", fontsize=style.SMALL)
        words = f"{_area(row.auroc)}, {_area(row.auprc)}"
        axes.text(0, 1.03, words, transform=axes.transAxes, fontsize=style.SMALL - 0.5, color=style.MUTED)
        if number % columns:
            axes.set_yticklabels([])
        if number + columns < len(ranked):
            axes.set_xticklabels([])
    _legend(figure, total)
    return figure


def _fitted(text: str, room: float) -> str:
    """The text, cut with an ellipsis where it is wider than the panel and its gap."""
    while style.text_width(text, style.SMALL + 0.6) > room + GAP - 0.1 and len(text) > 4:
        text = text[:-2].rstrip("-… ") + "…"
    return text


def _area(value: float) -> str:
    """Two decimals, cut rather than rounded: only what is 1 reads 1."""
    return "1" if value == 1 else f"{int(100 * value) / 100:.2f}"


def _panel(axes: Axes, rows: pd.DataFrame) -> None:
    axes.plot([0, 1], [0, 1], color=style.FAINT, linewidth=0.8, zorder=0)
    shapes = {ROC: _roc, RECALL: _precision}
    for colour, shape in shapes.items():
        found = [shape(case) for _, case in rows.groupby("case", sort=False)]
        for values in found:
            axes.plot(GRID, values, color=colour, linewidth=0.5, alpha=0.35, zorder=1)
        axes.plot(GRID, np.mean(found, axis=0), color=colour, linewidth=1.3, zorder=2)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.05)
    axes.set_xticks([0, 1], ["0", "1"])
    axes.set_yticks([0, 1], ["0", "1"])


def _roc(case: pd.DataFrame) -> NDArray[Any]:
    """True positive rate at each false positive rate of `GRID`: straight between thresholds, as the area is."""
    reached = case.groupby("fpr")["tpr"].max()
    return np.asarray(np.interp(GRID, reached.index.to_numpy(dtype=float), reached.to_numpy(dtype=float)))


def _precision(case: pd.DataFrame) -> NDArray[Any]:
    """Precision at the first threshold that reaches each recall of `GRID`: steps, as average precision is."""
    reached = case.groupby("tpr")["precision"].max()
    first = np.searchsorted(reached.index.to_numpy(dtype=float), GRID - 1e-12)
    return np.asarray(reached.to_numpy(dtype=float)[first])


def _legend(figure: Figure, total: float) -> None:
    handles = [
        Line2D([], [], color=ROC, label="ROC: true against false positive rate"),
        Line2D([], [], color=RECALL, label="precision against recall"),
    ]
    columns = 2 if total > 5 else 1
    figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.02, 0.0), ncols=columns, frameon=False,
                  fontsize=style.SMALL, borderaxespad=0.15, labelspacing=0.2)  # fmt: skip


def caption(curves: pd.DataFrame, areas: pd.DataFrame, *, subject: str = "") -> str:
    """What to look for, and what this run shows.

    Parameters
    ----------
    curves, areas
        Of `KnownEdges`.
    subject
        Not used: the networks belong to no study.
    """
    ranked = _ranked(areas)
    opening = "Known edges found: transformers compiled from programs, so that their true edges are known."
    if ranked.empty:
        return f"{opening} No method served any network."
    perfect = ranked[ranked["least"] == 1]["method"].astype(str).tolist()
    rest = ranked[ranked["least"] < 1]
    verb = "ranks" if len(perfect) == 1 else "rank"
    said = f"{', '.join(perfect)} {verb} every true edge above every other in all of them" if perfect else ""
    others = "; ".join(
        f"{row.method} {_area(row.auroc)} ({_area(row.least)} to {_area(row.most)})" for row in rest.itertuples()
    )
    refused = areas[areas["auroc"].isna()]
    left_out = "".join(
        f" {method} refused {style.count(len(rows), 'network')}."
        for method, rows in refused.groupby("method", sort=False)
    )
    chance = ranked.set_index("method")["auroc"].get("random")
    level = f" Random scores reach {_area(float(chance))}." if chance is not None else ""
    cases = style.count(areas["case"].nunique(), "network")
    return (
        f"{opening} Thin lines are {cases}, thick ones their mean; the numbers above a panel are the mean areas under"
        " the ROC and the precision-recall curve, cut to two decimals. Look for curves that hug the upper corners. In"
        f" this run {said or 'no method is perfect on all of them'}."
        f"{' Mean areas (smallest to largest): ' + others + '.' if others else ''}{level}{left_out}"
    )
