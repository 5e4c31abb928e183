"""Section ``evaluation``: tables of how faithful circuits are, from the outputs that ``ablation`` kept."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from compgraph.config.base import Section, Seed, Words
from compgraph.config.metrics import MetricName


class Evaluation(Section):
    """One table per result of ``ablation``: no network is run, so that metrics can be added at little cost."""

    models: Words | None = Field(None, description="Models whose runs it reads; all if not given.")
    checkpoints: Literal["all", "last"] | Words = Field(
        "all", description="Checkpoints whose runs it reads: all, last, or a list of names."
    )
    datasets: Words | None = Field(None, description="Datasets whose runs it reads; all if not given.")
    runs: Words | None = Field(None, description="Entries of ablation that it reads; all if not given.")
    metrics: Annotated[list[MetricName], Field(min_length=1)] = Field(
        ["logit_difference"], description="What to measure."
    )
    by_task: bool = Field(False, description="Also rows for each task of a mixture.")
    confusion: bool = Field(
        False, description="Also, for images, what those of each class are taken for by each circuit."
    )
    n_bootstrap: Annotated[int, Field(ge=0)] = Field(1000, description="Resamples of the examples for the interval.")
    seed: Seed = Field(0, description="Seed of the resampling.")
