from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from compgraph.cli.init import model_name
from compgraph.cli.main import main
from compgraph.config.config import load
from compgraph.config.study import Study


@pytest.mark.parametrize("tasks", [["ioi"], ["ioi", "induction"]])
def test_the_config_it_writes_is_valid_and_has_every_stage(tasks: list[str], tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    chosen = [word for task in tasks for word in ("--task", task)]
    done = CliRunner().invoke(main, ["init", "--model", "owner/Some-Model", *chosen, "-o", str(path)])
    assert done.exit_code == 0, done.output
    study = Study(load(path))
    assert list(study.config.models) == ["some-model"]
    stages = {result.stage for result in study.results()}
    assert {"structural", "functional", "effective", "ablation", "communities", "statistics", "figure"} <= stages
    assert path.read_text().startswith("# A study of owner/Some-Model on ioi")


def test_without_a_model_it_writes_the_embedded_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(main, ["init"]).exit_code == 0
    assert "digits-cnn" in load(tmp_path / "config.yaml").models
    done = CliRunner().invoke(main, ["init", "--task", "ioi"])
    assert done.exit_code == 2 and "go together" in done.output


def test_it_overwrites_nothing(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("mine")
    arguments = ["init", "--model", "gpt2", "--task", "ioi", "-o", str(path)]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 1
    assert "use --force" in done.output
    assert path.read_text() == "mine"
    assert CliRunner().invoke(main, [*arguments, "--force"]).exit_code == 0


def test_an_unknown_task(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["init", "--model", "gpt2", "--task", "iio", "-o", str(tmp_path / "s.yaml")])
    assert done.exit_code == 1
    assert "did you mean 'ioi'" in done.output


def test_names_of_models() -> None:
    assert model_name("gpt2") == "gpt2"
    assert model_name("../models/My Model") == "my-model"
    assert model_name("EleutherAI/pythia-70m-deduped") == "pythia-70m-deduped"
