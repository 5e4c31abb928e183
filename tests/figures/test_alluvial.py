"""Blocks over checkpoints: every node once at each place, bands that start and end in their blocks."""

from __future__ import annotations

import pandas as pd
import pytest
from matplotlib.patches import PathPatch, Rectangle

from compgraph.emergence.alignment import align_blocks
from compgraph.figures import alluvial

from .examples import overlapping_texts, texts_outside

STEPS = (0, 100, 1000)


def flows() -> pd.DataFrame:
    """Twenty nodes in two, three and two blocks."""
    partitions = [[0] * 10 + [1] * 10, [0] * 8 + [1] * 9 + [2] * 3, [0] * 9 + [1] * 11]
    found = align_blocks(partitions).flows
    steps = {k: step for k, step in enumerate(STEPS)}
    return found.assign(series="nested@effective.heads", step_a=found["a"].map(steps), step_b=found["b"].map(steps))


@pytest.mark.parametrize("width", ["single", "double"])
def test_bars_and_bands(width: str) -> None:
    figure = alluvial.draw(flows(), width=width)
    bars = [one for one in figure.axes[0].patches if isinstance(one, Rectangle)]
    at = {place: sum(bar.get_height() for bar in bars if round(bar.get_x() + 0.06) == place) for place in range(3)}
    assert at == {0: 20, 1: 20, 2: 20} and len(bars) == 7
    assert sum(isinstance(one, PathPatch) for one in figure.axes[0].patches) == len(flows())
    assert [one.get_text() for one in figure.axes[0].get_xticklabels()] == ["0", "100", "1k"]
    assert overlapping_texts(figure) == [] and texts_outside(figure) == []


def test_bands_lie_inside_their_bars() -> None:
    axes = alluvial.draw(flows()).axes[0]
    bars = [one for one in axes.patches if isinstance(one, Rectangle)]
    for band in (one for one in axes.patches if isinstance(one, PathPatch)):
        (x0, low0), (x1, low1) = band.get_path().vertices[0], band.get_path().vertices[3]
        height = band.get_path().vertices[7][1] - low0
        for x, low in ((x0, low0), (x1, low1)):
            near = [bar for bar in bars if abs(bar.get_x() + 0.06 - x) < 0.1]
            spans = [(bar.get_y() - 1e-9, bar.get_y() + bar.get_height() + 1e-9) for bar in near]
            assert any(bottom <= low and low + height <= top for bottom, top in spans)


def test_data_and_caption() -> None:
    table = alluvial.data(flows())
    assert table.groupby("step_a")["n"].sum().tolist() == [20, 20]
    text = alluvial.caption(flows(), subject="toy")
    assert text.startswith("Blocks over the checkpoints of toy.") and "2 blocks at first" in text


def test_nothing_to_draw() -> None:
    empty = flows().iloc[:0]
    assert alluvial.draw(empty).texts[0].get_text() == "No blocks to draw."
    assert "No blocks were found" in alluvial.caption(empty) and alluvial.data(empty).empty
    with pytest.raises(ValueError, match="lacks the columns n"):
        alluvial.draw(flows().drop(columns="n"))
