from __future__ import annotations

import numpy as np
import pytest

from compgraph.statistics.view import view
from tests.communities.graphs import layered, transformer, undirected


def test_a_layered_graph_knows_input_output_and_levels() -> None:
    graph, _ = layered(transformer(), seed=0)
    seen = view(graph)
    assert seen.kind == "layered"
    assert seen.inputs.tolist() == [0]
    assert seen.outputs.tolist() == [graph.n_nodes - 1]
    assert np.array_equal(seen.level, graph.node_columns["level"])
    assert np.array_equal(seen.magnitude, graph.matrix(signed=False))
    assert len(seen.ends[0]) == seen.allowed.sum()


def test_other_weights_on_the_same_pairs() -> None:
    seen = view(undirected(6, 1, 0.0, seed=0))
    made = seen.with_weights(-np.arange(1.0, 16.0))
    assert np.array_equal(made.signed, made.signed.T)
    source, target = made.ends
    assert made.signed[source, target].tolist() == (-np.arange(1.0, 16.0)).tolist()
    assert np.array_equal(made.magnitude, -made.signed)


def test_expectations_are_kept_only_with_the_strengths() -> None:
    seen = view(layered(transformer(), seed=0)[0])
    expected = seen.expected
    weights = np.ones(len(seen.ends[0]))
    assert seen.with_weights(weights, same_strengths=True).expected is expected
    assert seen.with_weights(weights).expected.sum() == pytest.approx(weights.sum())
