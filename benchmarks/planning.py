"""How long `compgraph plan` takes for a training trajectory: 150 checkpoints, 4 methods, 3 datasets.

    python -m benchmarks.planning

Folders with a configuration and no usable weights stand for the checkpoints, as planning loads none. Seconds are those
of the whole command, on the clock and on the processor, once per study.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHECKPOINTS = 150
MODEL = {
    "model_type": "llama",
    "num_hidden_layers": 6,
    "hidden_size": 64,
    "num_attention_heads": 8,
    "intermediate_size": 172,
    "vocab_size": 512,
}
GRAPHS = """
models:
  trajectory: {{source: pretrained, path: ./model, revisions: [{revisions}]}}
datasets:
  ioi: {{kind: task, task: ioi}}
  greater-than: {{kind: task, task: greater_than}}
  pronouns: {{kind: task, task: gendered_pronoun}}
effective:
  heads: {{method: eap, partition: heads, checkpoints: all}}
  heads-ig: {{method: eap-ig-inputs, partition: heads, checkpoints: all}}
  modules: {{method: eap, partition: modules, checkpoints: all}}
  modules-ig: {{method: eap-ig-inputs, partition: modules, checkpoints: all}}
"""
READERS = """
ablation:
  edges: {{checkpoints: all}}
evaluation:
  curves: {{checkpoints: all}}
communities:
  louvain: {{checkpoints: all}}
statistics:
  basic: {{checkpoints: all}}
"""
STUDIES = {"graphs": GRAPHS, "graphs and four stages that read them": GRAPHS + READERS}


def plan(text: str) -> tuple[str, float, float]:
    """What the command says, and its seconds on the clock and on the processor."""
    with tempfile.TemporaryDirectory() as folder:
        revisions = [f"step{1000 * step}" for step in range(CHECKPOINTS)]
        for revision in revisions:
            model = Path(folder) / "model" / revision
            model.mkdir(parents=True)
            (model / "config.json").write_text(json.dumps(MODEL))
            (model / "model.safetensors").touch()
        (Path(folder) / "config.yaml").write_text(text.format(revisions=", ".join(revisions)))
        begun, spent = time.perf_counter(), _processor()
        command = [sys.executable, "-m", "compgraph.cli.main", "plan"]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        environment = os.environ | {"PYTHONPATH": path}
        done = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True)
        return done.stdout, time.perf_counter() - begun, _processor() - spent


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    for name, text in STUDIES.items():
        said, clock, processor = plan(text)
        results, jobs = re.findall(r"(\d+) of \d+ results|that is (\d+) jobs", said)
        print(f"{name}: {results[0]} results, {jobs[1]} cluster jobs, {clock:.1f} s ({processor:.1f} s of processor)")


if __name__ == "__main__":
    main()
