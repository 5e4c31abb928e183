from __future__ import annotations

import json
from pathlib import Path

import yaml
from click.testing import CliRunner

from compgraph.cli.main import main
from tests.config.studies import SMALL


def test_validate(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(SMALL)
    done = CliRunner().invoke(main, ["config", "validate", str(path)])
    assert done.exit_code == 0
    assert done.output.startswith(f"{path}: valid; 2 models, ")
    path.write_text(SMALL.replace("induction", "inducton"))
    done = CliRunner().invoke(main, ["config", "validate", str(path)])
    assert done.exit_code == 1
    assert "did you mean 'induction'" in done.output


def test_validate_as_json(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(SMALL)
    told = json.loads(CliRunner().invoke(main, ["config", "validate", "--json", str(path)]).output)
    assert told["valid"] and told["models"] == 2 and told["results"] > 20
    path.write_text(SMALL.replace("induction", "inducton"))
    done = CliRunner().invoke(main, ["config", "validate", "--json", str(path)])
    told = json.loads(done.output)
    assert done.exit_code == 1 and not told["valid"] and "did you mean 'induction'" in told["error"]


def test_schema() -> None:
    schema = json.loads(CliRunner().invoke(main, ["config", "schema"]).output)
    assert "models" in schema["properties"]


def test_render_keeps_the_values_and_the_heading(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("# My study\n\n" + SMALL)
    text = CliRunner().invoke(main, ["config", "render", str(path)]).output
    assert text.startswith("# My study\n\n# models: ")
    assert yaml.safe_load(text)["effective"] == yaml.safe_load(SMALL)["effective"]
