"""Methods against their costs: every method and task is drawn, with its interval; degenerate tables, captions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from compgraph.figures import method_comparison as figure

from .examples import overlapping_texts, texts_outside

WIDTHS = ["single", "double"]


def table(methods=("heads", "heads-ig", "exact"), tasks=("all", "ioi"), passes=(2.0, 12.0, 800.0)):
    rows = []
    for number, (method, cost) in enumerate(zip(methods, passes, strict=True)):
        for task in tasks:
            for area, value in (("cpr", 0.6 + 0.1 * number), ("cmd", 0.4 - 0.1 * number)):
                rows.append({"method": method, "task": task, "metric": "logit_difference", "area": area, "value": value,
                             "low": value - 0.04, "high": value + 0.04, "passes": cost})  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_point_with_its_interval_for_each_method_and_task(width):
    rows = table()
    drawn = figure.draw(rows, width=width)
    assert overlapping_texts(drawn) == [] and texts_outside(drawn) == []
    for axes, area in zip(drawn.axes, ("cpr", "cmd"), strict=True):
        points = [line for line in axes.lines if len(line.get_xdata()) == 1]
        expected = rows[rows["area"] == area]["value"]
        assert sorted(float(line.get_ydata()[0]) for line in points) == pytest.approx(sorted(expected))
        assert len(axes.lines) == 2 * len(expected)


def test_the_caption_ranks_and_says_what_cannot_be_told_apart():
    said = figure.caption(table(), subject="toy")
    assert said.startswith("Methods against their costs, toy.")
    assert "CPR: exact 0.8 [0.76, 0.84] for 800 passes; heads-ig 0.7" in said and "reach that of" not in said
    close = table()
    close.loc[close["method"] == "heads-ig", "high"] = 0.9
    assert "The intervals of heads-ig reach that of exact." in figure.caption(close)


def test_one_metric_is_drawn_and_other_columns_are_asked_for():
    both = pd.concat([table().assign(metric="kl"), table()], ignore_index=True)
    assert set(figure.data(both)["metric"]) == {"logit_difference"}
    assert set(figure.data(both.replace("logit_difference", "accuracy"))["metric"]) == {"kl"}
    with pytest.raises(ValueError, match="lacks the columns passes"):
        figure.data(table().drop(columns="passes"))


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_to_draw(width):
    for rows in (table().iloc[:0], table().assign(value=np.nan, low=np.nan, high=np.nan)):
        assert overlapping_texts(figure.draw(rows, width=width)) == []
        assert "No circuit has a faithfulness." in figure.caption(rows)
    one = table(("exact",), ("all",), (0.0,))
    assert texts_outside(figure.draw(one, width=width)) == []
