"""Section ``comparison``: kinds of connectivity against each other, edge by edge."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from compgraph.config.base import DataEntry, Seed, Words


class Comparison(DataEntry):
    """One table per model, checkpoint and dataset: every two of some graphs over one partition."""

    graphs: Words | None = Field(
        None, description="Graphs to compare, as section.name (effective.heads): at least two, over the same nodes."
    )
    weights: Literal["magnitude", "signed"] = Field(
        "magnitude", description="What is compared: sums of |w| over channels, or sums of w."
    )
    top: Annotated[float, Field(gt=0, le=1)] = Field(
        0.1, description="Share of the common edges that counts as the strongest."
    )
    n_nulls: Annotated[int, Field(ge=0)] = Field(999, description="Relabellings of nodes inside sites to compare with.")
    seed: Seed = Field(0, description="Seed of the relabellings and of searches.")
