"""Figures of tasks and blocks: what is drawn, nothing touches or leaves the page, degenerate data, captions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba

from compgraph.evaluation.separability import separability_of
from compgraph.figures import block_ablation, class_ablation, separability, style, task_circuit
from compgraph.figures.heat import column_labels

from .examples import overlapping_texts, texts_outside, transformer_graph

NAMES = ["docstring", "gendered_pronoun", "greater_than", "induction", "ioi"]
WIDTHS = ["single", "double"]


def tidy(figure):
    return overlapping_texts(figure) == [] and texts_outside(figure) == []


def cells(axes):
    return np.asarray(axes.images[0].get_array().filled(np.nan))


def separated(n_blocks, tasks, seed=0, n=60):
    rng = np.random.default_rng(seed)
    number = np.arange(n) % len(tasks)
    own = rng.integers(0, len(tasks), n_blocks) == number[:, None]
    x = rng.gamma(0.5, size=(n, n_blocks)) * (1 + 5 * own) * rng.lognormal(size=n_blocks)
    return separability_of(x, np.array(tasks)[number], n_permutations=99)


def ablated(tasks, metrics=("logit_difference",), seed=0):
    rng = np.random.default_rng(seed)
    rows = [
        {"target": a, "task": b, "mode": mode, "metric": metric, "value": rng.random(), "q": rng.random() / 5}
        for a in tasks
        for b in tasks
        for mode in ("kept", "removed")
        for metric in metrics
    ]
    table = pd.DataFrame(rows)
    return table.assign(faithfulness=table["value"] * 20 - 8)


def curves(partitions=("sbm", "kmeans", "random"), classes=("0", "1", "2"), shares=(0.0, 0.1, 0.5, 1.0)):
    rows = [
        {"partition": p, "mode": mode, "share": share, "class": c, "accuracy": value, "model": 0.97, "chance": 0.1}
        for k, p in enumerate(partitions)
        for mode in ("removed", "kept")
        for share in shares
        for c in ("all", *classes)
        for value in [(share if mode == "kept" else 1 - share) ** (k + 1)]
    ]
    table = pd.DataFrame(rows)
    return table.assign(low=table["accuracy"] - 0.02, high=table["accuracy"] + 0.02)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    ("n_blocks", "tasks"), [(6, NAMES[:3]), (70, NAMES), (12, [str(k) for k in range(10)]), (5, NAMES[:1]), (1, NAMES)]
)
def test_separability(n_blocks, tasks, width):
    found = separated(n_blocks, tasks)
    figure = separability.draw(found.shares, found.blocks, found.to_table(), width=width)
    assert tidy(figure)
    drawn = cells(figure.axes[0])
    assert drawn.shape == (min(n_blocks, separability.MOST_BLOCKS), len(tasks))
    np.testing.assert_allclose(drawn.sum(1), 1)
    said = separability.caption(found.shares, found.blocks, found.to_table(), subject="a mixture")
    assert said.startswith("Task separability of a mixture.")
    assert ("undefined: there is one task only" in said) == (len(tasks) == 1)


def test_separability_sorts_by_task_and_says_what_is_left_out():
    found = separated(70, NAMES)
    rows = separability.data(found.shares, found.blocks)
    order = rows.drop_duplicates("block")
    assert list(order["serves"]) == sorted(order["serves"])
    assert order.groupby("serves")["specificity"].apply(lambda s: (s.diff().dropna() <= 0).all()).all()
    figure = separability.draw(found.shares, found.blocks)
    drawn = [int(label.get_text()) for label in figure.axes[0].get_yticklabels()]
    rest = order[~order["block"].isin(drawn)]
    assert len(rest) == 30 and rest["weight"].max() <= order[order["block"].isin(drawn)]["weight"].min()
    assert any("30 lighter blocks" in text.get_text() for text in figure.texts)
    assert "compared with" not in separability.caption(found.shares, found.blocks)
    with pytest.raises(ValueError, match="lacks the columns share"):
        separability.data(found.shares.drop(columns="share"), found.blocks)


def test_no_block_with_attribution():
    found = separated(3, NAMES[:2])
    nothing = found.blocks.assign(weight=0.0)
    assert separability.draw(found.shares, nothing).texts[0].get_text() == "No block with attribution to draw."
    assert separability.caption(found.shares, nothing).endswith("No block has any attribution.")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("tasks", [NAMES[:1], NAMES[:3], NAMES, [str(k) for k in range(10)]])
@pytest.mark.parametrize("metrics", [("accuracy",), ("logit_difference", "kl")])
def test_block_ablation(tasks, metrics, width):
    table = ablated(tasks, metrics)
    figure = block_ablation.draw(table, width=width)
    assert tidy(figure)
    assert len(figure.axes) == 2 * len(metrics)
    assert [axes.get_title(loc="left").split()[-1] for axes in figure.axes[:2]] == ["removed", "kept"]
    for k, axes in enumerate(figure.axes):
        metric, mode = sorted(metrics)[k // 2], ("removed", "kept")[k % 2]
        rows = table[(table["metric"] == metric) & (table["mode"] == mode)]
        column = "value" if metric == "accuracy" else "faithfulness"
        np.testing.assert_allclose(cells(axes), rows.pivot(index="target", columns="task", values=column))
        assert len(axes.patches) == len(tasks)  # the framed diagonal
        assert len(axes.lines) == (rows["q"] <= 0.05).sum()
    assert "In this run," in block_ablation.caption(table)


def test_targets_without_blocks_are_grey_and_said():
    table = ablated(NAMES[:3])
    assert "Grey" not in block_ablation.caption(table)
    table.loc[table["target"] == "docstring", ["value", "faithfulness", "q"]] = np.nan
    figure = block_ablation.draw(table)
    assert tidy(figure) and np.isnan(cells(figure.axes[0])[0]).all()
    assert "Grey: no block serves the target" in block_ablation.caption(table)
    nothing = table.assign(faithfulness=np.nan)
    assert tidy(block_ablation.draw(nothing))
    assert "defined for no target" in block_ablation.caption(nothing)
    assert block_ablation.draw(table[:0]).texts[0].get_text() == "No ablated block to draw."
    with pytest.raises(ValueError, match="show is 'p'"):
        block_ablation.draw(table, show="p")


def test_averages_in_the_caption():
    table = ablated(NAMES[:2], ("accuracy",))
    own = table["target"] == table["task"]
    table["value"] = np.where(own, 0.25, 0.75)
    assert "keeps 0.25 on average, the others 0.75" in block_ablation.caption(table)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("partitions", [("sbm",), ("sbm", "kmeans", "spectral", "louvain", "random parts", "heads")])
@pytest.mark.parametrize("shares", [(0.1,), (0.0, 0.05, 0.1, 0.2, 0.5, 1.0)])
def test_class_ablation(partitions, shares, width):
    table = curves(partitions, shares=shares)
    figure = class_ablation.draw(table, width=width)
    assert tidy(figure)
    for axes in figure.axes:
        assert [line.get_ydata()[0] for line in axes.lines[:2]] == [0.97, 0.1]
        assert len(axes.lines) == 2 + len(partitions) == 2 + len(axes.collections)
    by_class = class_ablation.draw_classes(table, "sbm", width=width)
    assert tidy(by_class) and cells(by_class.axes[0]).shape == (3, len(shares))
    assert "sbm 90 % removed, 10 % kept" in class_ablation.caption(table)


def test_class_ablation_of_one_class_of_many_and_of_none():
    table = curves(classes=[f"class number {k}" for k in range(40)])
    one = class_ablation.draw(table, of="class number 7")
    assert tidy(one) and one.axes[0].get_ylabel() == "accuracy on class number 7"
    many = class_ablation.draw_classes(table, "sbm")
    assert tidy(many) and many.texts[0].get_text() == "10 more classes not drawn"
    assert "No ablated region" in class_ablation.draw(table, of="8").texts[0].get_text()
    assert class_ablation.caption(table, of="8").endswith("No region was ablated.")
    no_class = table[table["class"] == "all"]
    assert class_ablation.draw_classes(no_class, "sbm").texts[0].get_text() == "No class to draw by itself."
    with pytest.raises(ValueError, match="no partition 'own'; there are kmeans, random, sbm"):
        class_ablation.draw_classes(table, "own")


def test_column_names_break_and_stand_upright():
    assert column_labels(["greater_than", "ioi"], 2.0) == (["greater than", "ioi"], False)
    assert column_labels(["greater_than", "ioi"], 0.5) == (["greater\nthan", "ioi"], False)
    assert column_labels(["greater_than", "ioi"], 0.2) == (["greater than", "ioi"], True)


def by_node(graph, tasks, named=1.0, seed=0):
    """Tables of separability in which every node is a block; a share of the nodes has no attribution."""
    found = separated(graph.n_nodes, tasks, seed)
    names = dict(enumerate(graph.node_names))
    blocks = found.blocks.assign(name=found.blocks["block"].map(names))
    blocks.loc[blocks["block"] >= named * graph.n_nodes, "weight"] = 0.0
    return found.shares, blocks


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("tasks", [NAMES, NAMES[:2]])
def test_nodes_of_a_circuit_have_the_colour_of_their_task(tasks, width):
    graph = transformer_graph(3, 4)
    shares, blocks = by_node(graph, tasks)
    figure = task_circuit.draw(graph, shares, blocks, edges=60, width=width)
    assert tidy(figure)
    colours = style.series_colours(tasks)
    table = task_circuit.data(graph, shares, blocks, edges=60)
    best = shares.sort_values("share").groupby("block").last()
    expected = {name: best.loc[k, "task"] for k, name in enumerate(graph.node_names)}
    assert all(expected[row.source] == row.source_task for row in table.itertuples())
    certain = {row.source: row.source_task for row in table.itertuples() if row.source_q <= 0.05}
    certain |= {row.target: row.target_task for row in table.itertuples() if row.target_q <= 0.05}
    labels = {text.get_text(): text for text in figure.axes[0].texts if text.get_gid() == "node-label"}
    boxes = {tuple(np.round(box.get_edgecolor(), 3)) for box in figure.axes[0].patches if hasattr(box, "get_boxstyle")}
    assert len(labels) == len(set(table["source"].astype(str)) | set(table["target"].astype(str)))
    assert certain and {tuple(np.round(to_rgba(colours[task]), 3)) for task in certain.values()} <= boxes
    said = task_circuit.caption(graph, shares, blocks, edges=60, subject="toy")
    assert said.startswith("Circuit of a mixture of tasks, toy.") and f"{len(set(certain)):,} of " in said


def test_a_circuit_without_attribution_is_grey_and_an_empty_one_says_so():
    graph = transformer_graph(2, 2)
    shares, blocks = by_node(graph, NAMES[:2], named=0.0)
    figure = task_circuit.draw(graph, shares, blocks)
    edges = {tuple(np.round(box.get_edgecolor(), 3)) for box in figure.axes[0].patches if hasattr(box, "get_boxstyle")}
    assert edges == {tuple(np.round(to_rgba(style.MUTED), 3))}
    assert "0 of" in task_circuit.caption(graph, shares, blocks)
    assert "hold no path" in task_circuit.caption(graph, shares, blocks, edges=0)
    assert tidy(task_circuit.draw(graph, shares, blocks, edges=0))
