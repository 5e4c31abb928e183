"""Square matrices of nodes with borders between groups: shared by the functional and the block figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

from compgraph.figures import style

MAX_PIXELS = 1400


def runs(labels: Sequence[object]) -> list[tuple[object, int, int]]:
    """Runs of equal neighbouring labels: (label, start, stop)."""
    out: list[tuple[object, int, int]] = []
    for position, label in enumerate(labels):
        if out and out[-1][0] == label:
            out[-1] = (label, out[-1][1], position + 1)
        else:
            out.append((label, position, position + 1))
    return out


def shrink(matrix: NDArray[Any], limit: int = MAX_PIXELS) -> NDArray[Any]:
    """Average a matrix over equal tiles until no side is longer than `limit`, so that a figure stays small.

    NaN entries do not count; a tile of NaN only stays NaN.
    """
    n = matrix.shape[0]
    if n <= limit:
        return matrix
    edges = np.linspace(0, n, limit + 1).astype(int)
    known = ~np.isnan(matrix)
    filled = np.where(known, matrix, 0.0)
    total = np.add.reduceat(np.add.reduceat(filled, edges[:-1], axis=0), edges[:-1], axis=1)
    number = np.add.reduceat(np.add.reduceat(known.astype(float), edges[:-1], axis=0), edges[:-1], axis=1)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def border_width(n_groups: int) -> float:
    """Points: thinner for many groups, none where lines would hide the cells."""
    return 0.0 if n_groups > 100 else 0.4 if n_groups <= 40 else 0.2


def borders(axes: Axes, cuts: Sequence[int], n: int) -> None:
    """Lines across a matrix of n rows and columns at the given positions."""
    inner = [cut for cut in cuts if 0 < cut < n]
    lines = [[(0, c), (n, c)] for c in inner] + [[(c, 0), (c, n)] for c in inner]
    collection = LineCollection(lines, colors=style.INK, linewidths=border_width(len(inner)), alpha=0.75)
    collection.set_gid("borders")
    axes.add_collection(collection, autolim=False)


def group_ticks(
    axes: Axes, groups: Sequence[tuple[object, int, int]], n: int, inches: float, *, bottom: bool = True
) -> None:
    """Name groups at their middle, leaving out names that would touch the one before."""
    least = n / inches * (style.SMALL * 1.25 / 72)
    centres: list[float] = []
    names: list[str] = []
    for name, start, stop in sorted(groups, key=lambda g: (g[1] - g[2], g[1])):
        middle = (start + stop) / 2
        if all(abs(middle - other) >= least for other in centres):
            centres.append(middle)
            names.append(str(name))
    axes.set_yticks(centres, names)
    axes.tick_params(length=0)
    if bottom:
        axes.set_xticks(centres, names, rotation=90)
    else:
        axes.set_xticks([])


def frame(axes: Axes) -> None:
    """A thin frame on all four sides."""
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_linewidth(0.6)
