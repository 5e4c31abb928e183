from __future__ import annotations

import numpy as np
import pytest

from compgraph.figures import network_statistics as figure
from compgraph.figures import style
from compgraph.statistics import network_statistics
from tests.communities.graphs import layered, transformer


@pytest.fixture(scope="module")
def table():
    return network_statistics(layered(transformer(), seed=0, ratio=4.0)[0], n_nulls=39)


def test_every_measure_with_a_value_has_its_row(table) -> None:
    drawn = figure.draw(table)
    axes = drawn.axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert sorted(names) == sorted(name.replace("_", " ") for name in table.loc[table["value"].notna(), "measure"])
    assert "clustering" not in names
    texts = [text.get_text() for text in axes.texts]
    assert any(text.startswith("the null model keeps") for text in texts)
    modularity = table.set_index("measure").loc["modularity"]
    assert style.number(round(modularity["z"], 2)) in texts


def test_dots_lie_at_z_and_bars_at_the_quantiles(table) -> None:
    axes = figure.draw(table).axes[0]
    dots = np.concatenate([one.get_offsets()[:, 0] for one in axes.collections if hasattr(one, "get_offsets")][-2:])
    z = table["z"].dropna().to_numpy()
    assert np.sort(np.asarray(dots)) == pytest.approx(np.sort(z))
    low, high = axes.get_xlim()
    assert low < z.min()
    assert z.max() < high


def test_the_caption_names_what_differs(table) -> None:
    text = figure.caption(table, subject="a graph")
    assert "39 graphs of the null model “effects”" in text
    assert "5 %" in text
    single = figure.draw(table, width="single")
    assert single.get_size_inches()[0] == pytest.approx(3.5)


def test_a_graph_without_a_value_says_so(table) -> None:
    empty = table.assign(value=np.nan, z=np.nan)
    assert "No measure has a value" in figure.caption(empty)
    assert [text.get_text() for text in figure.draw(empty).texts] == ["No measure has a value for this graph."]
    untested = network_statistics(layered(transformer(), seed=0)[0], ["gini"], n_nulls=0)
    assert "no null graphs were asked for" in figure.caption(untested)
    with pytest.raises(ValueError, match="lacks the columns q75"):
        figure.draw(table.drop(columns="q75"))
