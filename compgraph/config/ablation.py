"""Section ``ablation``: runs of the network as a graph cut down, whose outputs are kept."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from compgraph import catalogue
from compgraph.config.base import Fraction, GraphEntry, Positive, Seed, Words, one_of


class Ablation(GraphEntry):
    """The outputs of circuits of several sizes, for every effective graph."""

    graphs: Words | None = Field(None, description="Effective graphs to cut down (effective.heads); all if not given.")
    ablation: Literal["edge", "node"] = Field("edge", description="What is removed: edges, or whole nodes.")
    baseline: Annotated[str, one_of(catalogue.BASELINES, "baseline")] = Field(
        "counterfactual", description="What a removed edge or node carries instead."
    )
    baseline_data: str | None = Field(
        None, description="Dataset that mean, position-mean, resample, noise and optimal are taken from; else its own."
    )
    baseline_options: dict[str, int | float | str] = Field(
        {}, description="Options of the baseline 'optimal': steps, examples, learning_rate, metric."
    )
    examples: Literal["held-out", "all", "chosen"] = Field(
        "held-out", description="Which are run: held-out from the graph's scores (all, if none were), all, or chosen."
    )
    sizes: Annotated[list[Fraction], Field(min_length=1)] = Field(
        [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0], description="Fractions of the edges to keep."
    )
    selection: Annotated[str, one_of(catalogue.SELECTIONS, "selection")] = Field(
        "top", description="Rule that chooses the edges of a circuit."
    )
    options: dict[str, int | float | bool | str] = Field(
        {}, description="Options of that rule (by: abs, signed or negative, ...)."
    )
    prune: bool = Field(False, description="Drop what lies on no path from input to output before running.")
    norm_scale: Literal["exact", "frozen"] = Field(
        "exact",
        description="Scale that edge ablation's norms divide by: recomputed for every node (exact), or frozen.",
    )
    complement: bool = Field(False, description="Run every circuit's complement too, for completeness.")
    n_random: Annotated[int, Field(ge=0)] = Field(0, description="Random circuits a size, for the null band; 0: none.")
    random: Literal["size", "layers", "degree"] = Field(
        "size", description="What random circuits share with the circuit: size, layers or degree."
    )
    seed: Seed = Field(0, description="Seed of random circuits, and of baselines that draw.")
    batch_size: Positive | None = Field(None, description="Examples a pass; chosen to bound memory if not given.")

    @model_validator(mode="after")
    def _frozen_under_edges(self) -> Ablation:
        if self.ablation == "node" and self.norm_scale != "exact":
            raise PydanticCustomError(
                "rule", "norm_scale is for edge ablation; under ablation: node it must be exact, not {value}",
                {"value": self.norm_scale},
            )  # fmt: skip
        return self
