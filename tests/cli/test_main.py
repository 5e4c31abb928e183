from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from compgraph import catalogue
from compgraph.cli.main import END, START, VERBS, main


def test_verbs_in_the_order_of_the_pipeline() -> None:
    shown = CliRunner().invoke(main, ["--help"]).output
    places = [shown.index(f"\n  {verb} ") for verb in VERBS]
    assert places == sorted(places)
    assert list(VERBS) == [*START, *catalogue.STAGES, *END]


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_explains_itself(name: str) -> None:
    done = CliRunner().invoke(main, [name, "--help"])
    assert done.exit_code == 0, done.output
    assert "Usage: " in done.output


@pytest.mark.parametrize("name", catalogue.STAGES)
def test_every_stage_has_the_shared_options(name: str) -> None:
    shown = CliRunner().invoke(main, [name, "--help"]).output
    for option in ("--quiet", "--log-file", "--threads", "--code", "--output"):
        assert option in shown


def test_an_unknown_verb_names_the_nearest() -> None:
    done = CliRunner().invoke(main, ["efective"])
    assert done.exit_code == 2
    assert "did you mean 'effective'" in done.output


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from compgraph.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'transformers', 'numpy', 'pandas', 'pydantic', 'matplotlib', 'zarr', 'rich'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_version() -> None:
    assert CliRunner().invoke(main, ["--version"]).output.startswith("compgraph 0.")
