"""Section ``communities``: groups of nodes that are tied together more than chance would have it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from compgraph import catalogue
from compgraph.config.base import GraphEntry, Seed, method_models, method_tag, union
from compgraph.config.randomised import RANDOMISED, Randomised


class CommunityEntry(GraphEntry):
    """One division into communities per graph."""

    seed: Seed = Field(0, description="Seed of the search.")
    null_model: Literal["auto", "strength", "pairs", "network"] = Field(
        "auto",
        description="What chance is: auto (strength; for core-periphery pairs), strength (degrees and strengths are "
        "kept), pairs (the weights are), or network (graphs of randomised networks).",
    )
    randomised: Randomised = Field("shuffled", description=RANDOMISED)
    n_nulls: int = Field(99, ge=0, description="Null graphs that the communities are compared with; 0 for none.")


METHODS = method_models(catalogue.COMMUNITIES, CommunityEntry, "louvain")
Communities = union(METHODS, method_tag("louvain"))
