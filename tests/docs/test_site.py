"""The pages as a site: every page has a place, every link a target, every public name its text."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys

import pytest

import compgraph
from tests.docs.pages import ROOT


def test_the_reference_names_every_public_name():
    fresh = runpy.run_path(str(ROOT / "docs/api.py"))["page"]()
    assert fresh == (ROOT / "docs/api.md").read_text(encoding="utf-8"), "run: python docs/api.py"
    shown = {line.rpartition(".")[2] for line in fresh.splitlines() if line.startswith(":::")}
    assert shown == set(compgraph.__all__) - {"__version__"}


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="mkdocs-material is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[-2000:]
    api = (tmp_path / "site/api.html").read_text(encoding="utf-8")
    assert "Run the network as a circuit" in api and "baseline" in api
    index = (tmp_path / "site/index.html").read_text(encoding="utf-8")
    assert "fonts.googleapis.com" not in index
