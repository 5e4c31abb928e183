"""A study with a result of nearly every stage and little to compute, and what reads what in it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from tests.workflow.conftest import ROOT, command, environment

CONFIG = """
models:
  net:
    {source: trained, architecture: transformer, tasks: [induction], family: llama, layers: 2, heads: 2,
     width: 16, neurons: 16, steps: 3, batch_size: 8, warmup: 1, held_out: 16, checkpoints: [0, 3], on_miss: warn}
  chain: {source: pretrained, path: models/chain}
  stream: {source: pretrained, path: models/stream}
datasets:
  prompts: {kind: task, task: induction, n: 16}
  text: {kind: text, path: words.txt, length: 8, n: 8}
  digits: {kind: images, n: 24}
activations: {sites: ["mlp.*", "attn.*"], datasets: [prompts, text], models: [net, stream]}
attributions:
  tasks: {method: attribution-patching, sites: ["mlp.*"], models: [net], datasets: [prompts]}
dictionaries:
  few: {method: pca, sites: ["mlp.0"], n_features: 4, held_out: 0.25, models: [net], datasets: [prompts]}
structural:
  heads: {method: composition, partition: heads, models: [net]}
  layers: {method: weight-norm, partition: modules, models: [chain]}
functional:
  heads: {method: pearson, partition: heads, parts: 2, models: [net], datasets: [prompts]}
effective:
  heads: {method: eap, partition: heads, checkpoints: all, models: [net], datasets: [prompts]}
  channels: {method: eap, partition: modules, models: [chain]}
rois:
  kmeans: {method: kmeans, n_rois: 2, sites: ["mlp.*"], n_permutations: 19, models: [net], datasets: [prompts]}
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
  basic: {graphs: [structural.heads], null_model: network, n_nulls: 2}
comparison:
  kinds: {graphs: [structural.heads, functional.heads, effective.heads], n_nulls: 19}
tracking:
  growth: {models: [net], graphs: [effective.heads], n_nulls: 9, n_surrogates: 19}
figures: {draw: [effective, faithfulness]}
report: {title: A tiny study}
run: {cores: 1}
"""
FIRST, LAST = "net/step-000000", "net/step-000003"
AT = f"{LAST}/prompts"
READS: dict[str, list[str]] = {
    f"{FIRST}/model": [],
    f"{LAST}/model": [],
    "chain/main/model": [],
    "net/datasets/prompts": [],
    "stream/main/model": [],
    "stream/datasets/text": [],
    "stream/datasets/prompts": [],
    "chain/datasets/digits": [],
    "stream/main/prompts/activations": ["stream/main/model", "stream/datasets/prompts"],
    "stream/main/text/activations": ["stream/main/model", "stream/datasets/text"],
    f"{AT}/activations": [f"{LAST}/model", "net/datasets/prompts"],
    f"{AT}/attributions/tasks": [f"{LAST}/model", "net/datasets/prompts"],
    f"{AT}/dictionaries/few": [f"{LAST}/model", "net/datasets/prompts", f"{AT}/activations"],
    f"{LAST}/structural/heads": [f"{LAST}/model"],
    "chain/main/structural/layers": ["chain/main/model"],
    f"{AT}/functional/heads.parts/0-of-2": [f"{AT}/activations"],
    f"{AT}/functional/heads.parts/1-of-2": [f"{AT}/activations"],
    f"{AT}/functional/heads": [f"{AT}/functional/heads.parts/{number}-of-2" for number in range(2)],
    f"{FIRST}/prompts/effective/heads": [f"{FIRST}/model", "net/datasets/prompts"],
    f"{AT}/effective/heads": [f"{LAST}/model", "net/datasets/prompts"],
    "chain/main/digits/effective/channels": ["chain/main/model", "chain/datasets/digits"],
    f"{AT}/rois/kmeans": [f"{AT}/activations"],
    f"{AT}/ablation/edges@effective.heads": [f"{AT}/effective/heads"],
    f"{AT}/evaluation/curves@edges@effective.heads": [f"{AT}/ablation/edges@effective.heads"],
    f"{AT}/communities/louvain@effective.heads": [f"{AT}/effective/heads"],
    f"{AT}/sbm/flat@effective.heads": [f"{AT}/effective/heads"],
    f"{AT}/tests/back-up@effective.heads": [f"{AT}/effective/heads"],
    f"{LAST}/nulls/shuffled-2-0@structural.heads": [f"{LAST}/structural/heads"],
    f"{LAST}/statistics/basic@structural.heads": [f"{LAST}/nulls/shuffled-2-0@structural.heads"],
    f"{AT}/comparison/kinds": [f"{LAST}/structural/heads", f"{AT}/functional/heads", f"{AT}/effective/heads"],
    "net/all/prompts/tracking/growth": [f"{FIRST}/prompts/effective/heads", f"{AT}/effective/heads"],
    f"{AT}/explore/page@effective.heads": [
        f"{AT}/attributions/tasks", f"{AT}/rois/kmeans", f"{LAST}/structural/heads", f"{AT}/functional/heads",
        f"{FIRST}/prompts/effective/heads", f"{AT}/communities/louvain@effective.heads",
        f"{AT}/sbm/flat@effective.heads", f"{AT}/evaluation/curves@edges@effective.heads",
        f"{AT}/activations", f"{AT}/effective/heads", f"{LAST}/model", "net/datasets/prompts",
    ],
    "figures/chain/main/digits/effective.channels": ["chain/main/digits/effective/channels"],
    f"figures/{AT}/effective.heads": [f"{AT}/effective/heads"],
    f"figures/{AT}/faithfulness": [f"{AT}/evaluation/curves@edges@effective.heads"],
}  # fmt: skip
"""Result to what it is made from; what follows from another line is left out."""


def with_users(roots: set[str], same: set[str]) -> set[str]:
    """Results and all that is made from them, at any remove, but for what reads only results with the same bytes."""
    found = set(roots)
    while True:
        passing = found - same
        more = {name for name, reads in READS.items() if passing & set(reads)} - found
        if not more:
            return found
        found |= more


def write_study(folder: Path, models: Path) -> None:
    """Lay the study out in a folder, with what it reads from outside."""
    from compgraph.data.vocabulary import word_tokenizer

    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    words = sorted(word for word in word_tokenizer(["induction"]).get_vocab() if word.isalpha())
    (folder / "words.txt").write_text(" ".join(words * 3), encoding="utf-8")
    shutil.copytree(models, folder / "models")


def run(folder: Path, *arguments: str, checkout: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Call ``compgraph run`` there, with the package of a checkout."""
    done = subprocess.run(
        command(["run", "--no-open", *arguments]),
        cwd=folder,
        env=environment(checkout),
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr
    return done


def written(results: Path) -> dict[str, int]:
    """Every result, and the page, to when its log was written: a verb begins its own anew."""
    names = [path.relative_to(results) for path in results.rglob("*.json")]
    found = {}
    for name in [*names, Path("report.json")]:
        log = results / "logs" / _log(name)
        if log.exists():
            found[name.with_suffix("").as_posix()] = log.stat().st_mtime_ns
    return found


def _log(manifest: Path) -> Path:
    """The log of the call that made a result, below the folder of logs."""
    if manifest.name != "model.json":
        return manifest.with_suffix(".log")
    trained = manifest.parent.name.startswith("step-")
    return manifest.parent.parent / "train.log" if trained else manifest.with_name("import-model.log")


def digests(results: Path) -> dict[str, str]:
    """Every result to the digest of its payload."""
    found = {}
    for path in results.rglob("*.json"):
        name = path.relative_to(results)
        if (results / "logs" / _log(name)).exists():
            found[name.with_suffix("").as_posix()] = str(json.loads(path.read_text())["digest"])
    return found
