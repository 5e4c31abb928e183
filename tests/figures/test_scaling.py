"""Structure against size: a panel for each way of matching, points and lines, what the caption claims."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from compgraph.emergence.scaling import slopes_of
from compgraph.figures import scaling

from .examples import overlapping_texts, texts_outside


def table() -> pd.DataFrame:
    """Two seeds of three sizes; faithfulness rises with size, gini does not."""
    rng = np.random.default_rng(0)
    rows = []
    for size in (1_000, 20_000, 3_000_000):
        for seed in range(2):
            about = {"model": f"m{size}-{seed}", "n_parameters": size, "depth": 2, "series": "edges@effective.heads"}
            for level in (0.1, 0.2):
                value = 0.1 * np.log10(size) + level + 0.005 * rng.normal()
                rows.append({**about, "matched": "share", "level": level, "quantity": "faithfulness", "value": value})
            rows.append({**about, "matched": "nothing", "level": np.nan, "quantity": "gini", "value": rng.random()})
    frame = pd.DataFrame(rows)
    return frame.assign(null_mean=np.nan, null_low=np.nan, null_high=np.nan, excess=np.nan)


@pytest.mark.parametrize("width", ["single", "double"])
def test_panels(width: str) -> None:
    figure = scaling.draw(table(), slopes_of(table()), width=width)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["faithfulness, same share", "gini"]
    assert all(axes.get_xscale() == "log" for axes in figure.axes)
    assert [one.get_text() for one in figure.axes[0].get_xticklabels()] == ["1k", "10k", "100k", "3M"]
    points, means = figure.axes[0].lines[:2]
    assert len(points.get_xdata()) == 6 and len(means.get_xdata()) == 3
    assert overlapping_texts(figure) == [] and texts_outside(figure) == []


def test_depths_are_joined_apart() -> None:
    deep = table()
    deep = deep.assign(depth=5, n_parameters=2 * deep["n_parameters"], model=deep["model"] + "-deep")
    figure = scaling.draw(pd.concat([table(), deep]), slopes_of(table()))
    axes = figure.axes[1]
    assert [line.get_linestyle() for line in axes.lines[1:]] == ["-", "--"]
    assert all(len(line.get_xdata()) == 3 for line in axes.lines[1:])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["depth 2", "depth 5"]
    assert overlapping_texts(figure) == [] and texts_outside(figure) == []


def test_the_caption_names_slopes_that_differ_from_0() -> None:
    text = scaling.caption(table(), slopes_of(table()), subject="toys")
    assert "6 models of 3 sizes" in text and "2 of 3 slopes differ from 0" in text
    assert "faithfulness, same share 0.1 (edges@effective.heads) +0.09" in text


def test_nothing_to_draw() -> None:
    empty = table().assign(value=np.nan)
    assert scaling.draw(empty, slopes_of(table())).texts[0].get_text() == "No model to draw."
    assert scaling.data(empty, slopes_of(table())).empty
    with pytest.raises(ValueError, match="lacks the columns level"):
        scaling.draw(table().drop(columns="level"), slopes_of(table()))
