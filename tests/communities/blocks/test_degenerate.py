"""Graphs with little or odd things in them: every question has a defined answer, or a refusal in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compgraph.communities import fit_sbm, predict_edges, sample_blocks
from compgraph.errors import CompgraphError
from compgraph.graph import ComputationalGraph
from tests.communities.graphs import chain, layered, transformer

pytest.importorskip("graph_tool", reason="graph-tool is not installed")

NAMES = list("abcdef")
RING = np.array([[0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 0]])
GRAPHS = {
    "empty": ComputationalGraph([], [], [], None, []),
    "one node": ComputationalGraph(["a"], [], [], None, []),
    "no edge": ComputationalGraph(NAMES, [], [], None, [], directed=False),
    "one edge": ComputationalGraph(NAMES, [0], [1], None, [-1.0], directed=False),
    "channels": ComputationalGraph(
        NAMES, [0, 0, 1, 2], [1, 1, 2, 3], [0, 1, 0, 1], [1.0, -1.0, 0.0, 2.0], channels=("q", "k")
    ),
    "complete": ComputationalGraph.from_matrix(np.full((6, 6), 0.5)),
    "negative": ComputationalGraph(NAMES, *RING, None, -np.arange(1.0, 7.0), directed=False),
    "chain": layered(chain(), 0)[0],
    "silent": layered(transformer(1, 2), 0)[0].subgraph(np.zeros(layered(transformer(1, 2), 0)[0].n_edges, bool)),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "weights": {},
    "nested": {"nested": "always"},
    "signs": {"weights": ["real-normal", "sign"]},
    "presence": {"weights": None},
    "select": {"weights": None, "structure": "select"},
    "channels": {"layers": "channels"},
    "levels": {"constraint": "levels"},
    "levels of presence": {"constraint": "levels", "weights": None},
    "bipartite": {"constraint": "bipartite", "weights": None},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_odd_graphs_have_an_answer_or_are_refused(graph: ComputationalGraph, options: dict[str, Any]) -> None:
    try:
        fit = fit_sbm(graph, n_runs=1, **options)
    except CompgraphError as error:
        assert str(error).startswith("sbm: ")
        return
    assert len(fit.labels) == graph.n_nodes
    assert np.isfinite(fit.description_length)
    assert fit.parts["nats"].sum() == pytest.approx(fit.description_length)
    assert fit.summary()["pattern"]
    try:
        drawn = sample_blocks(graph, fit, n_samples=4, thin=1)
        assert len(drawn.consensus) == graph.n_nodes
        assert drawn.summary()["n_blocks"] <= graph.n_nodes
        assert len(predict_edges(graph, fit, n_folds=2).folds) == 2 * max(len(fit.parameters["layer_names"]), 1)
    except CompgraphError as error:
        assert str(error).startswith("sbm: ")
