from __future__ import annotations

import numpy as np
import pytest

from compgraph.communities.pairs import allowed_pairs
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition
from compgraph.statistics.view import UndefinedError, view
from tests.communities.graphs import chain, layered, transformer, undirected
from tests.statistics.graphs import cyclic


def test_a_layered_graph_knows_input_output_and_levels() -> None:
    graph, _ = layered(transformer(), seed=0)
    seen = view(graph)
    assert seen.kind == "layered"
    assert seen.inputs.tolist() == [0]
    assert seen.outputs.tolist() == [graph.n_nodes - 1]
    assert np.array_equal(seen.level, graph.node_columns["level"])
    assert np.array_equal(seen.dense(), graph.matrix(signed=False))
    assert np.array_equal(seen.sparse().toarray(), seen.dense())
    assert seen.n_edges == seen.n_allowed


@pytest.mark.parametrize(
    "graph",
    [
        layered(transformer(), seed=0)[0],
        layered(transformer(parallel=True), seed=0)[0],
        ComputationalGraph.from_architecture(chain(), Partition.units(chain())),
        cyclic(),
        undirected(7, 1, 0.0, seed=0),
    ],
)
def test_allowed_pairs_are_those_of_the_architecture(graph: ComputationalGraph) -> None:
    allowed, expected = view(graph).allowed, allowed_pairs(graph)
    assert np.array_equal(allowed.matrix, expected)
    assert allowed.count == expected.sum()
    assert np.array_equal(allowed.partners[0], expected.sum(axis=1))
    assert np.array_equal(allowed.partners[1], expected.sum(axis=0))
    some = np.arange(graph.n_nodes) % 3 > 0
    assert allowed.among(some) == expected[np.ix_(some, some)].sum()
    every = np.arange(graph.n_nodes)
    assert np.array_equal(allowed.has(every[:, None], every), expected)


def test_an_edge_that_the_architecture_forbids_is_named() -> None:
    architecture = chain((1, 1, 1))
    graph = ComputationalGraph(Partition.units(architecture), [0], [2], None, [1.0], architecture=architecture)
    with pytest.raises(GraphError, match="is not one that the sequential architecture allows"):
        view(graph)


def test_other_weights_on_the_same_pairs() -> None:
    seen = view(undirected(6, 1, 0.0, seed=0))
    made = seen.with_weights(-np.arange(1.0, 16.0))
    assert np.array_equal(made.dense(made.signed), -made.dense())
    assert made.signed.tolist() == (-np.arange(1.0, 16.0)).tolist()
    assert made.total == 2 * np.arange(1.0, 16.0).sum()


def test_edges_of_one_pair_are_added_up() -> None:
    seen = view(undirected(6, 1, 0.0, seed=0))
    made = seen.with_edges(np.array([3, 1, 2]), np.array([1, 3, 5]), np.array([2.0, -3.0, 1.0]))
    assert (made.source.tolist(), made.target.tolist()) == ([1, 2], [3, 5])
    assert (made.signed.tolist(), made.magnitude.tolist()) == ([-1.0, 1.0], [5.0, 1.0])


def test_edges_without_weight_are_none() -> None:
    assert view(ComputationalGraph(["a", "b", "c"], [0, 1], [1, 2], None, [0.0, 2.0])).n_edges == 1


def test_expectations_that_cannot_be_scaled_are_undefined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compgraph.communities.modularity.MAX_STEPS", 1)
    with pytest.raises(UndefinedError, match="too unequal to scale"):
        _ = view(layered(transformer(), seed=0, unequal=1.0)[0]).expected


def test_expectations_are_kept_only_with_the_strengths() -> None:
    seen = view(layered(transformer(), seed=0)[0])
    expected = seen.expected
    weights = np.ones(seen.n_edges)
    assert seen.with_weights(weights, same_strengths=True).expected is expected
    assert seen.with_weights(weights).expected.sum() == pytest.approx(weights.sum())
