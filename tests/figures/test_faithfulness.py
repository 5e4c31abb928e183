"""Faithfulness curves: panels, lines, reference levels, values beyond the axis, what the caption says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from compgraph.figures import faithfulness

from .examples import faithfulness_table, overlapping_texts, texts_outside


def curves_of(axes):
    return [line for line in axes.lines if len(line.get_xdata()) > 2 and line.get_linestyle() != "None"]


@pytest.mark.parametrize("width", ["single", "double"])
def test_a_panel_per_metric_and_a_line_per_curve(width):
    figure = faithfulness.draw(faithfulness_table(), width=width)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["logit difference", "kl"]
    for axes in figure.axes:
        assert len(curves_of(axes)) == 4
        assert axes.get_xscale() == "log" and axes.get_xlabel() == "share of edges kept (of 1,000)"
        assert {0.0, 1.0} <= {line.get_ydata()[0] for line in axes.lines if len(line.get_xdata()) == 2}
    assert figure.axes[0].get_ylabel() == "faithfulness"
    assert overlapping_texts(figure) == [] and texts_outside(figure) == []


def test_ablation_sets_the_dash_and_the_graph_the_colour():
    lines = curves_of(faithfulness.draw(faithfulness_table(metrics=("kl",))).axes[0])
    assert len({line.get_color() for line in lines}) == 2
    assert sum(line.is_dashed() for line in lines) == 2


def test_intervals_are_shaded_where_there_are_any():
    table = faithfulness_table(1, ("kl",))
    assert len(faithfulness.draw(table).axes[0].collections) == 2
    assert len(faithfulness.draw(table.drop(columns=["low", "high"])).axes[0].collections) == 0
    assert "confidence intervals" not in faithfulness.caption(table.drop(columns=["low", "high"]))


def test_values_beyond_the_axis_are_marked_and_counted():
    table = faithfulness_table()
    axes = faithfulness.draw(table).axes[1]
    assert any(line.get_marker() == "^" for line in axes.lines)
    assert axes.get_ylim()[1] <= faithfulness.Y_LIMITS[1]
    assert "Triangles mark 2 values beyond the axis." in faithfulness.caption(table)


def test_the_empty_circuit_is_drawn_left_of_the_smallest():
    line = curves_of(faithfulness.draw(faithfulness_table(1, ("kl",))).axes[0])[0]
    assert line.get_xdata()[0] == pytest.approx(0.001)


@pytest.mark.parametrize("width", ["single", "double"])
@pytest.mark.parametrize(
    "query", ["fraction == 1", "fraction == 0", "fraction == 0.05 and ablation == 'edge'"]
)
def test_single_sizes_are_drawn(query, width):
    figure = faithfulness.draw(faithfulness_table(1, ("kl",)).query(query), width=width)
    assert overlapping_texts(figure) == [] and texts_outside(figure) == []


def test_many_curves_and_all_below_zero():
    many = faithfulness.draw(faithfulness_table(9, ("kl", "a", "b", "c")))
    assert overlapping_texts(many) == [] and texts_outside(many) == []
    table = faithfulness_table(1, ("kl",)).assign(faithfulness=-3.0, low=-4.0, high=-2.0)
    low = faithfulness.draw(table)
    assert overlapping_texts(low) == [] and texts_outside(low) == []
    assert "kl never stays at or above 80 %" in faithfulness.caption(table)


def test_no_finite_value():
    table = faithfulness_table(1).assign(faithfulness=np.nan)
    assert faithfulness.draw(table).texts[0].get_text() == "No evaluated circuit to draw."
    assert faithfulness.caption(table).endswith("No circuit was evaluated.")


def test_columns_of_numbers_name_no_curve():
    table = faithfulness_table(1, ("kl", "logit_difference"))
    table = table.assign(model=np.where(table["metric"] == "kl", 0.0, 1.7))
    assert faithfulness.series_columns(table) == ["ablation"]


def test_missing_columns_are_named():
    with pytest.raises(ValueError, match="lacks the columns metric, faithfulness"):
        faithfulness.draw(pd.DataFrame({"fraction": [1.0], "n_edges": [3]}))


def test_smallest_faithful_asks_for_staying_there():
    curve = pd.DataFrame({"fraction": [0.1, 0.2, 0.5, 1.0], "faithfulness": [0.9, 0.5, 0.85, 1.0]})
    assert faithfulness.smallest_faithful(curve, 0.8)["fraction"] == 0.5
    assert faithfulness.smallest_faithful(curve, 1.1) is None
    assert faithfulness.smallest_faithful(curve, 0.4)["fraction"] == 0.1


def test_caption_names_the_sparsest_curve():
    table = faithfulness_table(2, ("logit_difference",))
    text = faithfulness.caption(table, subject="toy on ioi")
    assert text.startswith("Faithfulness of toy on ioi.")
    assert "with eap-0, edge ablation, from 200 edges (20 %) on (4 of 4 curves get there)" in text


def test_data_is_sorted():
    table = faithfulness.data(faithfulness_table().sample(frac=1, random_state=0))
    assert table["metric"].is_monotonic_increasing
    assert len(table) == len(faithfulness_table())


def test_null_bands_are_drawn_and_told():
    table = faithfulness_table(1).query("ablation == 'edge'")
    banded = table.assign(null_low=-0.1, null_high=0.2, p=0.02, q=np.where(table["fraction"] < 0.1, 0.2, 0.03))
    plain, drawn = (len(faithfulness.draw(one).axes[0].collections) for one in (table, banded))
    assert drawn > plain
    words = faithfulness.caption(banded)
    better = int((banded["q"] < 0.05).sum())
    assert f"{better} of {len(banded)} circuits do better than chance" in words
    assert "chance" not in faithfulness.caption(table)
