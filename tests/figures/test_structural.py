"""Structural figures with a null: what is drawn, what captions say, static circuits."""

from __future__ import annotations

import numpy as np
import pytest

from compgraph.connectivity.structural import structural_connectivity
from compgraph.figures import structural
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition
from tests.models.tiny import tiny_network

from .examples import overlapping_texts, texts_outside, transformer_graph


def graph_with_null(share):
    """A graph of which a share of the edges is beyond chance, not the strongest ones."""
    graph = transformer_graph(kind="structural", negative=0)
    order = np.argsort(graph.weight)
    adjusted = np.ones(graph.n_edges)
    adjusted[order[: round(share * graph.n_edges)]] = 0.01
    return ComputationalGraph(
        graph.partition, graph.source, graph.target, graph.channel, graph.weight,
        channels=graph.channels, kind="structural", architecture=graph.architecture,
        columns={"z": graph.weight, "p": adjusted / 2, "p_adjusted": adjusted},
    )  # fmt: skip


def test_only_edges_beyond_chance_are_drawn():
    graph = graph_with_null(0.5)
    table = structural.data(graph, edges=20)
    assert (table.p_adjusted == 0.01).all() and list(table.weight) == sorted(table.weight, reverse=True)
    np.testing.assert_array_equal(table.z, table.weight)
    sure = structural.certain(structural.inner(graph)).n_edges
    assert f"20 strongest of {sure:,} edges beyond chance" in structural.caption(graph, edges=20)
    assert overlapping_texts(structural.draw(graph, edges=20)) == []


def test_without_any_the_strongest_are_drawn_and_said_to_be_chance():
    graph = graph_with_null(0)
    assert len(structural.data(graph, edges=20)) == 20
    assert "None is beyond chance" in structural.caption(graph)


@pytest.mark.parametrize("width", ["single", "double"])
def test_static_circuits_have_a_cell_for_each_head(width):
    net = tiny_network("llama")
    graph = structural_connectivity(net, Partition.heads(net), "virtual-circuits", rotated=0)
    figure = structural.draw(graph, width=width)
    assert [axes.images[0].get_array().shape for axes in figure.axes] == [(2, 4)] * 3
    assert overlapping_texts(figure) == [] and texts_outside(figure) == []
    assert "attn.1" in structural.caption(graph) or "attn.0" in structural.caption(graph)
    assert len(structural.data(graph)) == 8
