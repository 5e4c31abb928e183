"""Section ``rois``: regions of interest, parts of functionally similar units."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from compgraph import catalogue
from compgraph.config.base import BufferEntry, Positive, Seed, Words, method_models, method_tag, union

Range = Annotated[list[Positive], Field(min_length=2, max_length=2)]
"""Least and largest number."""


class RoiEntry(BufferEntry):
    """One partition per buffer."""

    sites: Words = Field(["*"], description="Recorded sites to divide: names or patterns.")
    scope: Literal["site", "layer", "all"] = Field(
        "site", description="What is divided together: each site, the sites of each layer, or all."
    )
    n_rois: Positive | Range | dict[str, Positive] | None = Field(
        None, description="ROIs a site, the same for all, [least, most], or by site; the method decides if not given."
    )
    seed: Seed = Field(0, description="Seed of the method.")


METHODS = method_models(catalogue.ROIS, RoiEntry, "kmeans")
Rois = union(METHODS, method_tag("kmeans"))
