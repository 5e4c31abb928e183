"""Section ``tracking``: what changes over the checkpoints of a training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from compgraph.config.base import Entry, Fraction, Seed, Words, listing
from compgraph.config.statistics import Measure


class Tracking(Entry):
    """One set of tables per model and dataset, from the results of other sections at all its checkpoints."""

    checkpoints: Literal["all", "last"] | Words = Field(
        "all", description="Checkpoints to follow: all, or a list of at least two names."
    )
    datasets: Words | None = Field(None, description="Datasets whose results it reads; all if not given.")
    graphs: Words | None = Field(
        None, description="Graphs whose results it reads, as section.name (effective.heads); all of them if not given."
    )
    share: Fraction = Field(0.1, description="Share of the edges in the circuits of fixed size.")
    measures: listing(Measure) = Field(  # type: ignore[valid-type]
        ["modularity"], description="Network statistics to follow."
    )
    skill: str = Field("accuracy", description="The metric of the evaluation that lags are measured against.")
    n_nulls: Annotated[int, Field(ge=0)] = Field(99, description="Null graphs and relabellings behind each band.")
    n_surrogates: Annotated[int, Field(ge=19)] = Field(
        999, description="Autocorrelated surrogates of each curve in the test for changes."
    )
    seed: Seed = Field(0, description="Seed of nulls and surrogates.")
