from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from compgraph.communities import BlockModel, fit_sbm
from compgraph.communities.pairs import node_pairs
from compgraph.errors import GraphError, StoreError
from compgraph.graph import ComputationalGraph
from tests.communities.graphs import groups, layered, transformer, undirected

pytest.importorskip("graph_tool", reason="graph-tool is not installed")


@pytest.fixture(scope="module")
def graph() -> ComputationalGraph:
    return undirected(24, 3, 2.5, seed=0)


@pytest.fixture(scope="module")
def fit(graph: ComputationalGraph) -> BlockModel:
    return fit_sbm(graph, n_runs=2)


def test_the_table_names_nodes_and_levels(graph: ComputationalGraph, fit: BlockModel) -> None:
    table = fit.to_table()
    assert table["node"].tolist() == list(graph.node_names)
    assert table["level0"].dtype == np.int32
    assert (table["level0"] == groups(24, 3)).all()


def test_block_matrices_are_means_over_pairs(graph: ComputationalGraph, fit: BlockModel) -> None:
    weights, labels = graph.matrix(), fit.labels
    pairs = fit.block_matrix(value="pairs")
    assert pairs.loc[0, 0] == 8 * 7 / 2
    assert pairs.loc[0, 1] == 64
    off = ~np.eye(24, dtype=bool)
    for value, entries in (("weight", weights), ("magnitude", np.abs(weights))):
        matrix = fit.block_matrix(value=value)
        assert np.array_equal(matrix, matrix.T)
        for r in range(3):
            for s in range(3):
                inside = off & (labels[:, None] == r) & (labels == s)
                assert matrix.loc[r, s] == pytest.approx(entries[inside].mean())


def test_directed_block_matrices_keep_directions() -> None:
    graph, _ = layered(transformer(n_heads=8), seed=0, ratio=6.0)
    fit = fit_sbm(graph, n_runs=1)
    pairs = node_pairs(graph)
    sums = np.zeros((fit.n_blocks, fit.n_blocks))
    np.add.at(sums, (fit.labels[pairs.source], fit.labels[pairs.target]), 1)
    counts = fit.block_matrix(value="pairs").to_numpy()
    assert (counts <= sums).all()  # pairs that strengths explain are not used
    assert counts.sum() == fit.parameters["pairs"]
    assert not np.array_equal(counts, counts.T)


def test_saved_and_loaded_is_the_same(fit: BlockModel, tmp_path: Path) -> None:
    fit.save(tmp_path / "fit")
    loaded = BlockModel.load(tmp_path / "fit")
    assert loaded.summary() == fit.summary()
    assert all(np.array_equal(a, b) for a, b in zip(loaded.levels, fit.levels, strict=True))
    pd.testing.assert_frame_equal(loaded.runs, fit.runs)
    pd.testing.assert_frame_equal(loaded.blocks, fit.blocks)
    pd.testing.assert_frame_equal(loaded.block_matrix(), fit.block_matrix())
    assert loaded.names == fit.names


def test_saving_twice_gives_the_same_bytes(fit: BlockModel, tmp_path: Path) -> None:
    for name in ("a", "b"):
        fit.save(tmp_path / name)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_an_undefined_agreement_survives(fit: BlockModel, tmp_path: Path) -> None:
    single = dataclasses.replace(fit, agreement=float("nan"))
    single.save(tmp_path)
    assert json.loads((tmp_path / "model.json").read_text())["agreement"] is None
    assert np.isnan(BlockModel.load(tmp_path).agreement)


def test_what_is_not_a_block_model_is_refused(fit: BlockModel, tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="does not hold a block model"):
        BlockModel.load(tmp_path / "nowhere")
    fit.save(tmp_path)
    page = json.loads((tmp_path / "model.json").read_text())
    for version, what_to_do in ((99, "newer compgraph"), (2, "compgraph sbm"), (1, "compgraph sbm")):
        (tmp_path / "model.json").write_text(json.dumps(page | {"format": version}))
        with pytest.raises(GraphError, match=f"block model format {version}, and this version reads 3: .*{what_to_do}"):
            BlockModel.load(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps(page))
    (tmp_path / "nodes.parquet").unlink()
    with pytest.raises(StoreError, match=r"nodes\.parquet"):
        BlockModel.load(tmp_path)


def test_a_notebook_shows_what_it_was_compared_with(fit: BlockModel) -> None:
    shown = dataclasses.replace(fit, models=fit.models.assign(model="<b>"))._repr_html_()
    assert f"BlockModel({fit.n_blocks}" in shown and shown.count("<tr") == 1 + len(fit.models)
    assert "<b>" not in shown and "&lt;b&gt;" in shown


@pytest.mark.parametrize("options", [{"level": 7}, {"value": "median"}])
def test_questions_that_mean_nothing_are_refused(fit: BlockModel, options: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        fit.block_matrix(**options)
