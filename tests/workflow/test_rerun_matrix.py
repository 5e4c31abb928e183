"""What a change makes run again, exactly: each row changes a finished study for real, asks for the plan, and runs it.

Some rows are part of every test run; ``make test-reruns`` (``COMPGRAPH_RERUNS=all``) runs all of them. What ran is told
by the logs, as a verb begins its own anew. The rule: a result is made again if its parameters, code, files or inputs
are others than its manifest says, or if it is not whole; what is made again with the bytes that it had ends there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from compgraph import store
from tests.workflow.conftest import ROOT, command, environment
from tests.workflow.rerun_study import AT, FIRST, LAST, READS, digests, run, with_users, write_study, written

ALL = os.environ.get("COMPGRAPH_RERUNS") == "all"
pytestmark = [pytest.mark.slow]


class Place:
    """A copy of the finished study, and the package that it is run with.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.checkout, self.results = folder, ROOT, "results"

    def edit(self, old: str, new: str, file: str = "config.yaml") -> None:
        """Replace a piece of a file of the study."""
        path = self.folder / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, (old, text.count(old))
        path.write_text(text.replace(old, new), encoding="utf-8")

    def edit_code(self, module: str, change: Callable[[str], str]) -> None:
        """Change a module in a copy of the package."""
        if self.checkout == ROOT:
            self.checkout = self.folder / "checkout"
            for name in ("compgraph", "workflow", "profiles"):
                shutil.copytree(ROOT / name, self.checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copy(ROOT / "Snakefile", self.checkout)
        path = self.checkout / module
        before = path.read_text(encoding="utf-8")
        assert change(before) != before
        path.write_text(change(before), encoding="utf-8")

    def result(self, name: str) -> Path:
        """The manifest of a result."""
        return self.folder / self.results / f"{name}.json"

    def payload(self, name: str) -> Path:
        """What lies beside it."""
        manifest = self.result(name)
        return manifest.parent / str(json.loads(manifest.read_text())["payload"])

    def plan(self) -> dict[str, list[tuple[str, tuple[str, ...]]]]:
        """Path below the results to kinds of reasons and their details, as ``plan --json`` says."""
        done = subprocess.run(
            command(["plan", "--json"]), cwd=self.folder, env=environment(self.checkout), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return {
            one["path"].removeprefix(f"{self.results}/").removesuffix(".json"): [
                (reason["kind"], tuple(reason["details"])) for reason in one["reasons"]
            ]
            for one in json.loads(done.stdout)["each"]
        }


@dataclass(frozen=True)
class Row:
    """A change and what follows.

    Attributes
    ----------
    name : str
    change : callable
    why : dict
        Result to the kind of its own reason, and words that its details hold.
    same : set of str
        Results that must have the bytes that they had. What reads only such results stays, of whatever row.
    new : set of str
        Results that were not there before.
    report : bool or None
        Whether the page is made; by default if anything is.
    """

    name: str
    change: Callable[[Place], None]
    why: dict[str, tuple[str, str]] = field(default_factory=dict)
    same: frozenset[str] = frozenset()
    new: frozenset[str] = frozenset()
    report: bool | None = None


def setting(name: str, old: str, new: str, *results: str, said: str, same: tuple[str, ...] = ()) -> Row:
    """A row that changes one parameter in the config."""
    why = {result: ("parameters", said) for result in results}
    return Row(name, lambda place: place.edit(old, new), why, frozenset(same))


def _remove(*names: str) -> Callable[[Place], None]:
    def change(place: Place) -> None:
        for name in names:
            shutil.rmtree(place.payload(name))

    return change


def _remove_and_need(place: Place) -> None:
    _remove(ABLATION)(place)
    place.edit("n_bootstrap: 20", "n_bootstrap: 30")


def _other_text(place: Place) -> None:
    """The same words in another order, longer by some."""
    path = place.folder / "words.txt"
    words = path.read_text(encoding="utf-8").split()
    path.write_text(" ".join([*reversed(words), *words[:8]]), encoding="utf-8")


def _damage(name: str, file: str) -> Callable[[Place], None]:
    def change(place: Place) -> None:
        path = place.payload(name) / file
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    return change


def _other_weights(place: Place) -> None:
    """Other bytes under the same name, older than all that was made from the ones before."""
    from safetensors.numpy import load_file, save_file

    path = place.folder / "models/chain/model.safetensors"
    tensors = load_file(path)
    save_file({name: 2 * value for name, value in tensors.items()}, path)
    os.utime(path, (1e9, 1e9))


def _touch(place: Place) -> None:
    for path in [*place.folder.rglob("*.safetensors"), *place.folder.rglob("*.txt"), *place.folder.rglob("*.json")]:
        path.touch()


def _without_dates(place: Place) -> None:
    """As copied by a program that keeps no dates, to a machine without Snakemake's records."""
    shutil.rmtree(place.folder / ".snakemake")
    other = place.folder / "elsewhere"
    shutil.copytree(place.folder / "results", other, copy_function=shutil.copyfile)
    shutil.rmtree(place.folder / "results")
    other.rename(place.folder / "results")


def _results_elsewhere(place: Place) -> None:
    (place.folder / "results").rename(place.folder / "moved")
    place.results = "moved"
    place.edit("run: {cores: 1}", "run: {cores: 1, results: moved}")


def _reordered(place: Place) -> None:
    path = place.folder / "config.yaml"
    text = yaml.safe_dump(_backwards(yaml.safe_load(path.read_text())), sort_keys=False)
    path.write_text(f"# another comment\n{text}", encoding="utf-8")


def _backwards(value: object) -> object:
    """The same mappings, but that of models and that of datasets, whose order means something, with reversed keys."""
    if not isinstance(value, dict):
        return value
    return {key: value[key] if key in ("models", "datasets") else _backwards(value[key]) for key in reversed(value)}


def _older_library(name: str, *results: str) -> Callable[[Place], None]:
    """Manifests that say that results were made with another version."""

    def change(place: Place) -> None:
        from compgraph.manifests import seal_of
        from compgraph.provenance import json_text

        place.edit("run: {cores: 1}", "run: {cores: 1, versions: rerun}")
        for result in results or READS:
            path = place.result(result)
            manifest = json.loads(path.read_text())
            del manifest["seal"]
            manifest["provenance"]["versions"][name] = "0.0.1"
            path.write_text(json_text(manifest | {"seal": seal_of(manifest)}), encoding="utf-8")

    return change


def _same_code(text: str) -> str:
    return text.replace('"""', '"""In other words: ', 1) + "\n# a comment\n"


def _other_code(text: str) -> str:
    return text + "\nUNUSED = 1\n"


def code(name: str, module: str, *results: str) -> Row:
    """A row that adds a line of code to a module, which leaves all results as they were."""
    said = module.removesuffix(".py").replace("/", ".")
    why = {result: ("code", said) for result in results}
    return Row(name, lambda place: place.edit_code(module, _other_code), why, frozenset(results))


READERS_OF_BUFFERS = (
    f"{AT}/dictionaries/few", f"{AT}/functional/heads", f"{AT}/functional/heads.parts/0-of-2",
    f"{AT}/functional/heads.parts/1-of-2", f"{AT}/rois/kmeans",
)  # fmt: skip
ACTIVATIONS = (f"{AT}/activations", "stream/main/text/activations", "stream/main/prompts/activations")
EFFECTIVE = f"{AT}/effective/heads"
ABLATION = f"{AT}/ablation/edges@effective.heads"
EVALUATION = f"{AT}/evaluation/curves@edges@effective.heads"
STRUCTURAL = f"{LAST}/structural/heads"
FIGURES = tuple(name for name in READS if name.startswith("figures/"))

NOTHING = [
    Row("a comment, and the order of keys", _reordered),
    Row("files touched and identical", _touch),
    Row("Snakemake's folder lost", lambda place: shutil.rmtree(place.folder / ".snakemake")),
    Row("results copied without dates and records", _without_dates),
    Row("results under another name", _results_elsewhere),
    Row("settings of the run", lambda place: place.edit("run: {cores: 1}", "run: {cores: 2, device: cpu, batch: 3}")),
    Row("a docstring", lambda place: place.edit_code("compgraph/connectivity/structural/composition.py", _same_code)),
    Row("intermediates deleted whose users are complete", _remove(f"{AT}/activations", ABLATION)),
]
PARAMETERS = [
    setting("train", "steps: 3,", "steps: 3, learning_rate: 0.02,", f"{FIRST}/model", f"{LAST}/model",
            said="learning_rate"),
    setting("import-model", "path: models/chain}", "path: models/chain, dtype: float64}", "chain/main/model",
            said="dtype float32 → float64"),
    setting("data", "images, n: 24", "images, n: 23", "chain/datasets/digits", said="n 24 → 23"),
    setting("activations", 'activations: {sites: ["mlp.*", "attn.*"]', 'activations: {sites: ["mlp.*", "attn.0"]',
            *ACTIVATIONS, said="sites"),
    setting("attributions", 'attribution-patching, sites: ["mlp.*"]', 'attribution-patching, sites: ["mlp.0"]',
            f"{AT}/attributions/tasks", said="sites"),
    setting("dictionaries", "n_features: 4", "n_features: 3", f"{AT}/dictionaries/few", said="n_features 4 → 3"),
    setting("structural", "composition, partition", "composition, rotated: 2, partition", STRUCTURAL,
            said="rotated 20 → 2"),
    setting("functional", "pearson, partition: heads", "pearson, threshold: 0.1, partition: heads",
            f"{AT}/functional/heads", said="threshold"),
    setting("effective", "partition: heads, checkpoints: all", "partition: heads, held_out: 0.25, checkpoints: all",
            EFFECTIVE, f"{FIRST}/prompts/effective/heads", said="held_out 0.5 → 0.25"),
    setting("rois", "n_rois: 2", "n_rois: 3", f"{AT}/rois/kmeans", said="n_rois 2 → 3"),
    setting("ablation", "sizes: [0.1, 1.0]", "sizes: [0.2, 1.0]", ABLATION, said="sizes [0.1, 1.0] → [0.2, 1.0]"),
    setting("evaluation", "n_bootstrap: 20", "n_bootstrap: 30", EVALUATION, said="n_bootstrap 20 → 30"),
    setting("communities", "n_runs: 2, n_nulls: 9", "n_runs: 3, n_nulls: 9",
            f"{AT}/communities/louvain@effective.heads", said="n_runs 2 → 3"),
    setting("sbm", "dense, n_runs: 1", "dense, n_runs: 2", f"{AT}/sbm/flat@effective.heads", said="n_runs 1 → 2"),
    setting("tests", "n_bootstrap: 25", "n_bootstrap: 26", f"{AT}/tests/back-up@effective.heads",
            said="n_bootstrap 25 → 26"),
    setting("statistics", "n_nulls: 2}", "n_nulls: 2, measures: [modularity]}",
            f"{LAST}/statistics/basic@structural.heads", said="measures all → ['modularity']"),
    setting("comparison", "n_nulls: 19}", "n_nulls: 20}", f"{AT}/comparison/kinds", said="n_nulls 19 → 20"),
    setting("tracking", "n_surrogates: 19", "n_surrogates: 20", "net/all/prompts/tracking/growth",
            said="n_surrogates 19 → 20"),
    Row("report", lambda place: place.edit("A tiny study", "Another title"), report=True),
]  # fmt: skip
INPUTS = [
    Row("a model's weights, older than what was made", _other_weights,
        {"chain/main/model": ("files", "model.safetensors")}),
    Row("a file of data", _other_text,
        {"stream/datasets/text": ("files", "words.txt")}),
    Row("a checkpoint added", lambda place: place.edit("checkpoints: [0, 3]", "checkpoints: [0, 2, 3]"),
        {f"{FIRST}/model": ("parameters", "checkpoints"), f"{LAST}/model": ("parameters", "checkpoints"),
         "net/all/prompts/tracking/growth": ("again", "step-000002"),
         f"{AT}/explore/page@effective.heads": ("again", "step-000002")},
        same=frozenset({f"{FIRST}/model", f"{LAST}/model"}),
        new=frozenset({"net/step-000002/model", "net/step-000002/prompts/effective/heads"})),
    Row("a method added", lambda place: place.edit("effective:\n", "effective:\n  more: {models: [chain]}\n"),
        new=frozenset({"chain/main/digits/effective/more", "figures/chain/main/digits/effective.more"})),
    Row("a dataset added", lambda place: place.edit("  digits:", "  few: {kind: images, n: 20}\n  digits:"),
        new=frozenset({"chain/datasets/few", "chain/main/few/effective/channels",
                       "figures/chain/main/few/effective.channels"})),
]  # fmt: skip
CODE = [
    code("a figure's style", "compgraph/figures/style.py", *FIGURES),
    code("a function of one stage", "compgraph/communities/chance.py", f"{AT}/communities/louvain@effective.heads"),
    code("a helper of two stages", "compgraph/evaluation/curve.py", EVALUATION, f"{AT}/tests/back-up@effective.heads"),
]  # fmt: skip
VERSIONS = [
    Row("another graph-tool, which nothing imports here", _older_library("graph-tool", f"{AT}/rois/kmeans"),
        report=True),  # as a manifest says something else
    Row("another torch", _older_library("torch", EFFECTIVE),
        {EFFECTIVE: ("versions", "torch 0.0.1 → ")}, same=frozenset({EFFECTIVE}), report=False),
]  # fmt: skip
DAMAGE = [
    Row("a damaged store", _damage(EFFECTIVE, "edges.parquet"), {EFFECTIVE: ("damaged", "edges.parquet")},
        same=frozenset({EFFECTIVE}), report=False),
    Row("a lost store", _remove(STRUCTURAL), {STRUCTURAL: ("missing", "")}, same=frozenset({STRUCTURAL}), report=False),
    Row("a lost manifest", lambda place: place.result(f"{AT}/activations").unlink(),
        {f"{AT}/activations": ("missing", "")}, same=frozenset({f"{AT}/activations"}), report=False),
    Row("a deleted intermediate that is needed again",
        _remove_and_need,
        {EVALUATION: ("parameters", "n_bootstrap 20 → 30"), ABLATION: ("needed", "")}, same=frozenset({ABLATION})),
]  # fmt: skip
ROWS = [*NOTHING, *PARAMETERS, *INPUTS, *CODE, *VERSIONS, *DAMAGE]
SAMPLE = {"a comment, and the order of keys", "results copied without dates and records", "evaluation",
          "a damaged store"}  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Path:
    """The folder of the finished study."""
    folder = tmp_path_factory.mktemp("finished")
    write_study(folder, models)
    run(folder)
    assert set(written(folder / "results")) == {*READS, "report"}, "READS names every result"
    return folder


@pytest.mark.parametrize("row", ROWS if ALL else [row for row in ROWS if row.name in SAMPLE], ids=lambda row: row.name)
def test_exactly_this_runs_again(row: Row, finished: Path, tmp_path: Path) -> None:
    place = Place(tmp_path / "study")
    shutil.copytree(finished, place.folder, copy_function=shutil.copy2)
    bytes_before = digests(place.folder / "results")
    row.change(place)
    results = place.folder / place.results
    before = written(results)
    planned = place.plan()
    done = run(place.folder, checkout=place.checkout)
    ran = {name for name, when in written(results).items() if before.get(name) != when}
    same = {name for name, digest in digests(results).items() if bytes_before.get(name) == digest}
    assert row.same <= same
    wanted = with_users(set(row.why), same) | row.new
    if row.report if row.report is not None else wanted:
        wanted.add("report")
    assert ran == wanted, done.stderr
    _check_reasons(row, planned)
    assert place.plan() == {}
    for name in wanted - {"report"}:
        store.verify(place.result(name))


def _check_reasons(row: Row, planned: dict[str, list[tuple[str, tuple[str, ...]]]]) -> None:
    for name, (kind, words) in row.why.items():
        found = planned[name][0]
        assert found[0] == kind and words in ", ".join(found[1]), (name, found)
    assert {name for name, ((kind, _), *_) in planned.items() if kind == "new"} == row.new
    own = {name for name, ((kind, _), *_) in planned.items() if kind not in ("again", "new")}
    assert own - {"report/index.html"} == {name for name, (kind, _) in row.why.items() if kind != "again"}
