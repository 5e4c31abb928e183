"""Section ``ablation``: how faithful is the network when only part of a graph is kept."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from compgraph import catalogue
from compgraph.config.base import Fraction, GraphEntry, Positive, Seed, Words, one_of

Metric = Annotated[str, one_of(catalogue.METRICS, "metric")]


class Ablation(GraphEntry):
    """One faithfulness curve per effective graph."""

    graphs: Words | None = Field(None, description="Effective graphs to cut down (effective.heads); all if not given.")
    ablation: Literal["edge", "node"] = Field("edge", description="What is removed: edges, or whole nodes.")
    baseline: Annotated[str, one_of(catalogue.BASELINES, "baseline")] = Field(
        "counterfactual", description="What a removed edge or node carries instead."
    )
    sizes: Annotated[list[Fraction], Field(min_length=1)] = Field(
        [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0], description="Fractions of the edges to keep."
    )
    metrics: Annotated[list[Metric], Field(min_length=1)] = Field(["logit_difference"], description="What to measure.")
    select: Literal["abs", "signed"] = Field("abs", description="Which edges are the strongest: by size, or by value.")
    prune: bool = Field(False, description="Drop what lies on no path from input to output before running.")
    by_task: bool = Field(False, description="Also a curve for each task of a mixture.")
    n_bootstrap: Annotated[int, Field(ge=0)] = Field(1000, description="Resamples of the examples for the interval.")
    seed: Seed = Field(0, description="Seed of the resampling.")
    batch_size: Positive | None = Field(None, description="Examples a pass; chosen to bound memory if not given.")
