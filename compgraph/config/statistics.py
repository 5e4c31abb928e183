"""Section ``statistics``: numbers that describe a graph, against what chance would give."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from compgraph import catalogue
from compgraph.config.base import GraphEntry, Seed, one_of
from compgraph.config.randomised import RANDOMISED, Randomised

Measure = Annotated[str, one_of(catalogue.STATISTICS, "measure")]

ELSEWHERE = ("node-permutation",)
"""Relabelling nodes changes no measure of one graph."""

NullModel = Annotated[
    str, one_of({name: entry for name, entry in catalogue.NULLS.items() if name not in ELSEWHERE}, "null model")
]


class Statistics(GraphEntry):
    """One table of measures per graph."""

    measures: Literal["all"] | list[Measure] = Field("all", description="What to measure: all, or a list of names.")
    null_model: Literal["auto"] | NullModel = Field(
        "auto",
        description="What chance is: auto (effects; above 2,000 nodes swap-effects), or a name.",
    )
    randomised: Randomised = Field("shuffled", description=RANDOMISED)
    n_nulls: Annotated[int, Field(ge=0)] = Field(99, description="Random graphs to compare with.")
    seed: Seed = Field(0, description="Seed of the random graphs and of searches.")

    @property
    def names(self) -> list[str]:
        """The measures, in order."""
        return list(catalogue.STATISTICS) if self.measures == "all" else list(self.measures)
