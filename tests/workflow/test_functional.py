"""Functional graphs of several datasets, of passes in parts, and with the matrix of all correlations, in a study."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import compgraph as cg
from compgraph import store
from compgraph.connectivity.blockwise.score_matrix import open_score_matrix
from compgraph.connectivity.functional.contrast import functional_contrast
from compgraph.errors import StoreError
from tests.workflow.conftest import Run

STUDY = """
models:
  chain: {{source: pretrained, path: {models}/chain}}
datasets:
  digits: {{kind: images, n: 40}}
  others: {{kind: images, n: 30, split: train}}
functional:
  pooled: {{pool: [others], parts: 3, partition: units, level: 0.05}}
  strongest: {{partition: units, keep: 2, matrix: float32, datasets: [digits]}}
  contrast: {{method: contrast, against: [others], n_permutations: 9, partition: channels}}
structural: {{}}
figures: {{draw: [functional]}}
run: {{cores: 2}}
"""
PLACE = "results/chain/main"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, models: Path, call: Run) -> Path:
    """The folder of the finished study."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "config.yaml").write_text(STUDY.format(models=models))
    done = call(["run"], cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def graph(study: Path, name: str) -> cg.ComputationalGraph:
    return cg.ComputationalGraph.load(study / PLACE / "digits/functional" / f"{name}.graph")


def buffers(study: Path) -> list[cg.ActivationBuffer]:
    return [cg.open_buffer(study / PLACE / name / "activations.json") for name in ("digits", "others")]


def test_parts_of_a_pool_are_one_pass_over_both(study: Path) -> None:
    found, both = graph(study, "pooled"), buffers(study)
    whole = cg.functional_connectivity(both, cg.Partition.units(both[0]))
    np.testing.assert_allclose(found.weight, whole.weight, rtol=0, atol=1e-11)
    assert found.attributes["rows"] == 70
    assert not (study / PLACE / "others/functional").exists()
    manifest = store.open(study / PLACE / "digits/functional/pooled.json").manifest
    assert {"activations", "activations:1", "part:0", "part:1", "part:2"} <= set(manifest["provenance"]["inputs"])


def test_contrast_is_the_library_call(study: Path) -> None:
    one, other = buffers(study)
    whole = functional_contrast(one, other, cg.Partition.channels(one), n_permutations=9)
    assert graph(study, "contrast").edges.equals(whole.edges)


def test_matrix_lies_in_the_graph(study: Path) -> None:
    manifest = study / PLACE / "digits/functional/strongest.json"
    store.verify(manifest)
    scores, buffer = open_score_matrix(manifest), buffers(study)[0]
    values, found = buffer.read("linear.0"), scores.between("linear.0", "linear.0")
    live = values.std(axis=0) > 0
    expected = np.corrcoef(values[:, live].T.astype(np.float64))
    np.testing.assert_allclose(found[np.ix_(live, live)], expected, atol=1e-6)
    assert np.isnan(found[~live]).all() and np.isnan(found[:, ~live]).all()
    with pytest.raises(StoreError, match="without the matrix of all scores; set its entry's matrix"):
        open_score_matrix(manifest.with_name("contrast.json"))


def test_another_level_reads_the_parts_again(study: Path, models: Path, call: Run) -> None:
    (study / "config.yaml").write_text(STUDY.format(models=models).replace("level: 0.05", "level: 0.01"))
    done = call(["plan"], cwd=study)
    assert done.returncode == 0, done.stderr
    stages = dict(re.findall(r"^  ([a-z-]+) +\d+   (.*)$", done.stdout, re.MULTILINE))
    assert stages["functional"] == "1 parameters changed (level 0.05 → 0.01)"
    assert set(stages) == {"functional", "figure", "report"}
