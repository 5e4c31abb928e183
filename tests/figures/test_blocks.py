"""The block-sorted matrix: order, borders, nested bars, where blocks live."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm

from compgraph.figures import block_panels, blocks, matrix, style
from compgraph.graph import ComputationalGraph

from .examples import functional_graph, loose_graph, overlapping_texts, texts_outside, transformer_graph


def three_levels(n: int) -> list[np.ndarray]:
    finest = np.arange(n) * 5 % 6
    return [finest, finest // 2, np.zeros(n, dtype=int)]


@pytest.mark.parametrize("width", ["single", "double"])
@pytest.mark.parametrize("directed", [True, False])
def test_borders_and_bars_follow_the_blocks(width, directed):
    graph = transformer_graph() if directed else functional_graph(transformer_graph())
    figure = blocks.draw(graph, levels=three_levels(graph.n_nodes), width=width)
    borders = next(c for c in figure.axes[0].collections if isinstance(c, LineCollection))
    assert len(borders.get_segments()) == 2 * 5
    bars = [axes for axes in figure.axes if axes.get_gid() == "level-bar"]
    assert sorted(len(axes.lines) for axes in bars) == [2, 2, 5, 5]  # a level of one block says nothing
    words = [text.get_text() for text in figure.texts]
    assert ("source" in words) == directed
    assert overlapping_texts(figure) == [] and texts_outside(figure) == []


def test_order_keeps_blocks_of_every_level_together():
    graph = transformer_graph()
    levels = three_levels(graph.n_nodes)
    order = blocks.sorted_nodes(graph, levels)
    assert sorted(order) == list(range(graph.n_nodes))
    assert [len(matrix.runs(labels[order].tolist())) for labels in levels] == [6, 3, 1]


def test_nodes_without_a_block_come_last():
    graph = transformer_graph()
    labels = np.zeros(graph.n_nodes, dtype=int)
    labels[:3] = -1
    assert set(blocks.sorted_nodes(graph, [labels])[-3:]) == {0, 1, 2}
    assert blocks.n_blocks(labels) == 1
    assert blocks.caption(graph, levels=[labels]).endswith("3 nodes at the end belong to no block.")


def test_the_drawn_values_are_the_sorted_absolute_weights():
    graph = transformer_graph()
    levels = three_levels(graph.n_nodes)
    order = blocks.sorted_nodes(graph, levels)
    drawn = blocks.draw(graph, levels=levels).axes[0].images[0].get_array()
    np.testing.assert_allclose(
        np.nan_to_num(np.ma.filled(drawn, 0.0)), np.abs(graph.matrix())[np.ix_(order, order)]
    )


def test_caption_counts_blocks_and_says_what_the_fit_gains():
    graph = transformer_graph()
    fit = {"description_length": 900.0, "description_length_one_block": 1000.0, "agreement": 0.93}
    text = blocks.caption(graph, levels=three_levels(graph.n_nodes), fit=fit)
    assert "6 blocks for 17 nodes, grouped into 3" in text
    assert "described in 100 nats fewer than one block" in text
    assert "adjusted Rand index of 0.93" in text
    drawn = blocks.draw(graph, levels=three_levels(graph.n_nodes), fit=fit)
    heading = "6 blocks of 17 nodes; described in 100 nats fewer than one block"
    assert heading in {text.get_text() for text in drawn.texts}
    even = blocks.caption(graph, levels=[np.zeros(graph.n_nodes)], fit=dict.fromkeys(fit, 1.0))
    assert "no partition describes the graph shorter than one block" in even
    by_site = np.unique(graph.nodes["site"], return_inverse=True)[1]
    assert "8 of 8 blocks lie inside one site" in blocks.caption(graph, levels=[by_site])


def test_data_is_in_the_order_of_the_matrix():
    graph = transformer_graph()
    table = blocks.data(graph, levels=three_levels(graph.n_nodes))
    assert list(table.columns) == ["node", "site", "level0", "level1"]
    assert len(matrix.runs(table["level0"].tolist())) == 6


def test_every_block_lives_somewhere():
    graph = transformer_graph()
    share = blocks.homes(graph, three_levels(graph.n_nodes)[0])
    np.testing.assert_allclose(share.sum(axis=1), 1.0)
    assert share.columns[0] == "embed" and share.columns[-1] == "logits"


@pytest.mark.parametrize("width", ["single", "double"])
@pytest.mark.parametrize(("n", "value"), [(700, None), (30, -0.5), (30, 0.0)])
def test_degenerate_matrices_are_drawn(n, value, width):
    graph = loose_graph(n, 4 * n, 4, value)
    for labels in (np.zeros(n, dtype=int), np.arange(n), np.full(n, -1)):
        figure = blocks.draw(graph, levels=[labels], width=width)
        assert overlapping_texts(figure) == [] and texts_outside(figure) == []
        assert blocks.caption(graph, levels=[labels])
        assert len(style.render(figure, "png")) < 3_000_000


def test_no_edge():
    graph = ComputationalGraph(["a", "b"], [], [], None, [])
    assert "No edge" in blocks.draw(graph, levels=[np.zeros(2)]).texts[0].get_text()


def test_labels_must_fit_the_graph():
    graph = transformer_graph()
    with pytest.raises(ValueError, match=r"shape \(3,\), the graph 17 nodes"):
        blocks.draw(graph, levels=[np.zeros(3)])
    with pytest.raises(ValueError, match="levels is empty"):
        blocks.draw(graph, levels=[])


def test_heavy_tails_get_a_logarithmic_scale_of_at_most_three_decades():
    norm = block_panels.colour_norm(np.logspace(-9, 0, 100))
    assert isinstance(norm, LogNorm) and norm.vmin == pytest.approx(1e-3)
    assert not isinstance(block_panels.colour_norm(np.full(5, 2.0)), LogNorm)


def test_a_narrow_scale_has_enough_ticks():
    assert block_panels.narrow_ticks(LogNorm(0.03, 0.9)) == pytest.approx([0.05, 0.1, 0.2, 0.5])
    assert block_panels.narrow_ticks(LogNorm(0.001, 1.0)) == []


def test_layers_of_a_fit_are_drawn_beside_each_other_in_one_order():
    graph = transformer_graph()
    fit = {"parameters": {"layer_names": [name or "direct" for name in graph.channels], "weights": "real-normal"}}
    levels = three_levels(graph.n_nodes)
    panels = block_panels.panels_of(graph, fit)
    assert sorted(panel.name for panel in panels) == ["direct", "k", "q", "v"]
    for width in ("double", "single"):
        figure = blocks.draw(graph, levels=levels, fit=fit, width=width)
        drawn = [axes for axes in figure.axes if "borders" in {lines.get_gid() for lines in axes.collections}]
        assert len(drawn) == len(panels)
        order = blocks.sorted_nodes(graph, levels)
        for axes, panel in zip(drawn, panels, strict=True):
            shown = np.ma.filled(axes.images[0].get_array(), 0.0)
            np.testing.assert_allclose(np.nan_to_num(shown), np.nan_to_num(panel.values)[np.ix_(order, order)])
        assert len([axes for axes in figure.axes if axes.get_gid() == "level-bar"]) == 4 * len(panels)
        assert overlapping_texts(figure) == [] and texts_outside(figure) == []
    text = blocks.caption(graph, levels=levels, fit=fit)
    assert "of 4 layers (direct, q, k, v)" in text and "lies between blocks: direct" in text


def test_signs_that_count_have_a_matrix_of_their_own():
    graph = functional_graph(transformer_graph())
    fit = {"parameters": {"layer_names": [], "weights": ["real-normal", "sign"]}}
    size, sign = block_panels.panels_of(graph, fit)
    weights = graph.matrix(signed=True)
    np.testing.assert_array_equal(np.nan_to_num(size.values), np.abs(weights))
    np.testing.assert_array_equal(np.nan_to_num(sign.values), np.sign(weights))
    figure = blocks.draw(graph, levels=three_levels(graph.n_nodes), fit=fit)
    assert {"sign"} <= {text.get_text() for text in figure.texts}
    assert overlapping_texts(figure) == [] and texts_outside(figure) == []


def test_graphs_over_other_nodes_are_stacked_by_name():
    first = ComputationalGraph(["a", "b"], [0], [1], None, [2.0])
    second = ComputationalGraph(["c", "b"], [1], [0], None, [-3.0], directed=False)
    both = block_panels.stacked({"x": first, "y": second}, ["a", "b", "c"])
    assert not both.directed and both.channels == ("x", "y")
    x, y = (both.subgraph(both.channel == k).matrix() for k in range(2))
    assert (x[0, 1], x[1, 2], y[0, 1], y[1, 2]) == (2.0, 0.0, 0.0, -3.0)


def test_what_blocks_explain_is_a_share_of_variance():
    labels, rng = np.repeat([0, 1], 10), np.random.default_rng(0)
    noise = np.exp(rng.normal(size=(20, 20)))
    sharp = np.where(labels[:, None] == labels, 5.0, 1.0) * np.exp(1e-3 * rng.normal(size=(20, 20)))
    assert block_panels.explained(block_panels.Panel("", sharp), labels) > 0.999
    assert block_panels.explained(block_panels.Panel("", noise), labels) < 0.05
    assert np.isnan(block_panels.explained(block_panels.Panel("", np.ones((20, 20))), labels))
