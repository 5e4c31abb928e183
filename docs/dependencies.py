"""Writes the table of docs/dependencies.md from pyproject.toml and what is installed: `python docs/dependencies.py`."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE / "dependencies.md"
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->\n"
BESIDE = {"graph-tool": ("", "2.45", "LGPL-3.0-or-later", "not on the package index: Debian or conda-forge")}
"""Dependencies that no Python metadata describe."""
LICENCES = {
    "igraph": "GPL-2.0-or-later",
    "matplotlib": "Matplotlib's own (PSF-like, BSD-compatible)",
    "numpy": "BSD-3-Clause",
    "pandas": "BSD-3-Clause",
    "scipy": "BSD-3-Clause",
}
"""Where metadata hold the text of a licence, or no exact name."""


def table() -> str:
    """One row for each direct dependency."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lock = (HERE.parent / "envs" / "requirements.lock").read_text(encoding="utf-8")
    locked = dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", lock, re.MULTILINE))
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    rows = ["| package | range | tried with | licence | for |", "| --- | --- | --- | --- | --- |"]
    for group, requirements in groups.items():
        for requirement in requirements:
            name, allowed = re.fullmatch(r"([A-Za-z0-9._-]+)(.*)", requirement).groups()  # type: ignore[union-attr]
            version = next((v for key, v in locked.items() if key.lower() == name.lower()), "system's")
            rows.append(f"| {name} | {allowed or 'any'} | {version} | {licence(name)} | {group or 'everything'} |")
    for name, (allowed, version, words, group) in BESIDE.items():
        rows.append(f"| {name} | {allowed or 'any'} | {version} | {words} | block models; {group} |")
    return "\n".join(rows) + "\n"


def licence(name: str) -> str:
    """The licence of an installed package, as its metadata name it."""
    if name in LICENCES:
        return LICENCES[name]
    found = metadata.metadata(name)
    if expression := found.get("License-Expression"):
        return expression
    words = (found.get("License") or "").strip()
    if words and "\n" not in words and len(words) < 40:
        return words
    said = [line.rpartition(" :: ")[2] for line in found.get_all("Classifier") or [] if line.startswith("License ::")]
    return ", ".join(said) or "not said"


def written(page: str) -> str:
    """The page with the table of now."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table() + END + after


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
