"""Alluvial diagram: blocks over the checkpoints of a training, and the nodes that flow between them."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path

from compgraph.emergence.crossings import Order, crossings, few_crossings
from compgraph.figures import style
from compgraph.figures.emergence import step_name

NEEDED = ("series", "step_a", "step_b", "block_a", "block_b", "n")
MOST = 4
"""Series that are drawn, the first ones."""
BAR = 0.12
"""Width of a block's bar, of the distance of two checkpoints."""
GAP = 0.02
"""Between blocks, of all nodes."""
NONE = -1


@style.styled
def draw(flows: pd.DataFrame, *, width: style.Width = "double") -> Figure:
    """One row of bars a checkpoint for every series, flows between them in the colour of the block they come from.

    Parameters
    ----------
    flows
        Of `compgraph.emergence.tracking`: series, step_a, step_b, block_a, block_b, n.
    width
        Page columns the figure fills.
    """
    shown = _shown(flows)
    if not shown:
        return style.message(style.new_figure(width, 1.6), "No blocks to draw.")
    total, tall = style.WIDTHS[width], 2.3
    height = tall * len(shown)
    figure = style.new_figure(width, height)
    for k, (series, rows) in enumerate(shown.items()):
        box = (0.3 / total, (height - (k + 1) * tall + 0.45) / height, (total - 0.4) / total, (tall - 0.75) / height)
        axes = figure.add_axes(box)
        axes.set_title(series, loc="left")
        _diagram(axes, rows)
        axes.set_xlabel("training step" if k == len(shown) - 1 else "")
    return figure


def _shown(flows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    missing = [name for name in NEEDED if name not in flows]
    if missing:
        raise ValueError(f"the table of flows lacks the columns {', '.join(missing)}")
    names = list(dict.fromkeys(flows["series"]))[:MOST]
    return {str(name): flows[flows["series"] == name] for name in names}


def _placed(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[int], Order]:
    """Flows between places 0, 1, …; the steps of the places; the order of the blocks at each."""
    steps = sorted({*rows["step_a"], *rows["step_b"]})
    place = {step: k for k, step in enumerate(steps)}
    placed = rows.assign(a=rows["step_a"].map(place), b=rows["step_b"].map(place))
    return placed, steps, few_crossings(placed, len(steps))


def _diagram(axes: Axes, rows: pd.DataFrame) -> None:
    placed, steps, order = _placed(rows)
    blocks = sorted({*rows["block_a"], *rows["block_b"]} - {NONE})
    colours = {block: style.PALETTE[k % len(style.PALETTE)] for k, block in enumerate(blocks)} | {NONE: style.FAINT}
    sizes = [_sizes(placed, at) for at in range(len(steps))]
    nodes = max(sum(one.values()) for one in sizes)
    bottoms = []
    for at, one in enumerate(sizes):
        below, bottom = 0.0, {}
        for block in order[at]:
            bottom[block] = below
            axes.add_patch(
                Rectangle((at - BAR / 2, below), BAR, one[block], facecolor=colours[block], linewidth=0, zorder=3)
            )
            below += one[block] + GAP * nodes
        bottoms.append(bottom)
    for at in range(len(steps) - 1):
        _flows(axes, placed[placed["a"] == at], at, order, bottoms, colours)
    axes.set_xlim(-0.2, len(steps) - 0.8)
    top = max(bottoms[at][order[at][-1]] + sizes[at][order[at][-1]] for at in range(len(steps)))
    axes.set_ylim(0, top)
    axes.set_yticks([])
    every = max(1, -(-len(steps) // 12))
    axes.set_xticks(range(0, len(steps), every), [step_name(step) for step in steps[::every]])
    for side in ("left", "bottom", "right", "top"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0)


def _sizes(placed: pd.DataFrame, at: int) -> dict[int, float]:
    """Nodes of each block at a place."""
    out = placed[placed["a"] == at].groupby("block_a")["n"].sum()
    into = placed[placed["b"] == at].groupby("block_b")["n"].sum()
    found: dict[int, float] = (out if len(out) else into).astype(float).to_dict()
    return found


def _flows(
    axes: Axes,
    rows: pd.DataFrame,
    at: int,
    order: Order,
    bottoms: list[dict[int, float]],
    colours: dict[int, str],
) -> None:
    """Bands between two places, stacked at either end in the order of the other: none crosses inside a block."""
    start, end = dict(bottoms[at]), dict(bottoms[at + 1])
    here, there = ({block: k for k, block in enumerate(order[place])} for place in (at, at + 1))
    ends: dict[tuple[int, int], float] = {}
    for one in sorted(rows.to_dict("records"), key=lambda one: (there[one["block_b"]], here[one["block_a"]])):
        ends[one["block_a"], one["block_b"]] = end[one["block_b"]]
        end[one["block_b"]] += one["n"]
    for one in sorted(rows.to_dict("records"), key=lambda one: (here[one["block_a"]], there[one["block_b"]])):
        y0, y1 = start[one["block_a"]], ends[one["block_a"], one["block_b"]]
        start[one["block_a"]] += one["n"]
        axes.add_patch(_band(at + BAR / 2, at + 1 - BAR / 2, y0, y1, one["n"], colours[one["block_a"]]))


def _band(left: float, right: float, y0: float, y1: float, n: float, colour: str) -> PathPatch:
    middle = (left + right) / 2
    points = [
        (left, y0), (middle, y0), (middle, y1), (right, y1),
        (right, y1 + n), (middle, y1 + n), (middle, y0 + n), (left, y0 + n), (left, y0),
    ]  # fmt: skip
    codes: list[Any] = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3, Path.CLOSEPOLY]
    return PathPatch(Path(points, codes), facecolor=colour, alpha=0.35, linewidth=0, zorder=2)


def data(flows: pd.DataFrame) -> pd.DataFrame:
    """The flows that are drawn, with the place of each block in its stack (0 is the lowest): place_a, place_b."""
    tables = []
    for rows in _shown(flows).values():
        placed, _, order = _placed(rows)
        for end in ("a", "b"):
            rank = [{block: k for k, block in enumerate(blocks)} for blocks in order]
            pairs = zip(placed[end], placed[f"block_{end}"], strict=True)
            placed[f"place_{end}"] = [rank[at][block] for at, block in pairs]
        tables.append(placed.drop(columns=["a", "b"]))
    columns = [*NEEDED, "place_a", "place_b"]
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)


def caption(flows: pd.DataFrame, *, subject: str = "") -> str:
    """What to look for, and what this training shows.

    Parameters
    ----------
    flows
        As for `draw`.
    subject
        The model in words.
    """
    opening = f"Blocks over the checkpoints{' of ' + subject if subject else ''}."
    facts = []
    for series, rows in _shown(flows).items():
        placed, steps, order = _placed(rows)
        stay = rows[rows["block_a"] == rows["block_b"]]["n"].sum() / max(1, rows["n"].sum())
        first, last = (len([block for block in order[at] if block != NONE]) for at in (0, len(steps) - 1))
        crossed = crossings(placed, order)
        facts.append(
            f"{series}: {style.count(first, 'block')} at first, {last} in the end; {style.percent(float(stay))} of the"
            f" nodes stay in their block from one checkpoint to the next; {style.count(crossed, 'crossing')}"
        )
    if not facts:
        return f"{opening} No blocks were found at two checkpoints."
    dropped = flows["series"].nunique() - len(facts)
    more = f" {style.count(dropped, 'further series is', 'further series are')} in the tables only." if dropped else ""
    return (
        f"{opening} Bars are blocks, bands the nodes that they share with those of the next checkpoint; a block keeps"
        f" its colour where it is recognised beyond chance. Look for blocks that split, join or first appear."
        f" {'; '.join(facts)}.{more}"
    )


