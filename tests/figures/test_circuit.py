"""Layered drawings: what is drawn, what is merged, nothing on top of anything else."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.patches import FancyBboxPatch

from compgraph.figures import effective, structural, style
from compgraph.figures.circuit import edge_colours, line_widths
from compgraph.figures.sketch import node_label, sketch
from compgraph.graph import ComputationalGraph

from .examples import cnn_graph, loose_graph, overlapping_texts, texts_outside, transformer_graph


def boxes_of(figure):
    return [patch for patch in figure.axes[0].patches if isinstance(patch, FancyBboxPatch)]


def lines_of(figure):
    return next(c for c in figure.axes[0].collections if isinstance(c, PathCollection)).get_paths()


@pytest.mark.parametrize("width", ["single", "double"])
@pytest.mark.parametrize("colour", ["sign", "channel"])
def test_effective_circuit(width, colour):
    graph = transformer_graph()
    figure = effective.draw(graph, edges=60, colour=colour, width=width)
    kept = effective.circuit(graph, 60)
    pairs = len({(s, t) for s, t in zip(kept.source, kept.target, strict=True)})
    assert len(lines_of(figure)) == (pairs if colour == "sign" else kept.n_edges)
    assert len(boxes_of(figure)) == kept.n_nodes
    assert figure.get_size_inches()[0] == style.WIDTHS[width]
    assert overlapping_texts(figure) == [] and texts_outside(figure) == []


def test_a_hundred_nodes_are_legible():
    graph = transformer_graph(12, 12)
    kept = effective.circuit(graph, 1500)
    figure = effective.draw(graph, edges=1500)
    assert 60 <= kept.n_nodes <= 158 and len(boxes_of(figure)) <= 100
    assert overlapping_texts(figure) == [] and texts_outside(figure) == []


def test_more_nodes_are_merged_and_the_number_is_said():
    graph = loose_graph(2000, 600, 10)
    shown = sketch(graph)
    assert len(shown.nodes) == 100
    assert shown.nodes["members"].sum() == len(np.union1d(graph.source, graph.target))
    merged = int(shown.nodes.loc[shown.nodes["members"] > 1, "members"].sum())
    assert shown.merged == merged and f"{merged:,} weaker nodes merged" in shown.note
    inside = graph.weight.sum() - shown.edges["weight"].sum()
    assert np.isfinite(inside) and len(shown.edges) < graph.n_edges


def test_merging_adds_weights_up():
    nodes = {
        "name": ["a.0/x.0", "a.0/x.1", "a.0/x.2", "b.0"],
        "site": ["a.0", "a.0", "a.0", "b.0"],
        "level": [0, 0, 0, 1],
    }
    graph = ComputationalGraph(nodes, [0, 1, 2], [3, 3, 3], None, [5.0, 1.0, 0.5])
    shown = sketch(graph, node_limit=3)
    assert shown.nodes["label"].tolist() == ["0.x0", "+2", "b 0"]
    assert shown.edges["weight"].tolist() == [5.0, 1.5]


def test_weak_edges_beyond_the_limit_are_left_out_and_said():
    shown = sketch(loose_graph(50, 300, 5), edge_limit=100)
    assert shown.hidden > 0 and f"{shown.hidden:,} weakest edges not drawn" in shown.note


def test_no_path_is_a_sentence_not_a_crash():
    graph = transformer_graph(12, 12)
    figure = effective.draw(graph, edges=1)
    assert [text.get_text() for text in figure.texts] == [
        "The 1 strongest edges hold no path from the input to the output."
    ]
    assert "no path" in effective.caption(graph, edges=1)
    assert effective.data(graph, edges=1).empty


@pytest.mark.parametrize("width", ["single", "double"])
@pytest.mark.parametrize(
    "shape",
    [
        (12, 20, 1, None),
        (30, 60, 4, -0.5),
        (30, 60, 4, 0.0),
        (2, 3, 1, 1.0),
        (2000, 2500, 10, None),
        (2000, 2500, 2000, None),
    ],
    ids=["one layer", "negative", "zero", "two nodes", "2000 nodes", "2000 layers"],
)
def test_degenerate_graphs_are_drawn(shape, width):
    figure = structural.draw(loose_graph(*shape), edges=3000, width=width)
    assert lines_of(figure)
    assert overlapping_texts(figure) == []
    assert figure.get_size_inches()[1] < 15
    assert style.render(figure, "png")


def test_no_edges():
    empty = transformer_graph().top(0)
    assert structural.draw(empty).texts[0].get_text() == "This graph has no edges."
    assert structural.caption(empty).endswith("The graph has no edges.")


def test_structural_drawings_leave_out_what_all_parts_share():
    graph = transformer_graph(kind="structural", negative=0)
    kept = structural.inner(graph)
    ends = {"embed", "logits"}
    assert not ends & set(kept.edges["source"]) and not ends & set(kept.edges["target"])
    left_out = graph.n_edges - kept.n_edges
    assert f"the {left_out:,} from the embedding and to the logits are left out" in structural.caption(graph)
    assert structural.inner(cnn_graph()).n_edges == cnn_graph().n_edges


def test_structural_caption_names_the_busiest_node():
    table = structural.data(cnn_graph(), edges=30)
    counts = table["source"].value_counts().add(table["target"].value_counts(), fill_value=0)
    assert f"has the most, {int(counts.max())} of them." in structural.caption(cnn_graph(), edges=30)


def test_structural_colours_tell_the_channel():
    figure = structural.draw(transformer_graph(kind="structural", negative=0), edges=80)
    words = {text.get_text() for text in figure.axes[0].findobj(lambda a: hasattr(a, "get_text"))}
    assert {"query", "key", "value"} <= words
    assert overlapping_texts(figure) == []


def test_a_graph_without_channels_needs_no_colour_legend():
    figure = structural.draw(cnn_graph())
    words = [text.get_text() for text in figure.axes[0].findobj(lambda a: hasattr(a, "get_text"))]
    assert not {"query", "MLP or logits input"} & set(words)


def test_captions_state_the_numbers():
    graph = transformer_graph()
    text = effective.caption(graph, edges=60, subject="toy on ioi")
    kept = effective.circuit(graph, 60)
    strongest = effective.data(graph, edges=60).iloc[0]
    assert text.startswith("Effective connectivity of toy on ioi (eap, logit_difference).")
    assert f"{kept.n_edges} that lie on a path" in text
    assert f"{strongest['source']} \u2192 {strongest['target']}" in text
    assert f"{graph.n_edges:,} edges" in text


def test_data_lists_the_drawn_edges_strongest_first():
    table = structural.data(cnn_graph(), edges=25)
    assert list(table.columns) == ["source", "target", "channel", "weight"]
    assert len(table) == 25 and table["weight"].abs().is_monotonic_decreasing


def test_colours_of_signs():
    edges = effective.data(transformer_graph(), edges=60)
    colours = edge_colours(edges, "sign")
    assert [c == style.SIGN_COLOURS["negative"] for c in colours] == (edges["weight"] < 0).tolist()


def test_line_widths_grow_with_weight_and_stay_thin_when_all_are_equal():
    widths = line_widths(np.array([0.01, 0.1, -1.0]))
    assert widths[0] < widths[1] < widths[2]
    assert line_widths(np.full(10, 3.0)).max() <= 1.5


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("attn.3/head.5", "3.5"),
        ("mlp.3", "mlp 3"),
        ("embed", "embed"),
        ("logits/class.2", "class 2"),
        ("mlp.2/roi.7", "2.r7"),
        ("conv.1/channel.12", "1.12"),
        ("attn.1/rest", "rest"),
    ],
)
def test_labels_are_short(name, label):
    assert node_label(name) == label


def test_parallel_blocks_share_a_row():
    shown = sketch(transformer_graph(parallel=True, n_layers=2))
    rows = shown.nodes.loc[shown.nodes["title"] == "attn.0 \u00b7 mlp.0", "label"].tolist()
    assert "mlp 0" in rows and "0.0" in rows
