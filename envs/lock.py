"""Write envs/requirements.lock: every package that pip would install on an empty machine, with its exact version."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
HEADING = "# Everything that pip installs, exactly. Both routes of envs/setup.sh use it; `make lock` writes it anew.\n"


def main() -> None:
    """Resolve the package's dependencies and those of requirements.in together."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    with tempfile.TemporaryDirectory() as folder:
        wanted, report = Path(folder) / "wanted.txt", Path(folder) / "report.json"
        wanted.write_text("\n".join(project["dependencies"]) + "\n" + (HERE / "requirements.in").read_text())
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
        subprocess.run([*command, "--report", str(report), "--requirement", str(wanted)], check=True)
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    pins = sorted(f"{name(entry)}=={version(entry)}\n" for entry in found)
    (HERE / "requirements.lock").write_text(HEADING + "".join(pins), encoding="utf-8")


def name(entry: dict[str, dict[str, str]]) -> str:
    """Normalised name of a resolved package."""
    return entry["metadata"]["name"].lower().replace("_", "-").replace(".", "-")


def version(entry: dict[str, dict[str, str]]) -> str:
    """Its version, without the local part that names a build (``+cpu``)."""
    return entry["metadata"]["version"].partition("+")[0]


if __name__ == "__main__":
    main()
