"""Dictionaries as results: a safetensors file and its manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from compgraph import store
from compgraph.dictionaries.dictionary import TENSORS, Dictionary
from compgraph.errors import ModelError, StoreError
from compgraph.provenance import Provenance, code_digest

KIND = "dictionary"


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
    tensors = {name: getattr(one, name) for name in TENSORS}
    with store.create(path, KIND, f"{path.stem}.safetensors", made) as draft:
        # Clones: the identity's encoder and rows are one tensor, which the format refuses to write twice.
        save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items() if v is not None}, draft.path)
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
    result.check(*result.manifest["files"])
    facts: dict[str, Any] = result.summary.get("dictionary", {})
    try:
        parts: dict[str, Any] = dict(load_file(result.path))
        one = Dictionary(**parts, **facts)
    except (SafetensorError, TypeError, ModelError) as error:
        raise StoreError(f"{manifest_path} does not hold a whole dictionary: {error}") from error
    if one.digest != result.summary.get("digest"):
        raise StoreError(f"{manifest_path} describes another dictionary than {result.path} holds")
    return one
