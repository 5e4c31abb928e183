"""Metrics of the user's own in a config: their form, where their module is, and the digest of their code."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from compgraph.config.code import code_of, code_roots
from compgraph.config.flags import parse as parse_flags
from compgraph.config.flags import render
from compgraph.config.metrics import own_code
from compgraph.errors import ConfigError, DataError
from compgraph.importing import source_of
from compgraph.sources import own_modules
from tests.config.studies import SMALL, small

MARGIN = "def margin(logits, targets):\n    return logits[:, 0]\n"
OWN = SMALL.replace("channels: {partition: channels}", "channels: {partition: channels, metric: 'owned:margin'}")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a module `owned` and a package `kit`, which fail when they are imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "owned.py").write_text("raise RuntimeError('imported')\n" + MARGIN)
    (tmp_path / "kit" / "deep").mkdir(parents=True)
    (tmp_path / "kit" / "__init__.py").write_text("SCALE = 1\n")
    (tmp_path / "kit" / "deep" / "metrics.py").write_text(
        "import numpy\nimport helper\nfrom ..tools import half\nfrom compgraph.metrics import kl\n" + MARGIN
    )
    (tmp_path / "kit" / "tools.py").write_text("def half(x):\n    return x / 2\n")
    (tmp_path / "helper.py").write_text("raise RuntimeError('imported')\n")
    return tmp_path


def test_a_config_may_name_one_and_reading_it_imports_nothing(folder: Path) -> None:
    config = small(OWN)
    assert config.effective["channels"].metric == "owned:margin"
    assert "owned" not in sys.modules
    assert own_code(config) == ["code of your own runs: owned:margin (effective.channels)"]
    assert own_code(small()) == []


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("metric: logit_diff", "there is no metric 'logit_diff' (did you mean 'logit_difference'?); valid: "),
        ("metric: 'owned.margin'", "valid: logit_difference, "),
        ("metric: 'missing.module:margin'", "there is no module missing.module with its source in this folder"),
        ("metric: 'kit.nothing:margin'", "'kit.nothing:margin': there is no module kit.nothing"),
    ],
)
def test_bad_names_are_told_before_anything_runs(folder: Path, written: str, said: str) -> None:
    with pytest.raises(ConfigError, match=r"effective\.channels\.metric") as raised:
        small(SMALL.replace("channels: {partition: channels}", f"channels: {{partition: channels, {written}}}"))
    assert said in str(raised.value)


def test_evaluation_takes_several_and_flags_keep_them(folder: Path) -> None:
    config = small(SMALL.replace("curves: {}", "curves: {metrics: [kl, 'owned:margin']}"))
    assert own_code(config) == ["code of your own runs: owned:margin (evaluation.curves)"]
    flags = render("evaluation", config.evaluation["curves"])
    assert "--metrics kl,owned:margin" in flags
    entry, problems = parse_flags("evaluation", {"metrics": "kl,owned:margin"})
    assert not problems and entry is not None and entry.metrics == ["kl", "owned:margin"]  # type: ignore[attr-defined]
    assert {"owned", "compgraph.metrics"} <= set(code_roots("evaluation", config.evaluation["curves"]))


def test_modules_are_found_without_importing_them(folder: Path) -> None:
    assert source_of("owned") == folder / "owned.py"
    assert source_of("kit") == folder / "kit" / "__init__.py"
    assert source_of("kit.deep.metrics") == folder / "kit" / "deep" / "metrics.py"
    assert source_of("kit.other") is None and source_of("nowhere.at.all") is None and source_of("_json") is None
    assert not {"owned", "kit", "kit.deep"} & set(sys.modules)


def test_the_digest_follows_what_the_module_imports_from_beside_it(folder: Path) -> None:
    found, used = own_modules(["kit.deep.metrics"])
    assert set(found) == {"kit.deep.metrics", "kit.tools", "helper", "kit"}  # a package's own code runs first
    assert used == {"compgraph.metrics"}


def test_a_metric_of_an_installed_package_is_followed_inside_it_only() -> None:
    found, _ = own_modules(["yaml.nodes"])
    assert set(found) == {"yaml.nodes"}
    followed, _ = own_modules(["yaml.loader"])
    assert "yaml.reader" in followed and all(name.split(".")[0] == "yaml" for name in followed)


def test_editing_the_code_changes_the_digest_and_a_comment_does_not(folder: Path) -> None:
    entry = small(OWN).effective["channels"]
    roots = code_roots("effective", entry)
    assert {"owned", "compgraph.metrics"} <= set(roots)
    before = code_of(roots)
    assert before != code_of(tuple(root for root in roots if root != "owned"))
    file = folder / "owned.py"
    file.write_text(file.read_text() + "# a remark\n")
    assert code_of(roots) == before
    file.write_text(file.read_text().replace("logits[:, 0]", "logits[:, 1]"))
    assert code_of(roots) != before


def test_a_module_that_is_gone_or_no_python_is_an_error(folder: Path) -> None:
    roots = code_roots("effective", small(OWN).effective["channels"])
    (folder / "owned.py").write_text("def margin(:\n")
    with pytest.raises(DataError, match=r"owned.py, line 1: owned is no valid Python"):
        code_of(roots)
    (folder / "owned.py").unlink()
    with pytest.raises(DataError, match="there is no module owned"):
        code_of(roots)
