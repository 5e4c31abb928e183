"""Section ``statistics``: numbers that describe a graph, against what chance would give."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from compgraph import catalogue
from compgraph.config.base import GraphEntry, Seed, listing, one_of

Measure = Annotated[str, one_of(catalogue.STATISTICS, "measure")]

NullModel = Annotated[
    str, one_of({name: entry for name, entry in catalogue.NULLS.items() if name != "node-permutation"}, "null model")
]
"""Relabelling nodes changes no measure of one graph."""


class Statistics(GraphEntry):
    """One table of measures per graph."""

    measures: listing(Measure) = Field(  # type: ignore[valid-type]
        list(catalogue.STATISTICS), description="What to measure."
    )
    null_model: NullModel = Field("effects", description="What chance is.")
    n_nulls: Annotated[int, Field(ge=0)] = Field(99, description="Random graphs to compare with.")
    seed: Seed = Field(0, description="Seed of the random graphs and of searches.")
