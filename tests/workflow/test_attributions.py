"""Attribution buffers in a study: what is functional works on them as on activations."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import compgraph as cg
from compgraph import store
from tests.workflow.conftest import Run

STUDY = """
models:
  chain: {{source: pretrained, path: {models}/chain}}
  stream: {{source: pretrained, path: {models}/stream}}
datasets:
  digits: {{kind: images, n: 24}}
  prompts: {{kind: task, task: induction, n: 16}}
activations: {{models: [chain]}}
attributions:
  patched: {{positions: scored}}
  path: {{method: integrated-gradients, steps: 2, baseline: zero, models: [stream], dtype: float16}}
functional:
  heads: {{buffer: attributions.path, partition: heads}}
  modules: {{buffer: attributions.patched, partition: modules}}
  active: {{models: [chain], partition: channels}}
rois:
  alike: {{buffer: attributions.path, sites: ["mlp.*"], n_rois: 3}}
structural:
  parts: {{method: composition, partition: {{"mlp.*": rois.alike, "attn.*": heads}}}}
figures: {{draw: [structural]}}
run: {{cores: 2}}
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, models: Path, call: Run) -> Path:
    """The folder of the finished study."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "config.yaml").write_text(STUDY.format(models=models))
    done = call(["run"], cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def plan(call: Run, folder: Path) -> dict[str, str]:
    """Stage to reasons."""
    done = call(["plan"], cwd=folder)
    assert done.returncode == 0, done.stderr
    return dict(re.findall(r"^  ([a-z-]+) +\d+   (.*)$", done.stdout, re.MULTILINE))


def test_buffers_are_made_and_read(study: Path, models: Path) -> None:
    results = study / "results"
    path = cg.open_buffer(results / "stream/main/prompts/attributions/path.json")
    assert (path.quantity, path.dtype) == ("attribution", "float16")
    assert path.result.summary["baseline"] == "zero"
    graph = store.verify(results / "stream/main/prompts/functional/heads.json")
    rois = store.verify(results / "stream/main/prompts/rois/alike.json")
    for made in (graph, rois):
        assert made.provenance.inputs["attributions"] == path.digest
    net, buffer = cg.load_network(str(models / "stream")), path.read("attn.0")
    again = cg.functional_connectivity(path, cg.Partition.heads(net))
    np.testing.assert_array_equal(cg.ComputationalGraph.load(graph.path).weight, again.weight)
    assert np.abs(buffer).max() > 0
    assert store.verify(results / "chain/main/digits/functional/modules.json").provenance.inputs.keys() == {
        "attributions"
    }
    assert store.verify(results / "chain/main/digits/functional/active.json").provenance.inputs.keys() == {
        "activations"
    }
    parts = store.verify(results / "stream/main/structural/parts.json")
    names = cg.ComputationalGraph.load(parts.path).node_names
    assert sum(name.startswith("mlp.0/roi.") for name in names) == 3


def test_activations_that_nobody_reads_are_not_recorded(study: Path) -> None:
    assert not (study / "results/stream/main/prompts/activations.json").exists()


def test_another_path_reruns_what_reads_it_alone(study: Path, call: Run) -> None:
    assert plan(call, study) == {}
    config = study / "config.yaml"
    before = config.read_text()
    config.write_text(before.replace("steps: 2", "steps: 3"))
    assert plan(call, study) == {
        "attributions": "1 parameters changed (steps 2 → 3)",
        "functional": "1 input made again",
        "structural": "1 input made again",
        "rois": "1 input made again",
        "figure": "1 input made again",
        "report": "1 input made again",
    }
    config.write_text(before.replace("heads: {buffer: attributions.path", "heads: {buffer: attributions.patched"))
    assert plan(call, study)["functional"] == "1 input changed"
    config.write_text(before)


def test_a_buffer_can_be_shown(study: Path, call: Run) -> None:
    done = call(["show", "results/stream/main/prompts/attributions/path.json"], cwd=study)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].startswith("attributions, ")
    assert "made by: compgraph attributions" in done.stdout and "attn.0" in done.stdout
