"""Every config that ships is valid and plans, without a network."""

from __future__ import annotations

import gzip
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from compgraph.catalogue import STAGES, missing
from tests.workflow.conftest import ROOT, Run, environment

CONFIGS = ["config.yaml", *sorted(f"configs/{path.name}" for path in (ROOT / "configs").glob("*.yaml"))]


@pytest.fixture
def place(tmp_path: Path, models: Path) -> Path:
    """An empty folder with what configs expect to lie around: MNIST's files, and a saved model."""
    mnist = tmp_path / "work" / "data" / "mnist"
    mnist.mkdir(parents=True)
    for name in ("train", "t10k"):
        images = struct.pack(">4I", 2051, 1, 28, 28) + bytes(28 * 28)
        (mnist / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        (mnist / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(struct.pack(">2I", 2049, 1) + b"\0"))
    saved = tmp_path / "shared" / "models"
    saved.mkdir(parents=True)
    (saved / "stories260k").symlink_to(models / "stream")
    trajectory = saved / "induction-attn-only-trajectory"
    trajectory.mkdir()
    (trajectory / "config.json").write_text('{"n_layers": 2, "d_vocab": 26}')
    for step in range(0, 500, 100):
        (trajectory / f"step_{step:04d}.safetensors").touch()
    return tmp_path / "work"


@pytest.mark.parametrize("config", CONFIGS)
def test_plan(config: str, place: Path, call: Run, workflow_copy: Path) -> None:
    done = call(["plan", "--config", str(workflow_copy / config)], cwd=place)
    assert done.returncode == 0, done.stderr
    head = re.search(r"(\d+) of (\d+) results would be made", done.stdout)
    assert head and head[1] == head[2]
    stages = re.findall(r"^  ([a-z-]+) +\d+   \d+ new$", done.stdout, re.MULTILINE)
    values = yaml.safe_load((ROOT / config).read_text())
    sources = {model["source"] for model in values["models"].values()}
    always = {"train" if source == "trained" else "import-model" for source in sources}
    always |= {"data", "activations", "figure", "report"}
    if any((entry or {}).get("parts", 1) > 1 for entry in (values.get("functional") or {}).values()):
        always.add("functional-part")
    draw = (values.get("figures") or {}).get("draw", "all")
    if values.get("sbm") and draw == "all" and not missing(STAGES["structures"]):
        always.add("structures")
    if values.get("evaluation"):
        always.add("explore")
    if len({entry.get("ablation", "edge") for entry in (values.get("ablation") or {}).values()}) > 1 and draw == "all":
        always.add("wiring")
    if (values.get("ground_truth") or {}).get("methods"):
        always.add("ground-truth")
    assert stages == [stage for stage in STAGES if stage in always or values.get(stage)]


def test_a_broken_config_stops_before_any_job(place: Path, call: Run) -> None:
    (place / "bad.yaml").write_text("models: {m: {source: pretrained, path: ./nowhere}}\neffectiv: {}\n")
    for verb in ("plan", "run"):
        done = call([verb, "--config", "bad.yaml"], cwd=place)
        assert done.returncode == 1
        assert "effectiv (line 2): there is no such key (did you mean 'effective'?)" in done.stderr
        assert "Traceback" not in done.stderr
    assert not (place / "results").exists()


def plain_snakemake(config: str, place: Path, checkout: Path) -> subprocess.CompletedProcess[str]:
    """What Snakemake itself plans; its words, errors too, are in ``stdout``."""
    arguments = ["--snakefile", str(checkout / "Snakefile"), "--configfile", config, "--dry-run"]
    command = [sys.executable, "-m", "snakemake", *arguments]
    return subprocess.run(
        command,
        cwd=place,
        env=environment(checkout),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )


def test_plain_snakemake_reports_config_errors_too(place: Path, workflow_copy: Path) -> None:
    (place / "bad.yaml").write_text("models: {m: {source: pretrained, path: ./nowhere}}\n")
    done = plain_snakemake("bad.yaml", place, workflow_copy)
    assert done.returncode != 0
    assert "models.m.path (line 1): there is no folder 'nowhere'" in done.stdout


@pytest.mark.parametrize(
    ("device", "asking"), [("auto", set()), ("cuda", {"import_model", "activations", "effective"})]
)
def test_a_gpu_is_asked_for_where_networks_run_on_one(
    place: Path, models: Path, workflow_copy: Path, device: str, asking: set[str]
) -> None:
    study = f"""
models: {{m: {{source: pretrained, path: {models}/stream}}}}
datasets: {{d: {{kind: task, task: induction}}}}
effective: {{a: {{}}}}
statistics: {{b: {{}}}}
run: {{device: {device}}}
"""
    (place / "study.yaml").write_text(study)
    done = plain_snakemake("study.yaml", place, workflow_copy)
    assert done.returncode == 0, done.stdout
    jobs = dict(re.findall(r"^(?:local)?rule (\w+):$(.*?)^$", done.stdout, re.MULTILINE | re.DOTALL))
    assert {"data", "effective", "statistics"} <= set(jobs)
    assert {name for name, said in jobs.items() if "gpu=1" in said} == asking
