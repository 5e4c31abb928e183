"""Section ``ground_truth``: effective methods on networks whose true edges are known, since they were compiled."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from compgraph import catalogue
from compgraph.config.base import Positive, Section, Seed, one_of

CASES = (
    "previous-token", "two-back", "reverse", "induction", "frac-prevs", "occurrences", "sort", "two-branch"
)  # fmt: skip


class GroundTruth(Section):
    """How well methods find known edges; made once, of no model of the study."""

    methods: Literal["all"] | list[Annotated[str, one_of(catalogue.EFFECTIVE, "method")]] = Field(
        [], description="Effective methods to put to it: all, or a list; none by default."
    )
    cases: Literal["all"] | Annotated[list[Annotated[str, one_of(CASES, "case")]], Field(min_length=1)] = Field(
        "all", description="Compiled networks: all, or a list (induction, two-branch, ...)."
    )
    examples: Positive = Field(64, description="Examples of each.")
    seed: Seed = Field(0, description="Seed of the examples, and of methods that draw.")
