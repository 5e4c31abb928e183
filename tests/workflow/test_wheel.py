"""What is installed works without the repository: the wheel is built, installed beside the packages here, and used."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.workflow.conftest import ROOT

pytestmark = pytest.mark.slow

STUDY = """
models: {{chain: {{source: pretrained, path: {models}/chain}}}}
datasets: {{digits: {{kind: images, n: 16}}}}
effective: {{channels: {{partition: channels}}}}
figures: {{draw: [effective]}}
run: {{cores: 1}}
"""
LIBRARY = """
import sys
import numpy as np
import compgraph as cg
graph = cg.ComputationalGraph.from_matrix(np.array([[0.0, 1.0], [1.0, 0.0]]))
print(cg.__file__, graph.n_edges, len(graph._repr_html_()) > 0)
print(*sys.path, sep="\\n")
"""


def call(words: Sequence[object], folder: Path) -> subprocess.CompletedProcess[str]:
    """A process that knows nothing of the repository."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONNOUSERSITE": "1", "CI": "true"}
    line = list(map(str, words))
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel, and the source distribution that it was built from."""
    sources, again = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("wheel")
    call([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", sources], ROOT)
    (archive,) = sources.glob("*.tar.gz")
    shutil.unpack_archive(archive, sources)
    call([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", again], next(sources.glob("*/")))
    return {"sdist": archive, "wheel": next(again.glob("*.whl"))}


@pytest.fixture(scope="module")
def installed(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has the wheel and, behind it, the packages of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, system_site_packages=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    call([*pip, "install", "--quiet", "--no-index", "--no-deps", "--ignore-installed", built["wheel"]], folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    # A line of a .pth file does not read the .pth files there, of which one leads to the repository.
    (packages / "here.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def test_the_wheel_holds_the_workflow_and_no_sources_of_others(built: dict[str, Path]) -> None:
    names = set(zipfile.ZipFile(built["wheel"]).namelist())
    inside = {
        path.relative_to(ROOT).as_posix()
        for name in ("workflow", "profiles")
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {f"compgraph/_workflow/{name}" for name in inside | {"Snakefile", "config.yaml"}} <= names
    assert {"compgraph/explorer/static/explorer.js", "compgraph/report/templates/report.html.j2"} <= names
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"compgraph"}
    assert not [name for name in names if "explorer/web" in name or "__pycache__" in name or "test_" in name]


def test_the_source_distribution_can_be_worked_on(built: dict[str, Path]) -> None:
    with tarfile.open(built["sdist"]) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    wanted = {"pyproject.toml", "hatch_build.py", "LICENSE", "README.md", "Makefile", "Snakefile", "envs/setup.sh"}
    assert wanted | {"tests/conftest.py", "docs/index.md", "compgraph/explorer/web/build.mjs"} <= names
    assert not [name for name in names if "node_modules" in name or "__pycache__" in name or name.startswith("results")]


def test_an_editable_install_has_no_copy_of_the_workflow(tmp_path: Path) -> None:
    call([sys.executable, "-m", "hatchling", "build", "-t", "wheel:editable", "-d", tmp_path], ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if "_workflow" in name]


def test_the_library_without_the_repository(installed: Path, tmp_path: Path) -> None:
    first, *path = call([installed / "python", "-c", LIBRARY], tmp_path).stdout.splitlines()
    assert first.endswith("__init__.py 1 True") and first.startswith(str(installed.parent))
    assert str(ROOT) not in path
    assert call([installed / "compgraph", "--version"], tmp_path).stdout.startswith("compgraph ")


def test_the_embedded_study_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    done = call([installed / "compgraph", "plan", "--json"], tmp_path)
    page = json.loads(done.stdout)
    assert page["config"].endswith("compgraph/_workflow/config.yaml")
    assert f"the study of {page['config']}" in done.stderr
    assert page["to_make"] == page["results"] == sum(sum(reasons.values()) for reasons in page["stages"].values())
    call([installed / "compgraph", "init"], tmp_path)
    assert (tmp_path / "config.yaml").read_bytes() == (ROOT / "config.yaml").read_bytes()


def test_a_study_from_an_empty_folder(installed: Path, models: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(STUDY.format(models=models))
    done = call([installed / "compgraph", "run", "--config", "mine.yaml"], tmp_path)
    assert done.stdout.splitlines()[-1] == str(tmp_path / "results" / "report" / "index.html")
    assert "nothing to do" in call([installed / "compgraph", "plan", "--config", "mine.yaml"], tmp_path).stdout
    graph = "results/chain/main/digits/effective/channels.json"
    call([installed / "compgraph", "explore", graph, "--output", "page.json"], tmp_path)
    assert b"<html" in next(tmp_path.glob("page*.html")).read_bytes()
