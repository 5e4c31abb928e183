"""Ensembles against plain arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from compgraph.circuits.ensemble import combine_scores
from compgraph.errors import GraphError
from tests.circuits.graphs import scored

A = np.array([1.0, -2, 3, -4, 5, -6, 0, 0, 1, 1, -1, 2])
B = np.array([0.0, 2, -3, 4, 5, 6, 0, 0, -1, 1, 1, 1])


def joined(how, **options):
    return combine_scores([scored(A), scored(B)], how, **options).weight


def test_elementwise():
    np.testing.assert_allclose(joined("mean"), (A + B) / 2)
    np.testing.assert_allclose(joined("min"), np.minimum(A, B))
    np.testing.assert_allclose(joined("max"), np.maximum(A, B))
    np.testing.assert_allclose(joined("weighted", weights=[3, 1]), 0.75 * A + 0.25 * B)
    np.testing.assert_allclose(joined("weighted", weights=[2, 2]), joined("mean"))


def test_ranks_of_absolute_scores():
    small = combine_scores([scored([3.0, -1, 0, 0, 7, 2, 9, -9, 4, 5, 6, -8])], "rank").weight * 12
    np.testing.assert_allclose(small, [5, 3, 1.5, 1.5, 9, 4, 11.5, 11.5, 6, 7, 8, 10])
    np.testing.assert_allclose(joined("rank"), (joined_rank(A) + joined_rank(B)) / 2)


def joined_rank(scores):
    return combine_scores([scored(scores)], "rank").weight


def test_scales():
    np.testing.assert_allclose(joined("mean", scale="sum"), (A / 26 + B / 24) / 2)
    by_destination = combine_scores([scored(A)], scale="destination").weight
    # into head 0: q, k, v one edge each; into head 1: two each; into logits: three
    np.testing.assert_allclose(by_destination, [1, -1, 1, -4 / 9, 5 / 9, -1, 0, 0, 1, 1 / 4, -1 / 4, 2 / 4])


def test_one_graph_is_itself_and_order_does_not_matter():
    np.testing.assert_array_equal(combine_scores([scored(A)]).weight, A)
    for how in ("mean", "rank", "min", "max"):
        forth, back = (combine_scores(pair, how).weight for pair in ([scored(A), scored(B)], [scored(B), scored(A)]))
        np.testing.assert_allclose(forth, back)


def test_says_what_was_joined():
    graphs = [scored(A), scored(B)]
    graphs[0].attributes["method"] = "eap"
    graph = combine_scores(graphs, "weighted", weights=[1, 3], scale="sum")
    assert graph.attributes["ensemble"] == {
        "how": "weighted",
        "scale": "sum",
        "methods": ["eap", ""],
        "weights": [0.25, 0.75],
    }
    assert graph.kind == "effective" and graph.partition == graphs[0].partition


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"how": "median"}, "'median' is not known"),
        ({"scale": "max"}, "'max' is not known"),
        ({"weights": [1, 1]}, "weights belong to how='weighted'"),
        ({"how": "weighted"}, "weights belong to how='weighted'"),
        ({"how": "weighted", "weights": [1]}, "must be 2 numbers"),
        ({"how": "weighted", "weights": [0, 0]}, "not all 0"),
        ({"how": "weighted", "weights": [2, -1]}, "at least 0"),
    ],
)
def test_bad_requests(arguments, message):
    with pytest.raises(GraphError, match=message):
        combine_scores([scored(A), scored(B)], **arguments)


def test_edges_must_be_the_same():
    with pytest.raises(GraphError, match="no graphs"):
        combine_scores([])
    with pytest.raises(GraphError, match=r"graph 1 has 11 edges"):
        combine_scores([scored(A), scored(A).top(11)])
    with pytest.raises(GraphError, match=r"edge 0 of graph 1 is embed -> attn\.1/head\.0, "):
        combine_scores([scored(A).top(1), scored(A[::-1]).subgraph(np.arange(12) == 3)])
    with pytest.raises(GraphError, match="different nodes"):
        combine_scores([scored(n_layers=1, n_heads=3).top(12), scored(A)])
