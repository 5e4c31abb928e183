"""The comparison of graphs: every text readable, bands beside the values, and what the caption claims."""

from __future__ import annotations

import numpy as np
import pytest

from compgraph.figures import style, three_connectivities
from compgraph.statistics.compare import compare_all
from tests.statistics.test_compare import by_depth, correlations

from .examples import overlapping_texts, texts_outside

GRAPHS = {
    "structural.heads": by_depth(3),
    "functional.heads": correlations(1, like=by_depth(0)),
    "effective.heads": by_depth(0),
}
TABLE = compare_all(GRAPHS, n_nulls=39)


@pytest.mark.parametrize("width", ["single", "double"])
@pytest.mark.parametrize("names", [list(GRAPHS), list(GRAPHS)[1:]])
def test_texts_stay_apart_and_inside(width: style.Width, names: list[str]) -> None:
    graphs = {name: GRAPHS[name] for name in names}
    table = compare_all(graphs, n_nulls=19)
    figure = three_connectivities.draw(table, graphs, width=width)
    assert len(figure.axes) == (4 if len(names) == 3 else 2)
    assert overlapping_texts(figure) == [] and texts_outside(figure) == []


def test_filled_points_are_the_significant_ones() -> None:
    figure = three_connectivities.draw(TABLE, GRAPHS)
    points = [line for line in figure.axes[-1].lines if line.get_marker() == "o" and len(line.get_xdata())]
    drawn = TABLE[TABLE["measure"].isin(three_connectivities.MEASURES)]
    assert sorted(float(p.get_xdata()[0]) for p in points) == pytest.approx(sorted(drawn["value"]))
    filled = [p for p in points if p.get_markerfacecolor() != "white"]
    assert len(filled) == int((drawn["q"] <= three_connectivities.LEVEL).sum()) > 0


def test_caption_states_the_correlations() -> None:
    text = three_connectivities.caption(TABLE, GRAPHS, subject="a model")
    rank = TABLE[(TABLE["a"] == "functional.heads") & (TABLE["measure"] == "rank")]["value"].iloc[0]
    assert (
        f"functional.heads and effective.heads share 208 edges, with a rank correlation of {style.number(rank)}" in text
    )
    assert three_connectivities.data(TABLE, GRAPHS).equals(TABLE)


def test_many_edges_are_a_density(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(three_connectivities, "POINTS", 10)
    figure = three_connectivities.draw(TABLE, GRAPHS)
    counts = figure.axes[0].collections[0].get_array()
    assert counts is not None and np.sum(counts) == 208
