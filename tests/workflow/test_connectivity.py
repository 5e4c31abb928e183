"""``configs/connectivity.yaml``: every method of structural and functional connectivity through the pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import compgraph as cg
from compgraph import catalogue, store
from compgraph.config.config import load
from compgraph.config.study import Study
from compgraph.connectivity.blockwise.score_matrix import open_score_matrix
from tests.workflow.conftest import ROOT, Run


def shipped() -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((ROOT / "configs" / "connectivity.yaml").read_text())
    return values


def used(section: str, field: str) -> set[Any]:
    return {entry.get(field) for entry in shipped()[section].values()} - {None}


def test_the_config_has_every_method_and_rule() -> None:
    assert used("structural", "method") == set(catalogue.STRUCTURAL)
    assert used("functional", "method") == set(catalogue.FUNCTIONAL)
    assert used("functional", "sparsify") == set(catalogue.SPARSIFICATIONS)
    estimators = {"oas", "empirical", "graphical-lasso", "nearest-neighbour"}  # besides the defaults
    assert used("functional", "estimator") == estimators
    assert used("functional", "part") == {"within", "between"}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, models: Path, call: Run) -> Path:
    """The finished study, on a random transformer and a briefly trained CNN."""
    values, folder = shipped(), tmp_path_factory.mktemp("study")
    values["models"]["transformer"]["path"] = str(models / "stream")
    values["models"]["cnn"]["steps"] = 60
    values["datasets"]["pronouns"] = {"kind": "task", "task": "induction", "n": 40, "seed": 2, "on_request": True}
    for name in ("sequences", "more", "training"):
        values["datasets"][name]["n"] = 60
    values["figures"] = {"draw": ["three-connectivities"]}
    (folder / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    done = call(["run", "--cores", "1"], cwd=folder, timeout=900)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_every_method_gives_a_sound_graph(study: Path) -> None:
    made = {}
    for result in Study(load(study / "config.yaml")).results():
        if result.stage in ("structural", "functional", "effective"):
            path = study / "results" / result.path
            store.verify(path)
            made[path] = cg.ComputationalGraph.load(path.with_suffix(".graph"))
    assert len(made) >= 50
    for path, graph in made.items():
        assert graph.n_edges > 0 and np.isfinite(graph.weight).all(), path
        if "p" in graph.columns:
            p = graph.columns["p"]
            assert np.isfinite(p).any() and (np.isnan(p) | ((p >= 0) & (p <= 1))).all(), path


@pytest.mark.slow
def test_matrices_lie_beside_graphs_of_the_strongest(study: Path) -> None:
    place = study / "results/transformer/main"
    neurons, strongest = place / "structural/neurons.json", place / "sequences/functional/strongest.json"
    directed = open_score_matrix(neurons).between("mlp.1", "mlp.0").T
    either = open_score_matrix(strongest).between("mlp.0", "mlp.1")
    for path, scores in ((neurons, directed), (strongest, either)):
        edges = cg.ComputationalGraph.load(path.with_suffix(".graph")).edges
        edges = edges[edges.source.str.startswith("mlp.0/") & edges.target.str.startswith("mlp.1/")]
        row, column = (edges[end].astype(str).str.rsplit(".", n=1).str[1].astype(int) for end in ("source", "target"))
        assert len(edges)
        np.testing.assert_allclose(scores[row, column], edges.weight, rtol=1e-5)


@pytest.mark.slow
def test_the_three_kinds_are_compared_with_a_null(study: Path) -> None:
    table = pd.read_parquet(study / "results/transformer/main/sequences/comparison/heads.parquet")
    assert {"rank", "rank_by_layers", "top_overlap"} <= set(table["measure"])
    assert table.groupby(["a", "b"]).ngroups == 3
    assert list((study / "results/figures").rglob("three-connectivities*.figure/figure.svg"))
