"""A run whose folders, files, tokens and titles are hostile: nothing of them is run by a shell or by a browser."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.workflow.conftest import Run

pytestmark = pytest.mark.slow
FOLDER = "it's \"x\" & $(touch pwned) `touch pwned`; touch pwned #%s"
TAG = "<script>alert(1)</script>"
STUDY = {
    "models": {"stream": {"source": "pretrained", "path": f"{FOLDER}/stream"}},
    "datasets": {"rows": {"kind": "pairs", "path": f"{FOLDER}/pairs.csv"}},
    "effective": {"heads": {"partition": "heads", "baseline": "zero"}},
    "ablation": {"edges": {"sizes": [0.5], "n_random": 1, "baseline": "zero"}},
    "evaluation": {"curves": {"n_bootstrap": 5}},
    "figures": {"draw": ["effective", "faithfulness"]},
    "report": {"title": TAG},
    "run": {"cores": 1},
}


class Tags(HTMLParser):
    """The tags of a page, with the words of handlers that would run code."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.handlers += [name for name, _ in attributes if name.startswith("on")]


@pytest.fixture(scope="module")
def done(
    tmp_path_factory: pytest.TempPathFactory, models: Path, call: Run
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The folder of the study, whose own name is hostile too, and what the run said."""
    study = tmp_path_factory.mktemp("hostile") / f"my {TAG.replace('/', '')} $(touch pwned) 'study'"
    (study / FOLDER).mkdir(parents=True)
    shutil.copytree(models / "stream", study / FOLDER / "stream")
    vocabulary = study / FOLDER / "stream" / "tokenizer.json"
    content = json.loads(vocabulary.read_text())
    number = content["model"]["vocab"].pop("shop")
    content["model"]["vocab"][TAG] = number
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    content["added_tokens"].append({"id": number, "content": TAG, **flags})
    vocabulary.write_text(json.dumps(content))
    with (study / FOLDER / "pairs.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["task", "clean", "corrupted", "answer", "distractor"])
        for one, other in (("nail", "desk"), ("light", "steel"), ("wire", "toy")):
            rows.writerow([TAG, f"{one} {other} {one}", f"{other} {one} {one}", TAG, f" {other}"])
    (study / f"config {TAG.replace('/', '')};touch pwned.yaml").write_text(json.dumps(STUDY))
    return study, call(["run", "--config", next(study.glob("*.yaml")).name], cwd=study)


def test_no_shell_ran_anything_of_it(done: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    study, run = done
    assert run.returncode == 0, run.stderr
    assert not list(study.parent.rglob("pwned")) and not Path("pwned").exists()
    assert "<" not in "".join(path.name for path in (study / "results").rglob("*"))


def test_the_report_shows_it_as_text(done: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    page = (done[0] / "results" / "report" / "index.html").read_text()
    tags = Tags()
    tags.feed(page)
    assert tags.tags.count("script") == 1 and not tags.handlers
    assert "&lt;script&gt;alert(1)" in page


def test_figures_hold_no_code(done: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    drawn = list((done[0] / "results" / "figures").rglob("*.svg"))
    assert drawn
    for path in drawn:
        assert not [one.tag for one in ElementTree.parse(path).iter() if one.tag.endswith(("script", "foreignObject"))]
