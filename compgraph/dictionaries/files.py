"""Dictionaries as results: safetensors files and a manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from compgraph import store
from compgraph.dictionaries.dictionary import TENSORS, Dictionary
from compgraph.errors import ModelError, StoreError
from compgraph.provenance import Provenance, code_digest

KIND = "dictionary"
KIND_OF_SEVERAL = "dictionaries"


def save_dictionary(one: Dictionary, manifest_path: str | Path, provenance: Provenance | None = None) -> store.Result:
    """Write `x.json`, the manifest with everything but the tensors, and `x.safetensors` beside it.

    Parameters
    ----------
    provenance
        How it was made; None: from what the dictionary knows of itself.
    """
    path = Path(manifest_path)
    inputs = {} if one.model is None else {"model": one.model}
    made = provenance or Provenance("dictionary", {"site": one.site}, None, inputs, code_digest([__name__]))
    with store.create(path, KIND, f"{path.stem}.safetensors", made) as draft:
        save_file(_tensors(one), draft.path)
        draft.summary = {"dictionary": one.facts, "digest": one.digest}
    return store.open(path, KIND)


def load_dictionary(manifest_path: str | Path) -> Dictionary:
    """Read what `save_dictionary` wrote, every byte checked.

    Raises
    ------
    StoreError
        It is missing, torn, damaged, of another kind, or not the dictionary that the manifest describes.
    """
    result = store.open(manifest_path, KIND)
    facts: dict[str, Any] = result.summary.get("dictionary", {})
    try:
        parts: dict[str, Any] = dict(load_file(result.path))
        one = Dictionary(**parts, **facts)
    except (SafetensorError, TypeError, ModelError) as error:
        raise StoreError(f"{manifest_path} does not hold a whole dictionary: {error}") from error
    if one.digest != result.summary.get("digest"):
        raise StoreError(f"{manifest_path} describes another dictionary than {result.path} holds")
    return one


def _tensors(one: Dictionary) -> dict[str, Any]:
    """Clones: the identity's encoder and rows are one tensor, which the format refuses to write twice."""
    found = {name: getattr(one, name) for name in TENSORS}
    return {name: value.detach().cpu().contiguous().clone() for name, value in found.items() if value is not None}


def write_dictionaries(found: Mapping[str, Dictionary], folder: Path) -> None:
    """Write one safetensors file a site, with everything but the tensors in its header."""
    folder.mkdir(parents=True, exist_ok=True)
    for site, one in found.items():
        save_file(_tensors(one), folder / f"{site}.safetensors", {"dictionary": json.dumps(one.facts, sort_keys=True)})


def load_dictionaries(manifest_path: str | Path) -> dict[str, Dictionary]:
    """Site -> dictionary, of a result of the stage `dictionaries`; every byte checked.

    Raises
    ------
    StoreError
        It is missing, torn, damaged, or of another kind.
    """
    result = store.open(manifest_path, KIND_OF_SEVERAL)
    files = [name for name in result.manifest["files"] if name.endswith(".safetensors")]
    return {name.removesuffix(".safetensors"): _read(result.file(name)) for name in sorted(files)}


def _read(path: Path) -> Dictionary:
    try:
        with safe_open(path, framework="pt") as file:
            facts: dict[str, Any] = json.loads(file.metadata()["dictionary"])
            parts: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        return Dictionary(**parts, **facts)
    except (SafetensorError, TypeError, KeyError, ValueError, ModelError) as error:
        raise StoreError(f"{path} does not hold a whole dictionary: {error}") from error
