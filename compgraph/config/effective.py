"""Section ``effective``: graphs of causal influence."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from compgraph import catalogue
from compgraph.config.base import DataEntry, PartitionChoice, Positive, Seed, method_models, method_tag, one_of, union
from compgraph.config.metrics import MetricName


class EffectiveEntry(DataEntry):
    """One effective graph per model, checkpoint and dataset."""

    partition: PartitionChoice = Field(
        "modules", description="Nodes: modules, heads, channels, units, rois.<name>, or one of these per site pattern."
    )
    dictionaries: str | None = Field(
        None, description="Entry of the section dictionaries whose features are the units of their sites."
    )
    metric: MetricName = Field(
        "logit_difference", description="Scalar of the output whose change is attributed."
    )
    baseline: Annotated[str, one_of(catalogue.BASELINES, "baseline")] = Field(
        "counterfactual", description="What replaces the value that an edge carries."
    )
    baseline_data: str | None = Field(
        None, description="Dataset that mean, position-mean, resample, noise and optimal are taken from; else its own."
    )
    baseline_options: dict[str, int | float | str] = Field(
        {}, description="Options of the baseline 'optimal': steps, examples, learning_rate, metric."
    )
    split_qkv: bool = Field(True, description="Attention reads by query, key and value apart (transformers).")
    batch_size: Positive | None = Field(None, description="Examples a pass; chosen to bound memory if not given.")
    recompute: bool = Field(
        False, description="Run each layer again on the way back: slower, and the memory of one layer (transformers)."
    )
    held_out: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.5, description="Share of the examples that are kept for testing the graph; 0 to score it on all."
    )
    bootstrap: int = Field(0, ge=0, description="Resamples of the examples behind intervals of scores; 0 for none.")
    seed: Seed = Field(0, description="Seed, where the method draws.")


METHODS = method_models(catalogue.EFFECTIVE, EffectiveEntry, "eap")
Effective = union(METHODS, method_tag("eap"))
