"""Emergence: behaviour, circuits and structure against the training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from compgraph.figures import style

NEEDED = ("step", "quantity", "value")
PANELS: dict[str, str] = {
    "accuracy": "task accuracy",
    "faithfulness": "faithfulness at a fixed size",
    "n_blocks": "number of blocks",
    "description_length_per_edge": "description length per edge",
    "compression": "compression by blocks",
    "modularity": "modularity",
    "circuit_modularity": "modularity of circuits",
    "separability": "separability of tasks",
    "edge_overlap": "edges kept from the checkpoint before",
    "edge_rank_correlation": "rank correlation with the one before",
    "region_ari": "regions kept from the checkpoint before",
    "block_ari": "blocks kept from the checkpoint before",
}
"""Quantities in the order of their panels, with their axis labels; others follow under their own names."""
MAX_NAMES = 11
MANY_STEPS = 12
"""From more checkpoints than this on, round steps are named and not their own."""
TICK_GAP = 0.06
"""Inches between the names of two steps."""
OVERHANG = 0.1
"""Inches that the name of a step may reach to the right of its panel, where the names of the curves are."""
SHARES = ("accuracy", "faithfulness")
BANDS: dict[tuple[str, str], Callable[[str], dict[str, Any]]] = {
    ("low", "high"): lambda colour: {"color": colour, "alpha": 0.16, "zorder": 2},
    ("null_low", "null_high"): lambda colour: {"color": style.FAINT, "alpha": 0.35, "zorder": 1},
}
"""Columns of the ends of a band, and how it is filled: intervals in the curve's colour, chance in grey."""


def _checked(table: pd.DataFrame) -> pd.DataFrame:
    missing = [name for name in NEEDED if name not in table]
    if missing:
        raise ValueError(f"the emergence table lacks the columns {', '.join(missing)}")
    if "series" not in table:
        table = table.assign(series="")
    return table[np.isfinite(table["value"].astype(float))].reset_index(drop=True)


def panels(table: pd.DataFrame) -> list[str]:
    """Quantities of the table in the order of their panels."""
    present = list(dict.fromkeys(table["quantity"]))
    known = [name for name in PANELS if name in present]
    return known + [name for name in present if name not in PANELS]


@style.styled
def draw(table: pd.DataFrame, changes: pd.DataFrame | None = None, *, width: style.Width = "double") -> Figure:
    """One panel per quantity, sharing the axis of training steps.

    Parameters
    ----------
    table
        One row per checkpoint, quantity and series: step (0 = before training), quantity (`accuracy`,
        `faithfulness`, `n_blocks`, `modularity` or another name), value, optionally series (task or graph),
        low and high (interval), null_low and null_high (what chance gives).
    changes
        Changes of level (`compgraph.emergence.changes`), with quantity and series: a vertical line each that was
        found.
    width
        Page columns the figure fills.
    """
    table = _checked(table)
    if table.empty:
        return style.message(style.new_figure(width, 1.6), "No checkpoint to draw.")
    quantities = panels(table)
    colours = style.series_colours(table["series"].astype(str).unique())
    total = style.WIDTHS[width]
    columns = 1 if width == "single" or len(quantities) == 1 else 2
    rows = -(-len(quantities) // columns)
    cell, tall = total / columns, 1.75
    height = rows * tall + 0.3
    figure = style.new_figure(width, height)
    for position, quantity in enumerate(quantities):
        row, column = divmod(position, columns)
        last = position + columns >= len(quantities)
        box = (
            (column * cell + 0.55) / total,
            (height - (row + 1) * tall + 0.1) / height,
            (cell - 1.62) / total,
            (tall - 0.42) / height,
        )
        axes = figure.add_axes(box)
        part = table[table["quantity"] == quantity]
        _panel(axes, part, quantity, colours)
        _mark(axes, changes, quantity, colours)
        _steps(axes, table["step"].to_numpy(dtype=float))
        axes.set_xlabel("training step" if last else "")
        axes.set_title(PANELS.get(quantity, quantity.replace("_", " ")))
        _names(axes, part, colours, room=0.95)
    return figure


def _mark(axes: Axes, changes: pd.DataFrame | None, quantity: str, colours: dict[str, str]) -> None:
    """A line at the middle of each change that was found."""
    if changes is None or changes.empty:
        return
    found = changes[changes["found"].astype(bool) & (changes["quantity"] == quantity)]
    for one in found.to_dict("records"):
        middle = np.sqrt(max(one["after"], one["before"] / 4) * one["before"])
        axes.axvline(middle, color=colours.get(str(one["series"]), style.FAINT), linewidth=0.8, linestyle=":", zorder=1)


def _panel(axes: Axes, part: pd.DataFrame, quantity: str, colours: dict[str, str]) -> None:
    if quantity in SHARES:
        for level in (0.0, 1.0):
            axes.axhline(level, color=style.FAINT, linewidth=0.7, zorder=0)
    for name, curve in part.groupby(part["series"].astype(str), sort=True):
        curve = curve.sort_values("step", kind="stable")
        steps, values = curve["step"].to_numpy(dtype=float), curve["value"].to_numpy(dtype=float)
        axes.plot(steps, values, marker="o", markersize=2.8, color=colours[str(name)], zorder=3)
        for ends, look in BANDS.items():
            if set(ends) <= set(curve.columns) and curve[list(ends)].notna().any(axis=None):
                low, high = (curve[end].to_numpy(dtype=float) for end in ends)
                axes.fill_between(steps, low, high, linewidth=0, **look(colours[str(name)]))
    low, high = float(part["value"].min()), float(part["value"].max())
    if quantity in SHARES:
        axes.set_ylim(min(-0.05, low - 0.05), max(1.05, high + 0.05))
    elif quantity == "n_blocks":
        axes.set_ylim(0, high * 1.12 + 0.5)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    elif low == high:
        axes.set_ylim(low - 0.5, high + 0.5)


def _steps(axes: Axes, steps: NDArray[Any]) -> None:
    """Logarithmic steps with a place for step 0; a few ticks that do not touch."""
    positive = np.unique(steps[steps > 0])
    if len(positive) == 0:
        axes.set_xticks([0.0])
        return
    first, last = float(positive[0]), float(positive[-1])
    # Step 0 lies one first-step left of the first step: linear there, logarithmic from it on.
    axes.set_xscale("symlog", linthresh=first, linscale=0.6)
    start = 0.0 if (steps <= 0).any() else first
    axes.set_xlim(start - 0.12 * first if start == 0 else first / 1.15, last * 1.18)
    axes.xaxis.set_major_locator(FixedLocator(_ticks(axes, start, positive)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: step_name(value)))


def _ticks(axes: Axes, start: float, positive: NDArray[Any]) -> list[float]:
    """Steps that are named: the checkpoints' own, round ones where they are many; as many as have room, ends first."""
    first, last = float(positive[0]), float(positive[-1])
    decades = 10.0 ** np.arange(np.floor(np.log10(first)), np.ceil(np.log10(last)) + 1)
    if len(positive) > MANY_STEPS:
        inner = np.concatenate([decades, 2 * decades, 5 * decades])
        inner = np.concatenate([decades, np.sort(inner)])
        inner = inner[(inner > first) & (inner < last)]
    else:
        inner = positive[1:-1]
    at = axes.transData.transform
    edge = float(axes.bbox.x1) / axes.figure.dpi + OVERHANG
    kept: dict[float, tuple[float, float]] = {}
    for step in [start, last, first, *inner]:
        middle = float(at((step, 0))[0]) / axes.figure.dpi
        half = style.text_width(step_name(step), style.TEXT) / 2 + TICK_GAP / 2
        if middle + half <= edge and all(abs(middle - other) >= half + width for other, width in kept.values()):
            kept[float(step)] = middle, half
    return sorted(kept)


def step_name(step: float) -> str:
    """`0`, `64`, `2k`, `1.5M`."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if step >= size:
            return f"{step / size:g}{unit}"
    return f"{step:g}"


def _names(axes: Axes, part: pd.DataFrame, colours: dict[str, str], room: float) -> None:
    """Name the curves at their last point, moved apart so that no two names touch."""
    last = (
        part.sort_values("step", kind="stable").groupby(part["series"].astype(str), sort=True)["value"].last()
    )
    last = last[last.index != ""]
    if last.empty:
        return
    low, high = axes.get_ylim()
    inches = axes.bbox.height / axes.figure.dpi
    lines = sum(1 + in_lines(str(name), room).count("\n") for name in last.index)
    if lines * style.SMALL * 1.2 / 72 > inches + 0.3:
        names = list(last.index)
        handles = [Line2D([], [], color=colours[n], label=in_lines(str(n), room)) for n in names[:MAX_NAMES]]
        if len(names) > MAX_NAMES:
            handles.append(Line2D([], [], linestyle="none", label=f"and {len(names) - MAX_NAMES} more"))
        axes.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(1.02, 1.1),
            fontsize=style.SMALL - 1.5,
            handlelength=1.0,
        )
        return
    order = last.sort_values(kind="stable")
    heights = (order.to_numpy(dtype=float) - low) / (high - low)
    labels = [in_lines(str(name).replace("_", " "), room) for name in order.index]
    line = style.SMALL * 1.2 / 72 / inches * max(1 + label.count("\n") for label in labels)
    for (name, value), label, y in zip(order.items(), labels, spaced(heights, line), strict=True):
        axes.annotate(
            label,
            (1.02, y),
            xycoords="axes fraction",
            va="center",
            ha="left",
            fontsize=style.SMALL,
            color=colours[str(name)],
            annotation_clip=False,
        ).set_gid(f"name:{value}")


def in_lines(text: str, inches: float) -> str:
    """A name that is wider than its room, broken behind its `@`; what is too wide even then is cut."""
    if style.text_width(text, style.SMALL) <= inches or "@" not in text:
        return shortened(text, inches)
    entry, _, graph = text.partition("@")
    return f"{shortened(entry + '@', inches)}\n{shortened(graph, inches)}"


def shortened(text: str, inches: float) -> str:
    """Cut a name that is wider than its room, with an ellipsis."""
    if style.text_width(text, style.SMALL) <= inches:
        return text
    while text and style.text_width(text + "\u2026", style.SMALL) > inches:
        text = text[:-1]
    return text + "\u2026"


def spaced(positions: NDArray[Any], least: float) -> NDArray[Any]:
    """Rising positions moved apart to at least `least`, staying near where they were and centred on it."""
    groups: list[list[float]] = []
    for position in positions:
        groups.append([float(position)])
        while len(groups) > 1 and _top(groups[-2], least) + least > _bottom(groups[-1], least):
            joined = groups.pop()
            groups[-1] += joined
    return np.concatenate([np.mean(g) + least * (np.arange(len(g)) - (len(g) - 1) / 2) for g in groups])


def _top(group: list[float], least: float) -> float:
    return float(np.mean(group)) + least * (len(group) - 1) / 2


def _bottom(group: list[float], least: float) -> float:
    return float(np.mean(group)) - least * (len(group) - 1) / 2


def data(table: pd.DataFrame, changes: pd.DataFrame | None = None) -> pd.DataFrame:
    """The plotted rows, sorted by panel, series and step."""
    table = _checked(table)
    rank = {name: position for position, name in enumerate(panels(table))}
    return (
        table.assign(_rank=table["quantity"].map(rank))
        .sort_values(["_rank", "series", "step"], kind="stable")
        .drop(columns="_rank")
        .reset_index(drop=True)
    )


def caption(table: pd.DataFrame, changes: pd.DataFrame | None = None, *, subject: str = "") -> str:
    """What to look for, and what this training shows.

    Parameters
    ----------
    table, changes
        As for `draw`.
    subject
        The model in words.
    """
    opening = f"Emergence during training{' of ' + subject if subject else ''}."
    table = _checked(table)
    if table.empty:
        return f"{opening} No checkpoint was evaluated."
    facts = [_fact(table[table["quantity"] == quantity], quantity) for quantity in panels(table)]
    checkpoints = style.count(table["step"].nunique(), "checkpoint")
    intervals = " Coloured shades are confidence intervals." if {"low", "high"} <= set(table.columns) else ""
    chance = " Grey shades are what chance gives." if {"null_low", "null_high"} <= set(table.columns) else ""
    return (
        f"{opening} {checkpoints}, steps on a logarithmic axis.{intervals}{chance}{_changes_in_words(changes)} Look for"
        f" whether structure (blocks, modularity) changes before, with or after the behaviour. In this run"
        f" {'; '.join(facts)}."
    )


def _changes_in_words(changes: pd.DataFrame | None) -> str:
    if changes is None or changes.empty:
        return ""
    found = changes[changes["found"].astype(bool)]
    tested = len(changes[["quantity", "series"]].drop_duplicates())
    said = f" Dotted lines are changes of level beyond autocorrelated noise: {len(found)} in {tested} curves"
    return f"{said}, each at p <= 0.05." if len(found) else f"{said}."


def _fact(part: pd.DataFrame, quantity: str) -> str:
    words = PANELS.get(quantity, quantity.replace("_", " "))
    pieces = []
    for name, curve in part.groupby(part["series"].astype(str), sort=True):
        curve = curve.sort_values("step", kind="stable")
        first, last = float(curve["value"].iloc[0]), float(curve["value"].iloc[-1])
        text = f"from {style.number(first)} to {style.number(last)}"
        above = curve[curve["value"] >= 0.9]
        if quantity == "accuracy" and len(above):
            text += f", at least 0.9 first at step {int(above['step'].iloc[0]):,}"
        pieces.append(f"{text} ({name})" if name else text)
    more = f" and {len(pieces) - 4} more" if len(pieces) > 4 else ""
    return f"{words} goes {', '.join(pieces[:4])}{more}"
