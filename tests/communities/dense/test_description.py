from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compgraph.communities.dense.description import Description, Partitioned
from compgraph.communities.dense.graph import DenseGraph
from tests.communities.dense.graphs import MODELS, random_graph, random_labels

NO_TOPOLOGY = {"adjacency": False, "degree_dl": False, "edges_dl": False}


def judged(graph: DenseGraph, labels: np.ndarray, degree_corrected: bool) -> float:
    """graph-tool's entropy."""
    gt = pytest.importorskip("graph_tool", reason="graph-tool is not installed")
    import graph_tool.inference

    source, target, value = graph.pairs
    made = gt.Graph(directed=graph.directed)
    made.add_vertex(graph.n_nodes)
    made.add_edge_list(np.stack([source, target], axis=1))
    options: dict[str, Any] = {}
    if value is not None:
        options = {"recs": [made.new_ep("double", vals=value)], "rec_types": [graph.terms.model]}
    blocks = made.new_vp("int", vals=labels)
    state = graph_tool.inference.BlockState(made, b=blocks, deg_corr=degree_corrected, **options)
    return float(state.entropy(**({} if graph.terms.topology else NO_TOPOLOGY)))


@pytest.mark.parametrize("directed", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_the_closed_form_is_graph_tools_entropy(model: str | None, directed: bool) -> None:
    for n, density in ((6, 1.0), (30, 0.3), (80, 1.0)):
        for topology in (True, False):
            graph = random_graph(n, density, directed, model, topology, seed=n)
            for k in (1, 3, n):
                labels = random_labels(n, k, seed=k)
                for corrected in (False, True) if topology else (False,):
                    ours = Description(graph, corrected).reported(labels)
                    assert ours == pytest.approx(judged(graph, labels, corrected), rel=1e-9)


def test_float32_changes_no_reported_number_and_hardly_a_searched_one() -> None:
    graph = random_graph(1500, 1.0, False, "real-normal", True, seed=0)
    assert graph.values is not None
    assert graph.values.dtype == np.float32
    labels = random_labels(1500, 7, seed=1)
    description = Description(graph, False)
    assert description.length(Partitioned.of(graph, labels)) == pytest.approx(description.reported(labels), rel=1e-9)


def test_moved_and_merged_partitions_are_counted_as_from_the_start() -> None:
    graph = random_graph(30, 0.5, True, "real-normal", True, seed=0)
    partition = Partitioned.of(graph, random_labels(30, 6, seed=0))
    nodes, blocks = np.array([3, 8, 20]), np.array([0, 5, 2])
    moved = partition.moved(graph, nodes, blocks)
    again = Partitioned.of(graph, moved.labels)
    assert np.allclose(moved.incidence, again.incidence)
    assert np.allclose(moved.planes, again.planes)
    merged = partition.compact(np.array([0, 1, 0, 2, 1, 1], np.int32))
    assert np.allclose(merged.incidence, Partitioned.of(graph, merged.labels).incidence)


def test_several_partitions_are_counted_by_one_product() -> None:
    graph = random_graph(20, 1.0, False, "real-normal", True, seed=0)
    partitions = [random_labels(20, k, seed=k) for k in (2, 5)]
    for one, labels in zip(Partitioned.of_all(graph, partitions), partitions, strict=True):
        assert np.allclose(one.planes, Partitioned.of(graph, labels).planes)
