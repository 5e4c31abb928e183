"""The correlation matrix: sorted by site, symmetric colours, legible at any size."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import LineCollection

from compgraph.figures import functional, matrix, style
from compgraph.figures.tables import edge_table
from compgraph.graph import ComputationalGraph

from .examples import (
    cnn_graph,
    functional_graph,
    loose_graph,
    overlapping_texts,
    texts_outside,
    transformer_graph,
)


@pytest.mark.parametrize("width", ["single", "double"])
def test_matrix_has_borders_between_sites_and_a_symmetric_scale(width):
    graph = functional_graph(cnn_graph())
    figure = functional.draw(graph, width=width)
    axes = figure.axes[0]
    image = axes.images[0]
    assert image.norm.vmin == -image.norm.vmax
    borders = next(c for c in axes.collections if isinstance(c, LineCollection))
    assert len(borders.get_segments()) == 2 * (graph.nodes["site"].nunique() - 1)
    assert [t.get_text() for t in axes.get_yticklabels()]
    assert overlapping_texts(figure) == [] and texts_outside(figure) == []


def test_sites_stay_in_order_and_similar_nodes_become_neighbours():
    nodes = {
        "name": [f"a.0/x.{k}" for k in range(6)] + ["b.0"],
        "site": ["a.0"] * 6 + ["b.0"],
        "level": [0] * 6 + [1],
    }
    group = np.array([0, 1, 0, 1, 0, 1, 2])
    weights = np.where(group[:, None] == group[None, :], 0.9, -0.3)
    graph = ComputationalGraph.from_matrix(weights, nodes=nodes, kind="functional")
    order = functional.sorted_nodes(graph)
    assert order[-1] == 6
    assert len(matrix.runs(group[order].tolist())) == 3


def test_the_drawn_values_are_the_sorted_weights():
    graph = functional_graph(transformer_graph())
    order = functional.sorted_nodes(graph)
    drawn = functional.draw(graph).axes[0].images[0].get_array()
    expected = graph.matrix()[np.ix_(order, order)]
    off = ~np.eye(len(order), dtype=bool)
    np.testing.assert_allclose(np.ma.filled(drawn, np.nan)[off], expected[off])


@pytest.mark.parametrize("width", ["single", "double"])
@pytest.mark.parametrize(
    ("n", "levels", "value"), [(700, 10, None), (30, 1, 0.0), (30, 4, -0.5), (2, 2, 1.0)]
)
def test_degenerate_matrices_are_drawn(n, levels, value, width):
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((n, n)) / 9
    weights = noise + noise.T if value is None else np.full((n, n), value)
    graph = ComputationalGraph.from_matrix(weights, nodes=dict(loose_graph(n, 3, levels).node_columns))
    figure = functional.draw(graph, width=width)
    assert overlapping_texts(figure) == [] and texts_outside(figure) == []
    assert len(style.render(figure, "pdf")) < 3_000_000
    assert functional.caption(graph)


def test_one_node_has_no_pair():
    graph = ComputationalGraph(["only"], [], [], None, [], directed=False)
    assert functional.draw(graph).texts[0].get_text() == "No pair of nodes to correlate."
    assert "no pair" in functional.caption(graph)


def test_caption_states_means_and_the_strongest_pair():
    graph = functional_graph(transformer_graph())
    text = functional.caption(graph, subject="toy")
    best = edge_table(graph).iloc[0]
    assert f"{best['source']} and {best['target']}" in text and "(pearson)" in text
    site = graph.nodes["site"].to_numpy()
    inside = np.abs(graph.weight[site[graph.source] == site[graph.target]]).mean()
    assert f"{style.number(inside)} inside a site" in text


@pytest.mark.parametrize(
    ("top", "limit"), [(0.83, 0.9), (0.012, 0.012), (1.0, 1.0), (0.0, 1.0), (37.0, 40.0)]
)
def test_the_scale_ends_at_a_round_number(top, limit):
    assert functional.colour_limit(np.full(100, top)) == pytest.approx(limit)


def test_large_matrices_are_averaged_not_sampled():
    values = np.arange(36.0).reshape(6, 6)
    np.testing.assert_allclose(matrix.shrink(values, 3)[0, 0], values[:2, :2].mean())
    assert matrix.shrink(values, 6) is values


def test_data_is_the_drawn_matrix():
    graph = functional_graph(transformer_graph())
    table = functional.data(graph).set_index("node")
    assert table.index.tolist() == table.columns.tolist()
    edge = edge_table(graph).iloc[3]
    assert table.loc[edge["source"], edge["target"]] == pytest.approx(edge["weight"])
    assert table.loc[edge["source"], edge["source"]] != table.loc[edge["source"], edge["source"]]
