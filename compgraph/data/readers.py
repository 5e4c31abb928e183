"""What a model's prompts and images depend on: its tokenizer, how it prepares images, and what it held out."""

from __future__ import annotations

from typing import Any

from compgraph.provenance import json_digest
from compgraph.store import Result

TEST_SHARE = 0.2
"""Share of a task's prompts in the test split, for models that were not trained here."""


def held_out_share(model: Result) -> float:
    """Share of a task's prompts that a model was not trained on."""
    share: float = model.parameters.get("test_share", TEST_SHARE)
    return share


def preparation(model: Result) -> dict[str, Any]:
    """How a model's images are prepared: as those it was trained on; what it was never shown stays its test set."""
    kept = [name for name in ("normalise", "test_fraction") if name in model.parameters]
    return {"input_shape": model.summary["input_shape"]} | {name: model.parameters[name] for name in kept}


def reader_digest(model: Result, kind: str, tokenizer: str | None) -> str | None:
    """Digest of all that a dataset depends on of a model; None without a tokenizer, where one is needed.

    Parameters
    ----------
    model : Result
        A checkpoint.
    kind : str
        Kind of the dataset.
    tokenizer : str or None
        Digest of its tokenizer.
    """
    if kind == "images":
        return json_digest(preparation(model))
    if kind == "text" or tokenizer is None:
        return tokenizer
    return json_digest({"tokenizer": tokenizer, "test_share": held_out_share(model)})
