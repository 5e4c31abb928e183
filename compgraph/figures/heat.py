"""Small matrices with a number in every cell: shared by the figures of tasks and blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from numpy.typing import NDArray

from compgraph.figures import style
from compgraph.figures.matrix import frame

GAP = 0.06
LINE_INCHES = 0.11
BRIGHTNESS = np.array([0.299, 0.587, 0.114])
"""Of red, green and blue to the eye (ITU-R BT.601)."""


def spoken(name: object) -> str:
    """A task's name in words: `greater_than` -> `greater than`."""
    return str(name).replace("_", " ")


def task_ticks(names: Sequence[object], inches: float) -> float:
    """Height in inches that the names below columns of a width need."""
    texts, upright = column_labels(names, inches)
    if upright:
        return max(style.text_width(text, style.SMALL) for text in texts)
    return LINE_INCHES * max(text.count("\n") + 1 for text in texts)


def column_labels(names: Sequence[object], inches: float) -> tuple[list[str], bool]:
    """Names below columns of a width, broken into lines; and whether they stand upright, a word being too wide."""
    words = [spoken(name).split() for name in names]
    if any(style.text_width(word, style.SMALL) > inches - GAP for own in words for word in own):
        return [spoken(name) for name in names], True
    texts = []
    for own in words:
        lines = [""]
        for word in own:
            longer = f"{lines[-1]} {word}".strip()
            if style.text_width(longer, style.SMALL) <= inches - GAP:
                lines[-1] = longer
            else:
                lines.append(word)
        texts.append("\n".join(lines))
    return texts, False


def annotated(
    axes: Axes,
    matrix: NDArray[Any],
    rows: Sequence[object],
    columns: Sequence[object],
    inches: tuple[float, float],
    *,
    limits: tuple[float, float],
    form: Callable[[float], str] = style.number,
    cmap: Colormap = style.SEQUENTIAL,
) -> None:
    """Draw a matrix, with its values where they fit into the cells.

    Parameters
    ----------
    matrix
        [rows, columns]; NaN is left grey.
    inches
        Width and height of the axes.
    limits
        Values of the palest and darkest colour; others take the nearest of the two.
    form
        Value -> text.
    """
    n, m = matrix.shape
    axes.imshow(
        matrix,
        cmap=cmap.with_extremes(bad=style.FAINT),
        vmin=limits[0],
        vmax=limits[1],
        extent=(0, m, n, 0),
        aspect="auto",
        interpolation="nearest",
    )
    wide, high = inches[0] / m, inches[1] / n
    below, upright = column_labels(columns, wide)
    axes.set_xticks(np.arange(m) + 0.5, below, rotation=90 if upright else 0)
    axes.set_yticks(np.arange(n) + 0.5, [spoken(name) for name in rows])
    axes.tick_params(length=0)
    frame(axes)
    size = min(style.SMALL, 72 * high * 0.75)
    texts = {(i, j): form(float(v)) for (i, j), v in np.ndenumerate(matrix) if np.isfinite(v)}
    if size < 4.5 or any(style.text_width(text, size) > wide - 0.04 for text in texts.values()):
        return
    shades = axes.images[-1].to_rgba(matrix)[..., :3] @ BRIGHTNESS
    for (i, j), text in texts.items():
        dark = shades[i, j] < 0.6
        axes.text(
            j + 0.5, i + 0.53, text, ha="center", va="center", fontsize=size, color="white" if dark else style.INK
        )
