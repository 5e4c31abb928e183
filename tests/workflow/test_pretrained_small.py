"""``configs/pretrained-small.yaml`` on a real model from disk: every transformer stage."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from compgraph import store
from compgraph.config.config import load
from compgraph.config.study import Study
from tests.workflow.conftest import ROOT, Run


@pytest.mark.slow
def test_every_stage_of_a_local_model(shared: Path, tmp_path: Path, call: Run) -> None:
    values = yaml.safe_load((ROOT / "configs" / "pretrained-small.yaml").read_text())
    (model,) = values["models"].values()
    model["path"] = str(shared / "models" / "stories260k")
    values["datasets"]["mixture"]["n"] = 24
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    done = call(["run"], cwd=tmp_path, timeout=900)
    assert done.returncode == 0, done.stderr
    study = Study(load(tmp_path / "config.yaml"))
    stages = {result.stage for result in study.results()}
    assert {"structural", "functional", "effective", "rois", "ablation", "communities", "statistics"} <= stages
    for path in study.paths():
        store.verify(tmp_path / path)
    pairs = store.open(tmp_path / "results/pretrained/datasets/mixture.json")
    assert pairs.summary["tasks"] == ["gendered_pronoun", "induction"]
    assert (tmp_path / "results/report/index.html").is_file()
