"""Files outside the results that an entry of a config is read from."""

from __future__ import annotations

from glob import glob
from pathlib import Path
from typing import Any

from compgraph.config.facts import local_folder
from compgraph.config.models import Pretrained

WEIGHTS = ("*.json", "*.safetensors", "*.txt", "*.model")
"""Files of a saved model that can change what is loaded."""


def files_of(section: str, entry: Any, revision: str | None = None) -> list[str]:
    """Local files that an entry is read from, sorted; none for what is made here or lies on a hub.

    Parameters
    ----------
    section : str
        Section of the config.
    entry : Section
        The validated entry.
    revision : str, optional
        Of a pretrained model: the one revision that is read; all of them if not given.
    """
    path = getattr(entry, "path", None)
    if not path:
        return []
    if section == "dictionaries":
        return _dictionary_files(path)
    found = local_folder(path) if isinstance(entry, Pretrained) else Path(path).expanduser()
    if found is None or not found.exists():
        return []
    if found.is_file():
        return [str(found)]
    if not isinstance(entry, Pretrained):
        return _sorted_files(found.rglob("*"))
    files: set[Path] = set()
    for one in entry.revisions if revision is None else [revision]:
        own = found / one
        files |= {file for pattern in WEIGHTS for file in (own if own.is_dir() else found).glob(pattern)}
        weights = found / f"{one}.safetensors"
        if weights.is_file():  # beside those of other revisions
            files = {file for file in files if file.suffix != ".safetensors"} | {weights}
    return _sorted_files(files)


def _dictionary_files(path: str) -> list[str]:
    """Files that published dictionaries are read from; `{site}` in the path stands for any site."""
    found = [Path(one) for one in glob(str(Path(path.replace("{site}", "*")).expanduser()))]
    files = [file for one in found for file in (one.iterdir() if one.is_dir() else [one])]
    return _sorted_files(file for file in files if file.suffix in (".safetensors", ".json"))


def _sorted_files(paths: Any) -> list[str]:
    return sorted(str(path) for path in paths if path.is_file())
