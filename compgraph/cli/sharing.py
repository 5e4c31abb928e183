"""Calls whose results another study has made: they are copied from the folder of shared results, or added to it.

Snakemake's jobs learn of the folder from the environment, as which folder it is changes no result.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compgraph.errors import StoreError

if TYPE_CHECKING:
    from compgraph.cli.console import Call

FOLDER, ROOT = "COMPGRAPH_SHARED", "COMPGRAPH_RESULTS"
"""Environment variables: the folder of shared results, and the results folder of the study."""
ALONE = ("import-model", "report")
"""Stages whose results are not shared: they say where something lies."""
NAMING = ("comparison", "figure", "sbm", "scale", "tracking")
"""Stages whose results hold names that they take from the paths of what they read."""
NEITHER_HERE_NOR_THERE = ("output", "cache")
"""Arguments that say where, not what."""


def environment(folder: str | None, root: str) -> dict[str, str]:
    """What jobs are told of a study's ``run.cache``."""
    if folder is None:
        return {}
    return {FOLDER: str(Path(folder).expanduser().absolute()), ROOT: str(Path(root).absolute())}


def shared_or_made(call: Call, values: Mapping[str, Any], make: Callable[[], None]) -> None:
    """Copy a call's results from the folder of shared results, or else make them and add them to it.

    Parameters
    ----------
    call : Call
    values : mapping
        Arguments and options of the verb, without those that all verbs have.
    make : callable
        Makes the results.
    """
    folder = os.environ.get(FOLDER)
    asked = asked_of(call, values) if folder else None
    if not folder or asked is None:
        make()
        return
    from compgraph.shared import Shared

    shared, output = Shared(Path(folder)), values["output"]
    base = output.parent if output.suffix == ".json" else output
    damaged = False
    try:
        taken = shared.take(asked, base)
    except StoreError as error:
        call.say(f"note: not taken from the shared results, made here: {error}")
        taken, damaged = None, True
    if taken is not None:
        call.say("\n".join(f"{manifest}: taken from the shared results, {shared.place(asked)}" for manifest in taken))
        return
    make()
    if not shared.put(asked, base, call.made, replace=damaged):
        call.log(f"not added to the shared results in {folder}: there already, or the folder cannot be written")


def asked_of(call: Call, values: Mapping[str, Any]) -> dict[str, Any] | None:
    """All that determines a call's results; None if that is not known, as of data that lie somewhere else.

    What they are made from counts by its digest, so the names of models and datasets do not matter, but where results
    take them in. The code counts as planned, so a call by hand, without ``--code``, shares nothing.
    """
    from compgraph.provenance import library_versions

    if call.code is None or call.stage in ALONE:
        return None
    entry = {} if call.entry is None else call.entry.model_dump(mode="json")
    files = _files(entry.get("path"))
    if files is None:
        return None
    try:
        given = {name: _what(value) for name, value in values.items() if name not in NEITHER_HERE_NOR_THERE}
        where = _names(call, values) if call.stage in NAMING else []
    except (OSError, ValueError, StoreError):
        return None
    return {
        "stage": call.stage,
        "output": values["output"].name if values["output"].suffix == ".json" else "",
        "entry": entry,
        "arguments": {name: value for name, value in given.items() if name != "entry"},
        "files": files,
        "names": where,
        "code": call.code,
        "versions": library_versions(),
        "device": _device(call.device) if call.networks else "",
        "threads": call.threads,
    }


def _what(value: Any) -> Any:
    """An argument by what it means: a manifest by the digest of its result."""
    from compgraph import store

    if isinstance(value, Path):
        result = store.open(value, lazy=True)
        # A model that lies elsewhere is told by its summary.
        return {"result": result.digest, "summary": result.summary}
    if isinstance(value, (list, tuple)):
        return [_what(one) for one in value]
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def _names(call: Call, values: Mapping[str, Any]) -> list[str]:
    """Where the result and what it is made from lie below the results folder.

    Raises
    ------
    ValueError
        If they lie elsewhere.
    """
    root = Path(os.environ[ROOT])
    paths: list[Path] = []
    for name, value in values.items():
        if name not in ("entry", "cache"):
            paths += [one for one in (value if isinstance(value, (list, tuple)) else [value]) if isinstance(one, Path)]
    return [path.absolute().relative_to(root).as_posix() for path in paths]


def _files(path: Any) -> list[str] | None:
    """Digests of the files that an entry is read from; None if they are not on this machine."""
    from compgraph.config.study import dictionary_files
    from compgraph.provenance import file_digest

    if not path:
        return []
    found = Path(str(path)).expanduser()
    if found.exists():
        return [file_digest(found)]
    return [file_digest(Path(one)) for one in dictionary_files(str(path))] or None


def _device(device: str) -> str:
    """The device that is meant."""
    if device != "auto":
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
