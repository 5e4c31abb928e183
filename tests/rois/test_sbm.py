from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from compgraph.communities import adjusted_rand, fit_sbm
from compgraph.errors import DataError
from compgraph.graph import ComputationalGraph
from compgraph.rois.sbm import find, level_of
from tests.communities.graphs import groups
from tests.rois.recordings import factor_signals, units

graph_tool = pytest.importorskip("graph_tool", reason="graph-tool is not installed")


@pytest.mark.parametrize(
    ("graph", "n_rois"), [("knn", None), ("knn", 4), ("correlation", 4), ("partial", None), ("significant", 4)]
)
def test_factors_are_recovered(graph: str, n_rois: int | None) -> None:
    found = find(units(factor_signals(300, groups(48, 4), seed=0)), n_rois, 0, graph=graph, n_runs=1)
    assert adjusted_rand(found, groups(48, 4)) > 0.95


@pytest.mark.parametrize(
    ("weights", "graph"),
    [
        ("discrete-poisson", "shared-neighbours"),
        ("discrete-geometric", "shared-neighbours"),
        ("discrete-binomial", "shared-neighbours"),
        ("real-exponential", "shared-neighbours"),
        ("auto", "shared-neighbours"),
        ("discrete-poisson", "knn"),
        ("none", "knn"),
        ("real-normal", "knn"),
    ],
)
def test_weights_are_modelled_as_asked(weights: str, graph: str) -> None:
    planted = units(factor_signals(200, groups(24, 3), seed=0))
    found = find(planted, None, 0, graph=graph, weights=weights, n_runs=1)
    assert adjusted_rand(found, groups(24, 3)) > 0.95
    noise = units(np.random.default_rng(1).normal(size=(200, 24)))
    assert find(noise, None, 0, graph=graph, weights=weights, n_runs=1).max() == 0


def test_dense_correlations_also_tell_sizes_apart() -> None:
    labels = find(units(factor_signals(300, groups(48, 2), seed=1)), None, 0, graph="correlation", n_runs=1)
    assert labels.max() + 1 > 2


def test_the_blocks_are_those_of_the_graph() -> None:
    signals = factor_signals(100, groups(24, 3), seed=2)
    graph = ComputationalGraph.from_matrix(np.corrcoef(signals.T))
    expected = fit_sbm(graph, nested=False, n_runs=1, seed=5, degree_corrected=False)
    found = find(units(signals), None, 5, graph="correlation", n_runs=1, degree_corrected="never")
    assert found.tolist() == expected.labels.tolist()


def test_the_finest_level_of_a_nested_model_is_found() -> None:
    found = find(units(factor_signals(200, groups(40, 4), seed=3)), None, 0, nested=True, n_runs=1)
    assert adjusted_rand(found, groups(40, 4)) > 0.9


def test_levels_of_a_hierarchy_are_chosen_by_place_or_number() -> None:
    finest, coarser = groups(40, 8), groups(40, 2)
    model = SimpleNamespace(levels=(finest, coarser))
    assert level_of(model, 1, None, "x") is coarser
    assert level_of(model, 0, (2, 4), "x") is coarser
    assert level_of(model, 0, (2, 9), "x") is finest
    with pytest.raises(DataError, match="hierarchy_level 2 is none of them"):
        level_of(model, 2, None, "x")
    with pytest.raises(DataError, match=r"no level of the hierarchy of x has 3 to 5 blocks; they have 8, 2"):
        level_of(model, 0, (3, 5), "x")


def test_settings_that_contradict_each_other_are_refused() -> None:
    signals = units(factor_signals(30, groups(12, 2), seed=0))
    with pytest.raises(DataError, match="give a range of n_rois"):
        find(signals, 3, 0, nested=True)
    with pytest.raises(DataError, match="only a nested model has levels"):
        find(signals, None, 0, hierarchy_level=1)
    for weights, options, graph in (
        ("discrete-poisson", {"graph": "correlation"}, "shared-neighbours, not correlation"),
        ("discrete-poisson", {"graph": "knn", "weighted": True}, "not knn with weights"),
        ("real-exponential", {"graph": "partial"}, "knn and shared-neighbours, not partial"),
    ):
        with pytest.raises(DataError, match=graph):
            find(signals, None, 0, weights=weights, **options)
