from __future__ import annotations

import pytest

from compgraph.communities import fit_sbm, predict_edges
from compgraph.communities.blocks.generated import KINDS
from compgraph.errors import GraphError
from tests.communities.graphs import layered, transformer, undirected

pytest.importorskip("graph_tool", reason="graph-tool is not installed")


def test_blocks_predict_edges_that_degrees_do_not() -> None:
    graph, _ = KINDS["modular"](n=120, seed=0)
    fit = fit_sbm(graph, weights=None, nested=False, n_runs=1)
    folds = predict_edges(graph, fit, n_folds=3, seed=0).folds
    assert folds["held_out"].sum() == graph.n_edges
    assert (folds["absent"] == 120 * 119 // 2 - graph.n_edges).all()
    assert folds["auc"].min() > 0.65
    assert folds["auc_configuration"].max() < 0.6


def test_random_graphs_are_not_predicted() -> None:
    graph, _ = KINDS["random"](n=60, seed=0)
    fit = fit_sbm(graph, weights=None, nested=False, n_runs=1, degree_corrected=True)
    found = predict_edges(graph, fit, n_folds=3).summary()
    assert found["auc_gain"] == pytest.approx(0, abs=1e-12)  # one block is the configuration model
    assert abs(found["auc"] - 0.5) < 0.1


def test_held_out_weights_are_predicted_by_blocks_alone() -> None:
    graph = undirected(30, 2, 2.0, 0)
    folds = predict_edges(graph, fit_sbm(graph, nested=False, n_runs=1), n_folds=3).folds
    assert folds["auc"].isna().all()
    assert set(folds["reason"]) == {"every pair has an edge"}
    assert folds["r_squared"].min() > 0.3
    assert folds["r_squared_configuration"].max() < 0.1
    nothing = undirected(30, 1, 0.0, 0)
    found = predict_edges(nothing, fit_sbm(nothing, nested=False, n_runs=1), n_folds=3).summary()
    assert found["r_squared"] == pytest.approx(0, abs=0.02)


def test_circuits_are_predicted_among_allowed_pairs() -> None:
    whole, _ = layered(transformer(n_heads=8), 0, ratio=6.0)
    graph = whole.top(int(0.3 * whole.n_edges))
    fit = fit_sbm(graph, weights=None, n_runs=1)
    found = predict_edges(graph, fit, n_folds=3).summary()
    assert found["auc_gain"] > 0.2
    weighted = predict_edges(whole, fit_sbm(whole, nested=False, n_runs=1), n_folds=3).summary()
    assert weighted["auc"] is None
    assert weighted["r_squared"] > 0.4


def test_what_cannot_be_held_out() -> None:
    graph = undirected(3, 1, 0.0, 0)
    fit = fit_sbm(graph, n_runs=1)
    with pytest.raises(GraphError, match="fewer than 5 pairs"):
        predict_edges(graph, fit, n_folds=5)
    with pytest.raises(ValueError, match="n_folds must be at least 2"):
        predict_edges(graph, fit, n_folds=1)
