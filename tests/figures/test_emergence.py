"""Quantities against training steps: panels, names that do not touch, a place for step 0."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from compgraph.figures import emergence

from .examples import emergence_table, overlapping_texts, texts_outside


@pytest.mark.parametrize("width", ["single", "double"])
def test_a_panel_per_quantity(width):
    figure = emergence.draw(emergence_table(), width=width)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["task accuracy", "faithfulness at a fixed size", "number of blocks", "modularity"]
    assert sum(len(line.get_xdata()) == 6 for line in figure.axes[0].lines) == 3
    assert all(axes.get_xscale() == "symlog" for axes in figure.axes)
    assert figure.axes[-1].get_xlabel() == "training step"
    assert overlapping_texts(figure) == [] and texts_outside(figure) == []


def test_a_task_has_one_colour_in_all_panels():
    figure = emergence.draw(emergence_table())
    names = [{t.get_text(): t.get_color() for t in axes.texts} for axes in figure.axes[:2]]
    assert names[0] == names[1] and set(names[0]) == {"induction", "agreement", "greater than"}


@pytest.mark.parametrize("width", ["single", "double"])
@pytest.mark.parametrize("step", [0, 640])
def test_one_checkpoint(step, width):
    table = emergence_table()
    figure = emergence.draw(table[table["step"] == step], width=width)
    assert overlapping_texts(figure) == [] and texts_outside(figure) == []


def test_many_series_get_a_legend_that_says_what_is_left_out():
    table = emergence_table()
    many = pd.concat([table.assign(series=table["series"] + str(k)) for k in range(8)])
    figure = emergence.draw(many)
    words = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert words[-1] == "and 13 more" and len(words) == 12
    assert overlapping_texts(figure) == [] and texts_outside(figure) == []


def test_no_series_column_and_unknown_quantities():
    table = pd.DataFrame({"step": [1, 10, 100], "quantity": "test_loss", "value": [3.0, 2.0, 2.0]})
    figure = emergence.draw(table)
    assert figure.axes[0].get_title(loc="left") == "test loss"
    assert "test loss goes from 3 to 2" in emergence.caption(table)


def test_intervals_are_shaded():
    table = emergence_table()
    table = table.assign(low=table["value"] - 0.1, high=table["value"] + 0.1)
    assert len(emergence.draw(table).axes[0].collections) == 3


def test_caption_says_when_a_task_is_learned():
    text = emergence.caption(emergence_table(), subject="toy")
    assert text.startswith("Emergence during training of toy. 6 checkpoints")
    assert "at least 0.9 first at step 640 (induction)" in text


def test_empty_and_missing():
    table = emergence_table().assign(value=np.nan)
    assert emergence.draw(table).texts[0].get_text() == "No checkpoint to draw."
    with pytest.raises(ValueError, match="lacks the columns quantity"):
        emergence.draw(table.drop(columns="quantity"))


def test_names_move_apart_but_stay_in_order():
    moved = emergence.spaced(np.array([0.5, 0.5, 0.52, 0.9]), 0.1)
    assert (np.diff(moved) >= 0.1 - 1e-12).all()
    assert moved[:3].mean() == pytest.approx(np.mean([0.5, 0.5, 0.52])) and moved[3] == 0.9


@pytest.mark.parametrize(("step", "name"), [(0, "0"), (64, "64"), (2000, "2k"), (1_500_000, "1.5M")])
def test_step_names(step, name):
    assert emergence.step_name(step) == name


def test_data_is_in_the_order_of_the_panels():
    table = emergence.data(emergence_table())
    assert list(dict.fromkeys(table["quantity"])) == ["accuracy", "faithfulness", "n_blocks", "modularity"]


def test_changes_are_lines_and_chance_a_grey_band():
    table = emergence_table()
    table = table.assign(null_low=np.nan, null_high=np.nan)
    table.loc[table["quantity"] == "modularity", ["null_low", "null_high"]] = [0.05, 0.1]
    changes = pd.DataFrame(
        [("modularity", "eap", 40, 160, True), ("n_blocks", "eap", 40, 160, False)],
        columns=["quantity", "series", "after", "before", "found"],
    )
    plain, figure = emergence.draw(table), emergence.draw(table, changes)
    added = [len(b.lines) - len(a.lines) for a, b in zip(plain.axes, figure.axes, strict=True)]
    assert added == [0, 0, 0, 1] and len(figure.axes[3].collections) == 1
    assert figure.axes[3].lines[-1].get_xdata()[0] == 80  # the middle of the two checkpoints, in the logarithm
    assert "1 in 2 curves" in emergence.caption(table, changes)


def test_names_of_entries_and_graphs_are_whole():
    table = emergence_table()
    table = table.assign(series="nested@effective.heads")
    table = table.drop_duplicates(["step", "quantity"])
    figure = emergence.draw(table)
    assert [text.get_text() for text in figure.axes[0].texts] == ["nested@\neffective.heads"]
    assert overlapping_texts(figure) == [] and texts_outside(figure) == []


@pytest.mark.parametrize("width", ["single", "double"])
def test_steps_are_named_as_far_as_there_is_room(width):
    few = [0, 24, 71, 207, 412, 600]
    many = [0, *(2**k for k in range(10)), *range(1000, 144_000, 1000)]
    for steps, least in ((few, 5), (many, 6)):
        table = pd.DataFrame({"step": steps, "quantity": "accuracy", "value": np.linspace(0, 1, len(steps))})
        figure = emergence.draw(table, width=width)
        named = [text.get_text() for text in figure.axes[0].get_xticklabels()]
        assert len(named) >= least and named[0] == "0"
        assert overlapping_texts(figure) == [] and texts_outside(figure) == []
