"""Section ``rois``: regions of interest, parts of functionally similar units."""

from __future__ import annotations

from pydantic import Field

from compgraph import catalogue
from compgraph.config.base import BufferEntry, Positive, Seed, Words, method_models, method_tag, union


class RoiEntry(BufferEntry):
    """One partition per buffer."""

    sites: Words = Field(["*"], description="Recorded sites to divide: names or patterns; each is divided by itself.")
    n_rois: Positive | dict[str, Positive] | None = Field(
        None, description="ROIs a site, the same for all or by site; the method decides if not given."
    )
    seed: Seed = Field(0, description="Seed of the method.")
    dictionaries: str | None = Field(
        None, description="Entry of the section dictionaries whose features are the units of their sites."
    )


METHODS = method_models(catalogue.ROIS, RoiEntry, "kmeans")
Rois = union(METHODS, method_tag("kmeans"))
