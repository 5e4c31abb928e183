"""Scaling: structure against the number of parameters."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from compgraph.figures import style

NEEDED = ("model", "n_parameters", "matched", "level", "quantity", "series", "value")
MOST = 16
"""Panels that are drawn, the first ones; the table holds the others."""
MARKERS = ("o", "s", "^", "D", "v", "P")
LINES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")
"""Of depths, in order."""
APART = 4.0
"""Factor between two sizes whose names do not touch."""


def _panels(table: pd.DataFrame) -> dict[tuple[str, str], pd.DataFrame]:
    """Rows of each panel: what circuits are matched by, and the quantity."""
    missing = [name for name in NEEDED if name not in table]
    if missing:
        raise ValueError(f"the table of sizes lacks the columns {', '.join(missing)}")
    known = table[np.isfinite(table["value"].astype(float))]
    groups: dict[Any, pd.DataFrame] = dict(list(known.groupby(["matched", "quantity"], sort=False)))
    return dict(list(groups.items())[:MOST])


@style.styled
def draw(table: pd.DataFrame, slopes: pd.DataFrame, *, width: style.Width = "double") -> Figure:
    """One panel for each quantity and way of matching, a point a model, a line through the means of each size.

    Models of different depths are joined apart, where the table has depths.

    Parameters
    ----------
    table, slopes
        Of `compgraph.emergence.scaling`.
    width
        Page columns the figure fills.
    """
    panels = _panels(table)
    if not panels:
        return style.message(style.new_figure(width, 1.6), "No model to draw.")
    columns = 1 if width == "single" else min(2, len(panels))
    rows = -(-len(panels) // columns)
    total, tall = style.WIDTHS[width], 1.95
    height, cell = rows * tall + 0.25, total / columns
    figure = style.new_figure(width, height)
    for k, ((matched, quantity), part) in enumerate(panels.items()):
        at, column = divmod(k, columns)
        box = (
            (column * cell + 0.55) / total, (height - (at + 1) * tall + 0.12) / height,
            (cell - 1.75) / total, (tall - 0.55) / height,
        )  # fmt: skip
        axes = figure.add_axes(box)
        _points(axes, part)
        axes.set_title(_title(matched, quantity))
        axes.set_xlabel("parameters" if k + columns >= len(panels) else "")
    return figure


def _title(matched: str, quantity: str) -> str:
    words = quantity.replace("_", " ")
    return words if matched == "nothing" else f"{words}, same {matched}"


def _points(axes: Axes, part: pd.DataFrame) -> None:
    colours = style.series_colours(part["series"].astype(str).unique())
    levels = sorted(part["level"].dropna().unique())
    depths = sorted(part["depth"].unique()) if "depth" in part else [None]
    for (series, level), rows in part.groupby(["series", "level"], sort=True, dropna=False):
        kind = levels.index(level) % len(MARKERS) if level in levels else 0
        look: dict[str, Any] = {"color": colours[str(series)], "marker": MARKERS[kind]}
        axes.plot(rows["n_parameters"], rows["value"], linestyle="none", markersize=2.6, alpha=0.55, **look)
        said = str(series) if len(colours) > 1 else ""
        label = ", ".join(word for word in (said, f"{level:g}" if level == level else "") if word)
        for k, depth in enumerate(depths):
            own = rows if depth is None else rows[rows["depth"] == depth]
            _means(axes, own, (label or None) if k == 0 else None, linestyle=LINES[k % len(LINES)], **look)
    axes.set_xscale("log")
    shown = _sizes(np.unique(part["n_parameters"].to_numpy(float)))
    axes.set_xticks(shown, [_short(size) for size in shown])
    axes.minorticks_off()
    handles, labels = axes.get_legend_handles_labels()
    if len(depths) > 1:
        handles += [Line2D([], [], color=style.MUTED, linestyle=LINES[k % len(LINES)]) for k in range(len(depths))]
        labels += [f"depth {depth:g}" for depth in depths]
    if labels:
        axes.legend(handles[:8], [label[:24] for label in labels[:8]], loc="upper left", bbox_to_anchor=(1.02, 1.05),
                    fontsize=style.SMALL - 1.5, handlelength=1.8)  # fmt: skip


def _means(axes: Axes, rows: pd.DataFrame, label: str | None, **look: Any) -> None:
    """A line through the means of each size, and what chance gives there."""
    means = rows.groupby("n_parameters")["value"].mean()
    axes.plot(means.index, means, linewidth=1.0, markersize=3.4, label=label, **look)
    if {"null_low", "null_high"} <= set(rows) and rows["null_low"].notna().any():
        null = rows.groupby("n_parameters")[["null_low", "null_high"]].mean()
        axes.fill_between(null.index, null["null_low"], null["null_high"], color=style.FAINT, alpha=0.3, linewidth=0)


def _sizes(sizes: NDArray[Any]) -> list[float]:
    """Sizes that are named: the ends, and powers of ten that are not near them."""
    first, last = float(sizes[0]), float(sizes[-1])
    if last < APART * first:
        return [last]
    powers = 10.0 ** np.arange(np.ceil(np.log10(first)), np.floor(np.log10(last)) + 1)
    return [first, *(float(one) for one in powers if first * APART <= one <= last / APART), last]


def _short(size: float) -> str:
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if size >= unit:
            return f"{size / unit:.3g}{letter}"
    return f"{size:.0f}"


def data(table: pd.DataFrame, slopes: pd.DataFrame) -> pd.DataFrame:
    """The rows that are drawn, panel by panel."""
    panels = _panels(table)
    return pd.concat(list(panels.values()), ignore_index=True) if panels else table.iloc[:0]


def caption(table: pd.DataFrame, slopes: pd.DataFrame, *, subject: str = "") -> str:
    """What to look for, and which slopes differ from 0.

    Parameters
    ----------
    table, slopes
        As for `draw`.
    subject
        The models in words.
    """
    models, sizes = table["model"].nunique(), table["n_parameters"].nunique()
    opening = (
        f"Structure against size{': ' + subject if subject else ''}. {style.count(models, 'model')} of"
        f" {style.count(sizes, 'size')}, a point each; lines join the means of one depth. Grey shades are what chance"
        " gives. Circuits are compared at the same share of the edges and at the same faithfulness."
    )
    plain = slopes[(slopes["axis"] == "log10_parameters") & ~slopes["adjusted"].astype(bool)]
    tested = plain[np.isfinite(plain["p"].astype(float))]
    if tested.empty:
        return f"{opening} No slope has an interval."
    apart = tested[tested["p"] <= 0.05].sort_values("p", kind="stable")
    facts = [
        f"{_title(one['matched'], one['quantity'])}{'' if one['level'] != one['level'] else format(one['level'], ' g')}"
        f" ({one['series']}) {one['slope']:+.3g} [{one['low']:.3g}, {one['high']:.3g}]"
        for one in apart.head(4).to_dict("records")
    ]
    said = f" per factor of ten in parameters: {'; '.join(facts)}" if facts else ""
    return f"{opening} {len(apart)} of {len(tested)} slopes differ from 0 at p <= 0.05, unadjusted{said}."
