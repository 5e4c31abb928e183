"""From a results folder to a page: what lies around a graph is found, what does not fit is left out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from compgraph.cli.main import main
from compgraph.errors import DataError, StoreError
from compgraph.explorer.gather import companions, gather, root_of
from tests.explorer.examples import curve
from tests.figures.examples import functional_graph, transformer_graph
from tests.report.examples import make


class Words:
    """A tokenizer of one word a number."""

    def decode(self, tokens):
        return f" w{tokens[0]}"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two checkpoints of a model; graphs of three kinds, and one on other nodes; a curve, blocks, communities."""
    root = tmp_path_factory.mktemp("results")
    graph = transformer_graph(2, 3)
    for step, seed in (("step-000000", 1), ("step-000100", 0)):
        make(root / "toy" / step / "model.json", "model", stage="train")
        place = root / "toy" / step / "ioi"
        one = transformer_graph(2, 3, seed=seed)
        make(place / "effective/heads.json", "graph", payload=one.save, suffix=".graph")
    make(root / "toy/step-000100/structural/heads.json", "graph", suffix=".graph",
         payload=transformer_graph(2, 3, kind="structural").save)  # fmt: skip
    make(place / "functional/heads.json", "graph", payload=functional_graph(graph).save, suffix=".graph")
    make(place / "effective/other.json", "graph", payload=transformer_graph(2, 6).save, suffix=".graph")
    table = curve(graph.n_edges).table
    about = {"ablation": "edge", "baseline": "counterfactual"}
    make(place / "evaluation/curves@edges@effective.heads.json", "faithfulness", summary=about,
         payload=table.to_parquet)  # fmt: skip
    nodes = pd.DataFrame({"node": graph.node_names, "level0": np.arange(graph.n_nodes) % 3, "level1": 0})
    nodes.loc[0, "level0"] = -1

    def blocks(path):
        path.mkdir()
        nodes.to_parquet(path / "nodes.parquet")

    make(place / "sbm/nested@effective.heads.json", "sbm", payload=blocks, suffix=".blocks")
    found = pd.DataFrame({"node": graph.node_names, "community": 1})
    make(place / "communities/louvain@functional.heads.json", "communities", payload=found.to_parquet)
    return root


@pytest.fixture
def manifest(root):
    return root / "toy/step-000100/ioi/effective/heads.json"


def test_everything_around_a_graph_is_found(root, manifest):
    assert root_of(manifest) == root
    names = {path.relative_to(root / "toy").as_posix() for path in companions(manifest)}
    assert names == {
        "step-000100/model.json", "step-000100/structural/heads.json", "step-000100/ioi/functional/heads.json",
        "step-000100/ioi/effective/other.json", "step-000000/ioi/effective/heads.json",
        "step-000100/ioi/evaluation/curves@edges@effective.heads.json",
        "step-000100/ioi/sbm/nested@effective.heads.json",
        "step-000100/ioi/communities/louvain@functional.heads.json",
    }  # fmt: skip


def test_a_page_of_what_fits(root, manifest):
    found = gather(manifest, companions(manifest), root, lambda model: Words())
    page = found.page
    assert page.title == "toy, step-000100, ioi, effective heads"
    assert [view.key for view in page.views] == [
        "step-000100/effective/heads", "step-000000/effective/heads", "step-000100/structural/heads",
        "step-000100/functional/heads",
    ]  # fmt: skip
    assert [one.name for one in page.views[0].curves] == ["edge ablation, baseline counterfactual (edges)"]
    assert not page.views[1].curves
    groups = {one.name: one.groups for one in page.groupings}
    assert list(groups) == [
        "blocks, nested, level 0", "blocks, nested, level 1", "communities, louvain of functional heads"
    ]  # fmt: skip
    first = page.views[0].graph.node_names
    assert first[0] not in groups["blocks, nested, level 0"] and groups["blocks, nested, level 0"][first[4]] == "1"
    assert len(found.digests) == 9 and all(digest.startswith("sha256:") for digest in found.digests.values())
    page.to_dict()


def test_the_verb_writes_a_page_or_a_result(root, manifest, tmp_path):
    runner = CliRunner()
    for output in ("page.html", "page.json"):
        called = runner.invoke(main, ["explore", str(manifest), "--output", str(tmp_path / output)])
        assert called.exit_code == 0, called.output
    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    alone = manifest.parent / "heads.graph"
    called = runner.invoke(main, ["explore", str(alone), "--output", str(tmp_path / "alone.html")])
    assert called.exit_code == 0 and (tmp_path / "alone.html").stat().st_size > 50_000


def test_what_cannot_be_shown(root, manifest, tmp_path):
    with pytest.raises(DataError, match="does not lie in a results folder"):
        root_of(tmp_path / "heads.json")
    with pytest.raises(StoreError, match="a page is about a graph"):
        gather(root / "toy/step-000100/model.json", [], root, lambda model: Words())
    called = CliRunner().invoke(main, ["explore", str(manifest), "--output", str(tmp_path / "page.pdf")])
    assert called.exit_code and "must end in .html or .json" in called.output
