"""The set-up script, with stand-ins for the programs that it would call."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ENVS = ROOT / "envs"


def lock() -> dict[str, str]:
    lines = (ENVS / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    assert all(len(pin) == 2 for pin in pins), "every line is an exact pin"
    return {name: version for name, version in pins}


def conda() -> dict[str, str]:
    dependencies = yaml.safe_load((ENVS / "environment.yaml").read_text(encoding="utf-8"))["dependencies"]
    pins = [entry.split("=") for entry in dependencies if isinstance(entry, str)]
    assert all(len(pin) == 2 for pin in pins), "every line is an exact pin"
    return {name: version for name, version in pins}


def test_both_routes_name_the_same_versions_of_what_they_share() -> None:
    shared = set(lock()) & set(conda())
    assert {"numpy", "scipy"} <= shared
    assert {name: lock()[name] for name in shared} == {name: conda()[name] for name in shared}
    pip = next(entry for entry in yaml.safe_load((ENVS / "environment.yaml").read_text())["dependencies"]
               if isinstance(entry, dict))  # fmt: skip
    assert pip == {"pip": ["-r requirements.lock"]}


def test_the_lock_holds_every_dependency_of_the_package() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    wanted = [*project["dependencies"], *extras]
    names = {re.split(r"[^A-Za-z0-9._-]", line)[0].lower() for line in wanted}
    assert names <= set(lock())


def test_the_lock_names_no_host() -> None:
    text = (ENVS / "requirements.lock").read_text() + (ENVS / "environment.yaml").read_text()
    assert "://" not in text and "--index" not in text


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that the set-up reads, and an empty PATH folder for stand-ins."""
    (tmp_path / "envs").mkdir()
    for name in ("setup.sh", "requirements.lock", "environment.yaml"):
        shutil.copy(ENVS / name, tmp_path / "envs" / name)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "bin").mkdir()
    stand_in(tmp_path / "bin" / "python3", "echo 'version manager: no such version' >&2; exit 127")
    return tmp_path


def stand_in(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def set_up(checkout: Path, route: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": f"{checkout / 'bin'}:/usr/bin:/bin", "PYTHONPATH": "/nowhere"}
    environment.pop("COMPGRAPH_ROUTE", None)
    if route:
        environment["COMPGRAPH_ROUTE"] = route
    return subprocess.run(
        ["bash", str(checkout / "envs" / "setup.sh")], env=environment, capture_output=True, text=True, timeout=60
    )


def test_with_neither_route_one_message_says_what_to_install(checkout: Path) -> None:
    done = set_up(checkout, "none")
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    for word in ("python3-graph-tool", "python3-venv", "micromamba"):
        assert word in done.stderr


def test_an_unknown_route_is_refused(checkout: Path) -> None:
    done = set_up(checkout, "brew")
    assert done.returncode == 1
    assert "valid: apt, conda" in done.stderr


CONDA = """
echo "$0 $*" >> {log}
mkdir -p .venv/bin
cat > .venv/bin/python <<'END'
#!/bin/sh
echo "python $*" >> {log}
END
echo '#!/bin/sh' > .venv/bin/compgraph
chmod +x .venv/bin/python .venv/bin/compgraph
"""


@pytest.mark.parametrize(
    ("tool", "words"), [("conda", "env create"), ("mamba", "env create"), ("micromamba", "create")]
)
def test_the_conda_route(checkout: Path, tool: str, words: str) -> None:
    log = checkout / "log"
    stand_in(checkout / "bin" / tool, CONDA.format(log=log))
    done = set_up(checkout, "conda")
    assert done.returncode == 0, done.stderr
    calls = log.read_text().splitlines()
    assert calls[0].startswith(f"{checkout / 'bin' / tool} {words}")
    assert "--prefix .venv" in calls[0] and "envs/environment.yaml" in calls[0]
    assert any("pip install" in call and "--editable ." in call for call in calls)


def test_it_is_done_once_until_a_pin_changes(checkout: Path) -> None:
    log = checkout / "log"
    stand_in(checkout / "bin" / "conda", CONDA.format(log=log))
    assert set_up(checkout, "conda").returncode == 0
    created = log.read_text().count("env create")
    assert set_up(checkout, "conda").returncode == 0
    assert log.read_text().count("env create") == created == 1
    with (checkout / "envs" / "requirements.lock").open("a") as file:
        file.write("# another pin\n")
    assert set_up(checkout, "conda").returncode == 0
    assert log.read_text().count("env create") == 2


def test_conda_asked_for_and_absent(checkout: Path) -> None:
    done = set_up(checkout, "conda")
    assert done.returncode == 1
    assert "no conda, mamba or micromamba" in done.stderr


def test_ci_runs_make_test() -> None:
    text = (ROOT / ".ci" / "run").read_text()
    assert "make test" in text
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
