from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from compgraph import ComputationalGraph, store
from compgraph.cli.main import main
from compgraph.config.randomised import Randomised
from compgraph.models.randomised import How
from tests.workflow.conftest import models  # noqa: F401 (a fixture)


def call(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Path:  # noqa: F811
    folder = tmp_path_factory.mktemp("made")
    stream, data, others = (folder / f"{name}.json" for name in ("stream", "data", "others"))
    chain, images = folder / "chain.json", folder / "images.json"
    effective = ["--partition", "heads", "--held-out", 0.5]
    for arguments in (
        ["import-model", "--path", models / "stream", "-o", stream],
        ["import-model", "--path", models / "chain", "-o", chain],
        ["data", stream, "-o", data, "--task", "induction", "--n", 12],
        ["data", stream, "-o", others, "--task", "induction", "--n", 16, "--seed", 7],
        ["data", chain, "-o", images, "--kind", "images", "--n", 12],
        ["attributions", stream, data, "-o", folder / "buffer.json", "--baseline", "mean", "--baseline-data", others],
        ["structural", stream, "-o", folder / "structural.json", "--method", "composition",
         "--partition", "heads", "--rotated", 0],
        ["functional", folder / "buffer.json", "-o", folder / "functional.json", "--method", "pearson",
         "--partition", "heads"],
        ["effective", stream, data, "-o", folder / "effective.json", *effective, "--baseline", "mean",
         "--baseline-data", others],
        ["effective", chain, images, "-o", folder / "chains.json", "--partition", "channels", "--metric", "margin",
         "--baseline", "zero"],
    ):  # fmt: skip
        code, said = call(*arguments, "--quiet")
        assert code == 0, (arguments, said)
    return folder


READ = {
    "structural": ["stream.json"],
    "functional": ["stream.json", "--data", "data.json", "--buffer", "buffer.json", "--baseline-data", "others.json"],
    "effective": ["stream.json", "--data", "data.json", "--baseline-data", "others.json"],
    "chains": ["chain.json", "--data", "images.json"],
}


def drawn(made: Path, name: str, out: Path, *options: object) -> list[ComputationalGraph]:
    read = [made / word if word.endswith(".json") else word for word in READ[name]]
    code, said = call("nulls", made / f"{name}.json", *read, *options, "-o", out, "--quiet")
    assert code == 0, said
    return [ComputationalGraph.load(path) for path in sorted(store.open(out, kind="graphs").path.glob("*.graph"))]


@pytest.mark.parametrize("name", READ)
def test_null_graphs_are_made_as_the_graph_was_and_compared_with_it(made: Path, tmp_path: Path, name: str) -> None:
    graph = ComputationalGraph.load(made / f"{name}.graph")
    nulls = drawn(made, name, tmp_path / "nulls.json", "--n-nulls", 3, "--randomised", "rotated")
    assert len(nulls) == 3
    for one in nulls:
        assert one.node_names == graph.node_names and one.kind == graph.kind
        assert {key: one.attributes.get(key) for key in ("method", "held_out", "baseline", "baseline_data")} == {
            key: graph.attributes.get(key) for key in ("method", "held_out", "baseline", "baseline_data")
        }
    assert len({one.weight.tobytes() for one in (graph, *nulls)}) == 4
    compared = ["--null-model", "network", "--n-nulls", 3, "--null-graphs", tmp_path / "nulls.json", "--quiet"]
    code, said = call("statistics", made / f"{name}.json", "-o", tmp_path / "s.json", "--measures", "gini", *compared)
    assert code == 0, said
    assert pd.read_parquet(tmp_path / "s.parquet")["n_nulls"].tolist() == [3]
    code, said = call("communities", made / f"{name}.json", "-o", tmp_path / "c.json", *compared)
    assert code == 0, said
    read = store.open(tmp_path / "c.json")
    assert (read.summary["chance"]["null"], read.summary["chance"]["n_nulls"]) == ("network", 3)
    assert read.provenance.inputs["null_graphs"] == store.open(tmp_path / "nulls.json").digest


def test_network_k_is_the_same_however_many_there_are(made: Path, tmp_path: Path) -> None:
    few, many = (drawn(made, "structural", tmp_path / f"{k}.json", "--n-nulls", k, "--seed", 3) for k in (1, 2))
    assert np.array_equal(few[0].weight, many[0].weight)
    other = drawn(made, "structural", tmp_path / "other.json", "--n-nulls", 1, "--seed", 4)
    assert not np.array_equal(few[0].weight, other[0].weight)


def test_other_inputs_than_the_graphs_own_are_refused(made: Path, tmp_path: Path) -> None:
    start = ["nulls", made / "effective.json", made / "stream.json", "-o", tmp_path / "x.json", "--n-nulls", 1]
    borrowed = ["--baseline-data", made / "others.json"]
    code, said = call(*start, "--data", made / "others.json", *borrowed)
    assert code == 1 and "was made from another data than" in said
    code, said = call(*start, "--data", made / "data.json")
    assert code == 1 and "was made from baseline_data, which is not given" in said
    code, said = call("statistics", made / "effective.json", "-o", tmp_path / "s.json", "--null-model", "network")
    assert code == 1 and "network needs them" in said


def test_the_config_knows_what_the_library_does() -> None:
    assert set(get_args(Randomised)) == set(get_args(How))
