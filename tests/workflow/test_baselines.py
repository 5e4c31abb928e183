"""Baselines made from data, in a study: from the dataset itself or from another."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from compgraph import ComputationalGraph, store
from tests.workflow.conftest import Run

STUDY = """
models:
  stream: {{source: pretrained, path: {models}/stream}}
datasets:
  prompts: {{kind: task, task: induction, n: 16}}
  others: {{kind: task, task: induction, n: 24, seed: 7}}
effective:
  own: {{partition: heads, baseline: mean, datasets: [prompts]}}
  borrowed: {{partition: heads, baseline: position-mean, baseline_data: others, datasets: [prompts], bootstrap: 20}}
  learned: {{partition: heads, baseline: optimal, baseline_options: {{steps: 3}}, datasets: [prompts]}}
ablation:
  held: {{baseline: optimal, baseline_options: {{steps: 3}}, datasets: [prompts], graphs: [effective.learned]}}
  noisy: {{baseline: noise, seed: 3, datasets: [prompts], graphs: [effective.own], sizes: [0.5]}}
  another: {{baseline: resample, baseline_data: others, datasets: [prompts], graphs: [effective.own], sizes: [0.5]}}
evaluation:
  curves: {{n_bootstrap: 10}}
attributions:
  patched: {{baseline: mean, baseline_data: others, datasets: [prompts], positions: scored}}
figures: {{draw: []}}
run: {{cores: 2}}
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, models: Path, call: Run) -> Path:
    """The results of the finished study."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "config.yaml").write_text(STUDY.format(models=models))
    done = call(["run"], cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "results"


def test_results_say_where_the_baseline_came_from(results: Path) -> None:
    place = results / "stream/main/prompts"
    others = store.open(results / "stream/datasets/others.json")
    own, borrowed = (ComputationalGraph.load(place / f"effective/{name}.graph") for name in ("own", "borrowed"))
    assert own.attributes["baseline_data"] == "own"
    assert borrowed.attributes["baseline"] == "position-mean"
    assert borrowed.attributes["baseline_data"].startswith("sha256:")
    assert {"low", "high", "sign_consistency"} <= set(borrowed.columns)
    for name in ("effective/borrowed", "ablation/another@effective.own", "attributions/patched"):
        inputs = store.open(place / f"{name}.json").manifest["provenance"]["inputs"]
        assert inputs["baseline_data"] == others.digest, name
    table = pd.read_parquet(place / "evaluation/curves@noisy@effective.own.parquet")
    assert table["value"].notna().all()


def test_constants_are_learned_once_and_never_from_what_is_tested(results: Path) -> None:
    place = results / "stream/main/prompts"
    graph = ComputationalGraph.load(place / "effective/learned.graph")
    assert graph.attributes["baseline_steps"] == 3
    said = store.open(place / "ablation/held@effective.learned.json").summary
    assert said["baseline"] == "optimal"
    assert said["baseline_data"].startswith("sha256:")
    logs = results / "logs/stream/main/prompts"
    learning = {
        name: "learns the constants" in (logs / f"{name}.log").read_text()
        for name in ("effective/learned", "ablation/held@effective.learned")
    }
    assert learning == {"effective/learned": True, "ablation/held@effective.learned": False}


def test_a_plan_says_what_is_wrong(tmp_path: Path, models: Path, call: Run) -> None:
    text = STUDY.format(models=models).replace("baseline: position-mean, baseline_data: others", "baseline_data: other")
    (tmp_path / "config.yaml").write_text(text)
    done = call(["plan"], cwd=tmp_path)
    assert done.returncode != 0
    assert "'other'" in done.stderr
    assert "did you mean 'others'" in done.stderr
    assert "the baseline 'counterfactual' takes nothing from other data; those that do: mean" in done.stderr
