"""Section ``scale``: structure against the size of models."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from compgraph.config.base import Fraction, Section, Seed, Words, listing
from compgraph.config.statistics import Measure


class Scale(Section):
    """One set of tables per dataset, from the results of other sections at the last checkpoint of several models."""

    models: Words | None = Field(
        None, description="Models to compare, at least two; all that have results if not given."
    )
    datasets: Words | None = Field(None, description="Datasets whose results it reads; all if not given.")
    graphs: Words | None = Field(
        None, description="Graphs whose results it reads, as section.name (effective.heads); all of them if not given."
    )
    tracking: str | None = Field(None, description="An entry of tracking, for lags over the runs of each size.")
    metric: str = Field("logit_difference", description="Metric of the evaluation whose faithfulness is matched.")
    shares: Annotated[list[Fraction], Field(min_length=1)] = Field(
        [0.02, 0.05, 0.1, 0.2], description="Shares of the edges at which circuits are compared."
    )
    faithfulness: Annotated[list[Fraction], Field(min_length=1)] = Field(
        [0.5, 0.8], description="Levels of faithfulness at which circuits are compared."
    )
    measures: listing(Measure) = Field(  # type: ignore[valid-type]
        ["modularity"], description="Network statistics of circuits and graphs to compare."
    )
    n_nulls: Annotated[int, Field(ge=0)] = Field(99, description="Null graphs of each circuit.")
    seed: Seed = Field(0, description="Seed of the nulls.")
