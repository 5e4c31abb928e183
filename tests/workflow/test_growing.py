"""A finished study whose config grows: what a new metric and a new size make anew."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from compgraph import store
from tests.workflow.conftest import Run

STUDY = """
models:
  chain: {{source: pretrained, path: {models}/chain}}
datasets:
  digits: {{kind: images, n: 24}}
effective:
  channels: {{partition: channels, baseline: zero}}
ablation:
  edges: {{sizes: [0.2, 0.6]}}
evaluation:
  curves: {{metrics: [margin], n_bootstrap: 20, confusion: true}}
figures: {{draw: []}}
report: {{explore: false}}
run: {{cores: 1, batch: 100}}
"""
PLACE = "results/chain/main/digits"
TABLE = f"{PLACE}/evaluation/curves@edges@effective.channels"
RUNS = f"{PLACE}/ablation/edges@effective.channels"


@pytest.mark.slow
def test_a_new_metric_and_a_new_size_make_only_what_is_new(tmp_path: Path, models: Path, call: Run) -> None:
    config, text = tmp_path / "config.yaml", STUDY.format(models=models)

    def written() -> set[tuple[Path, int]]:
        """The results of the place, and when each was made."""
        found = (tmp_path / PLACE).glob("*/*.json")
        return {(path.relative_to(tmp_path), path.stat().st_mtime_ns) for path in found}

    def run() -> tuple[set[str], set[str]]:
        """What was planned, and whose manifests were written."""
        config.write_text(text)
        before = written()
        planned = {stage for stage, _ in re.findall(r"^  ([a-z-]+) +(\d+)", call(["plan"], cwd=tmp_path).stdout, re.M)}
        done = call(["run"], cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return planned, {str(path.with_suffix("")) for path, time in written() if (path, time) not in before}

    run()
    table = pd.read_parquet(tmp_path / f"{TABLE}.parquet")
    classes = table[table["metric"] == "confusion"]
    totals = classes.groupby(["fraction", "true"])[["value", "model", "empty"]].sum()
    assert len(totals) == 20 and ((totals - 1).abs() < 1e-9).all(axis=None)

    text = text.replace("[margin]", "[margin, kl]")
    assert run() == ({"evaluation", "report"}, {TABLE})
    areas = store.verify(tmp_path / f"{TABLE}.json").summary["areas"]
    assert set(areas) == {"margin", "kl"}
    assert set(areas["kl"]) == {f"{area}{end}" for area in ("cpr", "cmd") for end in ("", "_low", "_high")}

    text = text.replace("[0.2, 0.6]", "[0.2, 0.4, 0.6]")
    assert run() == ({"ablation", "evaluation", "report"}, {RUNS, TABLE})
    log = (tmp_path / f"results/logs/{RUNS.removeprefix('results/')}.log").read_text()
    assert "3 runs known, 1 made" in log
    grown = pd.read_parquet(tmp_path / f"{TABLE}.parquet").query("metric == 'margin'").set_index("size")
    pd.testing.assert_frame_equal(grown.drop(index=0.4), table.query("metric == 'margin'").set_index("size"))
