"""Section ``statistics``: numbers that describe a graph, against what chance would give."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from compgraph import catalogue
from compgraph.config.base import GraphEntry, Seed, listing, one_of

Measure = Annotated[str, one_of(catalogue.STATISTICS, "measure")]


class Statistics(GraphEntry):
    """One table of measures per graph."""

    measures: listing(Measure) = Field(  # type: ignore[valid-type]
        list(catalogue.STATISTICS), description="What to measure."
    )
    null_model: Literal["strength", "weights"] = Field(
        "strength",
        description="What chance is: weights permuted beyond what the nodes' strengths explain, or over all edges.",
    )
    n_nulls: Annotated[int, Field(ge=0)] = Field(99, description="Random graphs to compare with.")
    seed: Seed = Field(0, description="Seed of the random graphs and of searches.")
