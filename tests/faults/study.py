"""A study that has a result of every stage and little to compute, and what its results look like on disk."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
STUDY = """
models:
  net:
    {source: trained, architecture: transformer, tasks: [induction, agreement], family: llama, layers: 2, heads: 2,
     width: 16, neurons: 16, steps: 3, batch_size: 8, warmup: 1, held_out: 16, checkpoints: [0, 3], on_miss: warn}
datasets:
  prompts: {kind: mixture, tasks: [induction, agreement], n: 16}
activations: {sites: ["mlp.*", "attn.*"]}
attributions:
  tasks: {method: attribution-patching, sites: ["mlp.*", "attn.*"]}
dictionaries:
  few: {method: pca, sites: ["mlp.0"], n_features: 4, held_out: 0.25}
structural:
  heads: {method: composition, partition: heads, rotated: 2}
functional:
  heads: {method: pearson, partition: heads}
  features: {method: pearson, partition: units, dictionaries: few, sites: ["mlp.0"]}
effective:
  heads: {method: eap, partition: heads, checkpoints: all}
rois:
  kmeans: {method: kmeans, n_rois: 2, sites: ["mlp.*"], n_permutations: 19}
ablation:
  edges: {graphs: [effective.heads], sizes: [0.1, 1.0]}
evaluation:
  curves: {n_bootstrap: 20}
communities:
  louvain: {method: louvain, graphs: [effective.heads], n_runs: 2, n_nulls: 9}
sbm:
  flat: {graphs: [effective.heads], nested: false, engine: dense, n_runs: 1}
tests:
  back-up: {method: knock-out, graphs: [effective.heads], sizes: [0.5], n_bootstrap: 25}
statistics:
  basic: {graphs: [effective.heads], n_nulls: 9}
comparison:
  heads: {graphs: [structural.heads, functional.heads, effective.heads], n_nulls: 19}
figures: {draw: [effective, faithfulness]}
report: {title: A tiny study}
run: {cores: 2, results: RESULTS}
"""
ASIDE = ("README.md", "benchmarks", "cache", "logs", "report")
"""Below the results, what is none, or holds dates and durations."""


class Site:
    """A folder in which the study is run.

    Parameters
    ----------
    folder : Path
        Where the config, Snakemake's records and, if not given, the results lie.
    results : Path, optional
        The results folder.
    """

    def __init__(self, folder: Path, results: Path | None = None) -> None:
        self.folder, self.results = folder, results or folder / "results"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(STUDY.replace("RESULTS", str(self.results)), encoding="utf-8")

    def start(self, *options: str, prefix: Sequence[str] = ()) -> subprocess.Popen[str]:
        """Start ``compgraph run`` in a process group of its own; its output goes to ``run.txt``."""
        with (self.folder / "run.txt").open("w", encoding="utf-8") as output:
            return subprocess.Popen(
                [*prefix, sys.executable, "-m", "compgraph.cli.main", "run", "--no-open", *options],
                cwd=self.folder,
                env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CI": "true"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def run(self, *options: str, prefix: Sequence[str] = (), timeout: float = 600) -> int:
        """Run to the end; the exit code."""
        return self.start(*options, prefix=prefix).wait(timeout=timeout)

    @property
    def said(self) -> str:
        """What the last run printed."""
        return (self.folder / "run.txt").read_text(encoding="utf-8")

    def files(self) -> dict[str, str]:
        """Digest of every file of the results but logs, costs, the cache and the report."""
        found = {}
        for path in sorted(self.results.rglob("*")):
            name = path.relative_to(self.results).as_posix()
            if path.is_file() and name.split("/")[0] not in ASIDE and not path.name.startswith("."):
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found

    def manifests(self) -> list[Path]:
        """Manifests of the results."""
        names = (name for name in self.files() if name.endswith(".json"))
        return [self.results / name for name in names if _is_manifest(self.results / name)]

    def logs(self) -> list[str]:
        """Logs of the jobs that made results, below ``logs``."""
        logs = self.results / "logs"
        names = (path.relative_to(logs).as_posix() for path in sorted(logs.rglob("*.log")))
        return [name for name in names if self.made_with(name)]

    def made_with(self, log: str) -> list[Path]:
        """Manifests of what the job with a log made."""
        place = self.results / log
        found = place.parent.glob("*/model.json") if place.name == "train.log" else [place.with_suffix(".json")]
        return sorted(path for path in found if path.exists())

    def seconds(self, log: str) -> float:
        """How long the job with a log took."""
        lines = (self.results / "benchmarks" / log).with_suffix(".tsv").read_text(encoding="utf-8").splitlines()
        return float(dict(zip(lines[0].split("\t"), lines[1].split("\t"), strict=True))["s"])


def _is_manifest(path: Path) -> bool:
    return b'"payload"' in path.read_bytes()
