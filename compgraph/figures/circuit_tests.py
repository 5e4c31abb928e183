"""The tests of one circuit: their p-values, and what each says."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from compgraph.figures import style

NEEDED = ("test", "p", "passes", "verdict", "alpha")
ROW_INCHES = 0.2
LEAST = 1e-6
"""Smallest p that has a place of its own on the axis."""


def data(table: pd.DataFrame) -> pd.DataFrame:
    """The plotted rows.

    Parameters
    ----------
    table
        Of `compgraph.evaluation.circuit_tests`, with the column `alpha`; without rows where there was no circuit.
    """
    if missing := [name for name in NEEDED if name not in table and len(table)]:
        raise ValueError(f"the table of circuit tests lacks the columns {', '.join(missing)}")
    return table.reset_index(drop=True)


@style.styled
def draw(table: pd.DataFrame, *, width: style.Width = "double") -> Figure:
    """A dot for every test on a logarithmic axis of p; filled where the circuit passes.

    Parameters
    ----------
    table
        See `data`.
    width
        Page columns the figure fills; `single` leaves the verdicts to the caption.
    """
    table = data(table)
    if table.empty:
        return style.message(style.new_figure(width, 1.6), "No connected circuit to test.")
    total = style.WIDTHS[width]
    left = 0.2 + max(style.text_width(name, style.SMALL) for name in table["test"])
    verdicts = max(style.text_width(text, style.SMALL) for text in table["verdict"]) if width == "double" else 0.0
    wide, high = total - left - 0.4 - verdicts, ROW_INCHES * len(table)
    height = high + 0.62
    figure = style.new_figure(total, height)
    axes = figure.add_axes((left / total, 0.42 / height, wide / total, high / height))
    places = np.arange(len(table)) + 0.5
    p = table["p"].to_numpy(float)
    known = np.isfinite(p)
    shown = np.clip(p, LEAST, 1)
    colours = [style.PALETTE[0] if passes else style.PALETTE[1] for passes in table["passes"]]
    axes.hlines(places[known], shown[known], 1, color=style.FAINT, linewidth=1, zorder=1)
    axes.scatter(
        shown[known], places[known], s=20, zorder=3, clip_on=False,
        color=[one for one, there in zip(colours, known, strict=True) if there],
    )  # fmt: skip
    axes.axvline(float(table["alpha"].iloc[0]), color=style.MUTED, linewidth=0.9, linestyle=(0, (4, 1.6)), zorder=2)
    axes.set_xscale("log")
    axes.set_xlim(min(LEAST, 1e-6) if (p[known] < 1e-4).any() else 1e-4, 1)
    axes.set_ylim(len(table), 0)
    axes.set_yticks(places, table["test"])
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("p (dashed: level of significance)", labelpad=2)
    if width == "double":
        for place, text, colour in zip(places, table["verdict"], colours, strict=True):
            axes.annotate(
                text, (1, place), xytext=(8, 0), textcoords="offset points", va="center", fontsize=style.SMALL,
                color=colour, annotation_clip=False,
            )  # fmt: skip
    return figure


def caption(table: pd.DataFrame, *, subject: str = "") -> str:
    """What to look for, and what this run shows."""
    opening = f"Tests of a circuit{' of ' + subject if subject else ''} (Shi et al. 2024)."
    table = data(table)
    if table.empty:
        return f"{opening} The graph has no circuit of this size that connects input and output."
    said = "; ".join(f"{row.test}: {row.verdict}" for row in table.itertuples())
    return (
        f"{opening} Equivalence, independence and minimality ask whether something speaks against the circuit (a small"
        " p does), sufficiency and partial necessity whether it does better than random circuits (a small p says so)."
        f" Blue: the circuit passes; {int(table['passes'].sum())} of {len(table)} do. {said[0].upper()}{said[1:]}."
    )
