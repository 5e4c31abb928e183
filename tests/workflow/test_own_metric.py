"""A metric of the user's own, beside the config: named before it runs, recorded, and rerun when it is edited."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import compgraph as cg
from compgraph import store
from tests.workflow.conftest import Run

STUDY = """
models:
  stream: {{source: pretrained, path: {models}/stream}}
datasets:
  prompts: {{kind: task, task: induction, n: 8}}
effective:
  own: {{partition: heads, metric: "mine:margin"}}
  plain: {{partition: heads}}
ablation:
  curve: {{sizes: [0.5, 1.0], graphs: [effective.own]}}
evaluation:
  curves: {{metrics: [kl, "mine:margin"], n_bootstrap: 10}}
figures: {{draw: [effective, faithfulness]}}
run: {{cores: 2}}
"""
METRIC = '''
"""Code of a user."""


def margin(logits, targets):
    """Twice the logit difference."""
    right, wrong = (logits.gather(1, ids).mean(1) for ids in (targets.answers, targets.distractors))
    return 2 * (right - wrong)
'''


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, models: Path, call: Run) -> Path:
    """The folder of the finished study."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "config.yaml").write_text(STUDY.format(models=models))
    (folder / "mine.py").write_text(METRIC)
    planned = call(["plan"], cwd=folder)
    assert planned.returncode == 0, planned.stderr
    assert "code of your own runs: mine:margin (effective.own, evaluation.curves)" in planned.stdout
    assert not (folder / "__pycache__").exists(), "planning imported the user's module"
    done = call(["run"], cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def plan(call: Run, folder: Path) -> dict[str, str]:
    """Stage to reasons."""
    done = call(["plan"], cwd=folder)
    assert done.returncode == 0, done.stderr
    return dict(re.findall(r"^  ([a-z-]+) +\d+   (.*)$", done.stdout, re.MULTILINE))


def test_its_scores_are_its_own(study: Path) -> None:
    made = {
        name: store.verify(study / f"results/stream/main/prompts/effective/{name}.json") for name in ("own", "plain")
    }
    own, plain = (cg.ComputationalGraph.load(one.path) for one in made.values())
    assert own.attributes["metric"] == "mine:margin"
    assert made["own"].summary["passes"] == own.attributes["passes"] == {"forward": 2.0, "backward": 1.0}
    log = (study / "results/logs/stream/main/prompts/effective/own.log").read_text()
    assert re.search(r"eap: 2 forward and 1 backward pass over \d+ examples in 1 batch, about \d+ MB", log)
    assert "eap: made 2 forward and 1 backward pass of each example in" in log
    assert abs(own.weight).max() > 0
    assert own.weight == pytest.approx(2 * plain.weight, rel=1e-4, abs=1e-5)
    assert made["own"].provenance.code != made["plain"].provenance.code


def test_editing_it_reruns_what_uses_it_and_nothing_else(study: Path, call: Run) -> None:
    assert plan(call, study) == {}
    file = study / "mine.py"
    file.write_text(METRIC.replace("return 2 *", "return 3 *"))
    reasons = plan(call, study)
    assert reasons.pop("effective") == reasons.pop("evaluation") == "1 code changed (mine)"
    assert "ablation" in reasons
    assert "code changed" not in " ".join(reasons.values())  # figures and the report follow their inputs
    file.write_text(METRIC + "# a remark\n")
    assert plan(call, study) == {}
