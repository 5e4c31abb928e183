from __future__ import annotations

import builtins
import importlib.util
import sys
from typing import Any

import numpy as np
import pytest

from compgraph.communities import adjusted_rand, fit_sbm
from compgraph.communities.blocks import starts as informed
from compgraph.communities.blocks.hierarchy import hierarchy, node_levels
from compgraph.communities.blocks.library import load_graph_tool
from compgraph.communities.blocks.observed import Covariate, Observed
from compgraph.communities.sbm_search import Search
from compgraph.errors import MissingDependency
from compgraph.graph import ComputationalGraph
from compgraph.rois import find_rois
from tests.communities.graphs import groups, layered, transformer, undirected


def test_hierarchy_and_node_levels_invert_each_other() -> None:
    levels = (groups(12, 6).astype(np.int32), groups(12, 3).astype(np.int32))
    blocks = hierarchy(levels)
    assert [len(b) for b in blocks] == [12, 6, 3]
    assert blocks[1].tolist() == [0, 0, 1, 1, 2, 2]
    back = node_levels(blocks)
    assert len(back) == 2
    assert all(np.array_equal(a, b) for a, b in zip(levels, back, strict=True))


def test_levels_that_repeat_or_say_nothing_are_left_out() -> None:
    same = [groups(6, 2), np.array([0, 1]), np.array([0, 0]), np.array([0])]
    assert len(node_levels(same)) == 1
    assert len(node_levels([np.zeros(4, int), np.zeros(1, int)])) == 1


@pytest.fixture
def without_graph_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    """graph-tool cannot be imported, nor found."""
    original, find = builtins.__import__, importlib.util.find_spec

    def refuse(name: str, *arguments: Any, **options: Any) -> Any:
        if name.split(".")[0] == "graph_tool":
            raise ImportError(name)
        return original(name, *arguments, **options)

    for name in [name for name in sys.modules if name.split(".")[0] == "graph_tool"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", refuse)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "graph_tool" else find(name))


@pytest.mark.usefixtures("without_graph_tool")
def test_without_graph_tool_the_message_says_how_to_get_it() -> None:
    install = r"python3-graph-tool.*conda install -c conda-forge graph-tool"
    with pytest.raises(MissingDependency, match=install):
        load_graph_tool()
    with pytest.raises(MissingDependency, match=rf"{install}.*nested=False"):
        fit_sbm(undirected(6, 1, 0.0, seed=0))
    with pytest.raises(MissingDependency, match=install):
        fit_sbm(undirected(6, 1, 0.0, seed=0), nested=False, engine="graph-tool")


@pytest.mark.usefixtures("without_graph_tool")
def test_without_graph_tool_flat_models_are_fitted_all_the_same() -> None:
    fit = fit_sbm(undirected(40, 3, 2.0, seed=1), nested=False)
    assert adjusted_rand(fit.labels, groups(40, 3)) == 1
    assert (fit.parameters["engine"], fit.parameters["judge"]) == ("dense", "closed form")
    scores, labels = layered(transformer(n_heads=8), seed=0, ratio=6.0)
    assert adjusted_rand(fit_sbm(scores, nested=False, n_runs=1).labels, labels) > 0.85
    series = np.random.default_rng(0).normal(size=(2, 300))[groups(30, 2)]
    noisy = series + 0.3 * np.random.default_rng(1).normal(size=series.shape)
    found = find_rois(noisy.T, method="sbm").labels["units"]
    assert adjusted_rand(found, groups(30, 2)) == 1


def test_large_graphs_start_from_one_sparse_spectral_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("graph_tool", reason="graph-tool is not installed")
    monkeypatch.setattr(informed, "LARGE", 100)
    monkeypatch.setattr(informed, "LARGE_BLOCKS", (4, 8))
    rng = np.random.default_rng(0)
    labels = groups(300, 4)
    chance = np.where(labels[:, None] == labels, 0.15, 0.005)
    edges = np.triu(rng.random((300, 300)) < chance, 1).astype(float)
    graph = ComputationalGraph.from_matrix(edges + edges.T, drop_zeros=True)
    fit = fit_sbm(graph, weights=None, nested=False, n_runs=1)
    assert adjusted_rand(fit.labels, labels) == 1
    assert fit.runs["start"].tolist() == ["spectral 4"]


@pytest.fixture
def search() -> Search:
    pytest.importorskip("graph_tool", reason="graph-tool is not installed")
    graph = undirected(30, 3, 2.0, seed=0)
    seen = Observed(
        30,
        graph.source.astype(np.int64),
        graph.target.astype(np.int64),
        (Covariate(graph.weight, "real-normal"),),
        directed=False,
        topology=True,
        levels=groups(30, 5),
    )
    return Search(seen, effort=1)


def test_starts_are_one_block_the_levels_and_spectral(search: Search) -> None:
    starts = search.starts.all(0)
    assert list(starts)[:2] == ["one block", "levels"]
    assert starts["levels"].tolist() == groups(30, 5).tolist()
    assert {"spectral 2", "spectral 3", "spectral 8"} <= set(starts)
    assert starts["spectral 3"].tolist() == groups(30, 3).tolist()


def test_flat_fits_are_sorted_and_distinct(search: Search) -> None:
    fits = search.flat(False, seed=1)
    lengths = [fit.length for fit in fits]
    assert lengths == sorted(lengths)
    assert len({fit.levels[0].tobytes() for fit in fits}) == len(fits)
    assert fits[0].length <= search.states.flat_length(groups(30, 3), False) + 1e-6
    assert fits[0].length == pytest.approx(search.states.flat_length(fits[0].levels[0], False), abs=1e-9)


def test_a_nested_model_of_one_block_is_the_flat_one(search: Search) -> None:
    whole = np.zeros(30, np.int32)
    flat = search.states.flat_length(whole, False)
    assert search.states.nested_length([whole], False) == pytest.approx(flat, abs=1e-9)
