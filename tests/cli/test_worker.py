from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from compgraph import store
from compgraph.cli.workers import COMMAND
from tests.workflow.conftest import models as models


def talk(requests: list[list[str]], cwd: Path) -> tuple[list[dict[str, float]], str]:
    """The answers of one process, and what it says beside them."""
    asked = "".join(json.dumps({"arguments": one}) + "\n" for one in requests)
    done = subprocess.run(COMMAND, input=asked, cwd=cwd, capture_output=True, text=True, timeout=120, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def to(output: str, *arguments: str) -> list[str]:
    return [*arguments, "--output", f"{output}.json", "--log-file", f"logs/{output}.log", "--quiet"]


SEEDED = ("--baseline", "resample", "--seed", "3")


def results(folder: str) -> list[list[str]]:
    """Results of three kinds, of which two load the network, with seeds."""
    return [
        to(f"{folder}/graph", "effective", "model.json", "prompts.json", "--partition", "heads", *SEEDED),
        to(f"{folder}/buffer", "attributions", "model.json", "prompts.json", *SEEDED),
        to(f"{folder}/parts", "communities", "graph.json", "--n-runs", "3", "--seed", "5"),
    ]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Path:
    """A folder with results of a process that made them in their order, in ``first`` and again in ``again``."""
    folder = tmp_path_factory.mktemp("worker")
    source = to("model", "import-model", "--path", str(models / "stream"))
    data = to("prompts", "data", "model.json", "--kind", "task", "--task", "induction", "--n", "16")
    graph = to("graph", "effective", "model.json", "prompts.json", "--partition", "heads", *SEEDED)
    answers, said = talk([source, data, graph, *results("first"), *results("again")], folder)
    assert [answer["code"] for answer in answers] == [0] * 9, said
    assert all(answer["cpu_seconds"] > 0 and answer["peak_bytes"] > 2**20 for answer in answers)
    return folder


def test_no_result_depends_on_those_before_it(place: Path) -> None:
    answers, said = talk(results("backwards")[::-1], place)
    assert [answer["code"] for answer in answers] == [0] * 3, said
    for name in ("graph", "buffer", "parts"):
        found = [store.verify(place / folder / f"{name}.json") for folder in ("first", "again", "backwards")]
        assert found[0].manifest == found[1].manifest == found[2].manifest


def test_every_result_has_a_log_of_its_own(place: Path) -> None:
    logs = [(place / f"logs/first/{name}.log").read_text() for name in ("graph", "buffer", "parts")]
    assert [log.split()[2] for log in logs] == ["effective", "attributions", "communities"]


def test_what_goes_wrong_is_the_code_of_its_result_alone(tmp_path: Path) -> None:
    answers, said = talk([to("a", "sbm", "nothing.json"), ["no-verb"], ["--help"]], tmp_path)
    assert [answer["code"] for answer in answers] == [1, 2, 0]
    assert "compgraph sbm: there is no result nothing.json" in said
    assert "there is no verb 'no-verb'" in said and "Usage: compgraph" in said
