"""Section ``activations``: what is recorded into the buffers that functional graphs and ROIs read."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from compgraph.config.base import DataEntry, Positive, Words


class Activations(DataEntry):
    """One buffer for each model, checkpoint and dataset that another section reads or that is selected here."""

    sites: Words = Field(
        ["attn.*", "mlp.*", "conv.*", "linear.*"], description="Sites to record: names or patterns (resid.*, attn.3)."
    )
    positions: Literal["all", "last", "scored"] = Field(
        "all", description="Token positions to record: all, the last, or the one whose output is scored."
    )
    dtype: Literal["float16", "bfloat16", "float32"] = Field("float16", description="Precision on disk.")
    batch_size: Positive = Field(64, description="Examples a forward pass.")
    side: Literal["clean", "corrupted"] = Field("clean", description="Which input of each pair to record.")
    compress: list[str] = Field([], description="Sites to compress: worth it for sparse units only.")
