"""Network statistics: each measure beside the distribution that its null model gives."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from compgraph.figures import style

NEEDED = ("measure", "value", "null_mean", "null_sd", "low", "q25", "median", "q75", "high", "z", "q", "null", "reason")
ROW_INCHES = 0.19
FALSE_DISCOVERIES = 0.05
LINEAR = 3.0
"""Deviations up to which the axis is linear; beyond, it is logarithmic."""

COLUMN_INCHES = (0.62, 1.05, 0.5, 0.5)
HEADS = ("value", "null mean ± sd", "z", "q")
TICKS = (-1000, -100, -10, -3, 0, 3, 10, 100, 1000)


def data(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the figure: tested measures in their order, then the others with a value.

    Parameters
    ----------
    table
        Of `compgraph.statistics.network_statistics`.
    """
    if missing := [name for name in NEEDED if name not in table]:
        raise ValueError(f"the table of network statistics lacks the columns {', '.join(missing)}")
    tested = np.isfinite(table["z"].to_numpy(float))
    valued = np.isfinite(table["value"].to_numpy(float))
    return pd.concat([table[tested], table[valued & ~tested]], ignore_index=True)


@style.styled
def draw(table: pd.DataFrame, *, width: style.Width = "double") -> Figure:
    """A row for each measure: the null's middle half and 95 % as bars, the graph's value as a dot.

    Parameters
    ----------
    table
        See `data`.
    width
        Page columns the figure fills; `single` leaves out the numbers.
    """
    table = data(table)
    if table.empty:
        return style.message(style.new_figure(width, 1.6), "No measure has a value for this graph.")
    total = style.WIDTHS[width]
    numbers = sum(COLUMN_INCHES) if width == "double" else 0.1
    left = 0.2 + max(style.text_width(_name(name), style.SMALL) for name in table["measure"])
    wide, high = total - left - numbers - 0.15, ROW_INCHES * len(table)
    height = high + 0.72
    figure = style.new_figure(total, height)
    axes = figure.add_axes((left / total, 0.45 / height, wide / total, high / height))
    tested = np.isfinite(table["z"].to_numpy(float))
    if tested.any():
        _distributions(axes, table[tested])
    axes.set_ylim(len(table), 0)
    axes.set_yticks(np.arange(len(table)) + 0.5, [_name(name) for name in table["measure"]])
    axes.tick_params(axis="y", length=0)
    _scale(axes, table.loc[tested, "z"].to_numpy(float))
    for row in range(1, len(table), 2):
        axes.axhspan(row, row + 1, color=style.BAND, zorder=0, linewidth=0)
    for place, reason in zip(np.flatnonzero(~tested) + 0.5, table.loc[~tested, "reason"], strict=True):
        axes.annotate(
            _fitted(reason, wide - 0.1), (0.02, place), xycoords=axes.get_yaxis_transform(), va="center",
            fontsize=style.SMALL - 0.5, color=style.MUTED,
        )  # fmt: skip
    if width == "double":
        _numbers(axes, table, wide)
    return figure


def _distributions(axes: Axes, tested: pd.DataFrame) -> None:
    places = tested.index.to_numpy(float) + 0.5
    scaled = {
        name: ((tested[name] - tested["null_mean"]) / tested["null_sd"]).to_numpy(float)
        for name in ("low", "q25", "median", "q75", "high")
    }
    axes.axvline(0, color=style.FAINT, linewidth=0.7, zorder=1)
    axes.hlines(places, scaled["low"], scaled["high"], color=style.MUTED, linewidth=1.0, zorder=2)
    axes.hlines(places, scaled["q25"], scaled["q75"], color=style.tint(style.MUTED, 0.45), linewidth=5.0, zorder=3)
    axes.scatter(scaled["median"], places, marker="|", s=22, linewidths=0.9, color=style.INK, zorder=4)
    found = (tested["q"] <= FALSE_DISCOVERIES).to_numpy()
    for chosen, colour in ((found, style.PALETTE[1]), (~found, style.PALETTE[0])):
        axes.scatter(
            tested["z"].to_numpy(float)[chosen], places[chosen], s=20, color=colour, zorder=5, edgecolors="white",
            linewidths=0.5, clip_on=False,
        )  # fmt: skip


def _scale(axes: Axes, z: np.ndarray) -> None:
    """Linear near the null, logarithmic far from it."""
    reach = max(LINEAR + 1.0, 1.25 * float(np.abs(z).max())) if len(z) else LINEAR + 1.0
    axes.set_xscale("symlog", linthresh=LINEAR, linscale=1.6)
    axes.set_xlim(-reach, reach)
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in TICKS if abs(tick) <= reach]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "\u2212")))
    axes.set_xlabel("deviations of the null from its mean (z)", labelpad=2)


def _numbers(axes: Axes, table: pd.DataFrame, wide: float) -> None:
    """Columns of numbers right of the axes."""
    right = 0.0
    for head, inches in zip(HEADS, COLUMN_INCHES, strict=True):
        right += inches
        at = 1 + right / wide
        axes.annotate(
            head, (at, 1), xytext=(0, 4), xycoords="axes fraction", textcoords="offset points", ha="right",
            fontsize=style.SMALL, color=style.MUTED, annotation_clip=False,
        )  # fmt: skip
        for place, row in enumerate(table.to_dict("records")):
            axes.annotate(
                _cell(head, row), (at, place + 0.5), xycoords=axes.get_yaxis_transform(), ha="right", va="center",
                fontsize=style.SMALL, annotation_clip=False,
            )  # fmt: skip


def _cell(head: str, row: dict[str, float]) -> str:
    if head == "value":
        return style.number(row["value"])
    if not np.isfinite(row["z"]):
        return ""
    if head == HEADS[1]:
        return f"{style.number(row['null_mean'])} ± {style.number(row['null_sd'])}"
    return style.number(round(row["z"], 2)) if head == "z" else f"{row['q']:.2g}"


def _name(measure: str) -> str:
    return measure.replace("_", " ")


def _fitted(text: str, inches: float) -> str:
    """The beginning of a text that has room, up to a whole word."""
    if style.text_width(text, style.SMALL) <= inches:
        return text
    words = text.split(" ")
    while len(words) > 1 and style.text_width(" ".join(words) + " …", style.SMALL) > inches:
        words.pop()
    return " ".join(words) + " …"


def caption(table: pd.DataFrame, *, subject: str = "") -> str:
    """What to look for, and what this run shows."""
    opening = f"Network statistics{' of ' + subject if subject else ''}."
    rows = data(table)
    if rows.empty:
        return f"{opening} No measure has a value for this graph."
    tested = rows[np.isfinite(rows["z"])]
    if tested.empty:
        return f"{opening} No measure could be compared with a null model: {rows['reason'].iloc[0]}."
    found = tested[tested["q"] <= FALSE_DISCOVERIES]
    names = ", ".join(_name(name) for name in found["measure"])
    said = f"{len(found)} of {len(tested)} differ from chance ({names})" if len(found) else "None differs from chance"
    return (
        f"{opening} Each row shows one measure in standard deviations of {int(tested['n_nulls'].max()):,} graphs of the"
        f" null model “{tested['null'].iloc[0]}”: grey line 95 % of them, bar the middle half, tick the median, dot the"
        f" graph. {said} at a false discovery rate of {FALSE_DISCOVERIES:.0%} (vermilion).".replace("5%", "5 %")
    )
