from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from compgraph import store
from compgraph.cli.main import main
from compgraph.communities import BlockModel
from tests.communities.graphs import layered, transformer
from tests.report.examples import make

pytest.importorskip("graph_tool", reason="graph-tool is not installed")


@pytest.fixture
def manifests(tmp_path: Path) -> list[str]:
    """The same kind of graph on two datasets."""
    paths = []
    for seed, data in enumerate(("one", "two")):
        graph, _ = layered(transformer(n_heads=8), seed=0, ratio=6.0 + seed)
        path = tmp_path / "m/step-000010" / data / "effective/heads.json"
        make(path, "graph", payload=graph.save, suffix=".graph")
        paths.append(str(path))
    return paths


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["sbm", *arguments, "--quiet"])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_graph_with_samples_and_held_out_edges(manifests: list[str], tmp_path: Path) -> None:
    output = tmp_path / "blocks.json"
    flags = "--no-nested --n-runs 1 --signs --n-samples 20 --thin 1 --n-folds 2"
    run(manifests[0], "--output", str(output), *flags.replace("--no-nested", "--nested false").split())
    result = store.open(output, kind="sbm")
    assert result.summary["n_blocks"] == 2
    assert result.summary["parameters"]["weights"] == ["real-normal", "sign"]
    assert result.summary["prediction"]["r_squared"] > 0.3
    assert result.summary["sample"]["n_blocks"] >= 2
    tables = {"marginals", "consensus", "chains", "trace", "prediction", "parts", "models", "memberships"}
    assert tables <= {path.stem for path in result.path.iterdir()}
    assert BlockModel.load(result.path).n_blocks == 2


def test_graphs_of_two_datasets_are_layers(manifests: list[str], tmp_path: Path) -> None:
    output = tmp_path / "joint.json"
    run(*manifests, "--output", str(output), "--layers", "datasets", "--nested", "false", "--n-runs", "1")
    result = store.open(output, kind="sbm")
    assert result.summary["parameters"]["layer_names"] == ["one/effective.heads", "two/effective.heads"]
    assert set(BlockModel.load(result.path).blocks["layer"]) == {"one/effective.heads", "two/effective.heads"}
    refused = CliRunner().invoke(main, ["sbm", *manifests, "--output", str(tmp_path / "x.json"), "--quiet"])
    assert refused.exit_code != 0
    assert "a block model is of one" in refused.output
