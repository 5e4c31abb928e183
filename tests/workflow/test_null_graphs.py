"""Graphs of randomised networks as the null model, from a config."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from compgraph import store
from tests.workflow.conftest import Run

STUDY = """
models:
  stream: {{source: pretrained, path: {models}/stream}}
datasets:
  prompts: {{kind: task, task: induction, n: 16}}
  others: {{kind: task, task: induction, n: 24, seed: 7}}
effective:
  regions: {{partition: rois.km, baseline: mean, baseline_data: others, datasets: [prompts]}}
rois: {{km: {{n_rois: 2, sites: ["mlp.*"], datasets: [prompts]}}}}
activations: {{sites: ["mlp.*"], positions: scored, datasets: [prompts]}}
statistics:
  strongest: {{null_model: network, n_nulls: 3, measures: [gini, efficiency], randomised: rotated}}
communities:
  louvain: {{null_model: network, n_nulls: 3, randomised: rotated}}
figures: {{draw: []}}
run: {{cores: 2}}
"""


@pytest.mark.slow
def test_both_stages_compare_with_one_set_of_random_networks(tmp_path: Path, models: Path, call: Run) -> None:
    (tmp_path / "config.yaml").write_text(STUDY.format(models=models))
    done = call(["run"], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    place = tmp_path / "results/stream/main/prompts"
    made = store.open(place / "nulls/rotated-3-0@effective.regions.json")
    assert {"graph", "model", "data", "baseline_data", "rois"} == set(made.provenance.inputs)
    for reader in ("statistics/strongest", "communities/louvain"):
        read = store.open(place / f"{reader}@effective.regions.json").provenance.inputs
        assert read["null_graphs"] == made.digest
    assert (pd.read_parquet(place / "statistics/strongest@effective.regions.parquet")["n_nulls"] == 3).all()
    again = call(["plan"], cwd=tmp_path)
    assert "nothing to" in again.stdout.lower() or " 0 " in again.stdout, again.stdout
