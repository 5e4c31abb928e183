"""Section ``attributions``: buffers of what each unit contributes to a metric."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from compgraph import catalogue
from compgraph.config.base import DataEntry, Positive, Seed, Words, method_models, method_tag, one_of, union
from compgraph.config.metrics import MetricName


class AttributionEntry(DataEntry):
    """One buffer per model, checkpoint and dataset; functional graphs and ROIs read it as they read activations."""

    metric: MetricName = Field(
        "logit_difference", description="Scalar of the output that is attributed."
    )
    sites: Words = Field(
        ["attn.*", "mlp.*", "conv.*", "linear.*"], description="Sites to record: names or patterns (resid.*, attn.3)."
    )
    dictionaries: str | None = Field(
        None, description="Entry of the section dictionaries whose features are the units of their sites."
    )
    positions: Literal["all", "last", "scored"] = Field(
        "all", description="Token positions to record: all, the last, or the one whose output is scored."
    )
    dtype: Literal["float16", "bfloat16", "float32"] = Field("float32", description="Precision on disk.")
    batch_size: Positive = Field(32, description="Examples a pass.")
    compress: list[str] = Field([], description="Sites to compress: worth it for sparse units only.")


OF_UNITS = tuple(name for name, entry in catalogue.BASELINES.items() if not entry.per_node)
"""Baselines of units; where there are no nodes yet, none can be learned for them."""


class ComparingEntry(AttributionEntry):
    """One buffer per model, checkpoint and dataset; functional graphs and ROIs read it as they read activations."""

    baseline: Annotated[str, one_of(OF_UNITS, "baseline")] = Field(
        "counterfactual", description="What replaces the value of a unit."
    )
    baseline_data: str | None = Field(
        None, description="Dataset that mean, position-mean, resample and noise are taken from; its own if not given."
    )
    seed: Seed = Field(0, description="Seed, where the baseline draws.")


DEFAULT = "attribution-patching"
METHODS = {
    name: method_models({name: entry}, ComparingEntry if entry.takes_baseline else AttributionEntry, DEFAULT)[name]
    for name, entry in catalogue.ATTRIBUTIONS.items()
}
Attributions = union(METHODS, method_tag(DEFAULT))
