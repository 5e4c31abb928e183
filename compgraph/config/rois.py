"""Section ``rois``: regions of interest, parts of functionally similar units."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from compgraph import catalogue
from compgraph.config.base import (
    BUFFERS,
    DataEntry,
    Positive,
    Seed,
    Words,
    listing,
    method_models,
    method_tag,
    union,
    unknown_word,
)

Range = Annotated[list[Positive], Field(min_length=2, max_length=2)]
"""Least and largest number."""


Count = Annotated[int, Field(ge=0)]
WEIGHTS = "weights"
"""In place of a buffer: what units read and write."""


def _signals(value: str) -> str:
    if value not in ("activations", WEIGHTS) and not value.startswith("attributions."):
        raise unknown_word("buffer", value, (*BUFFERS, WEIGHTS))
    return value


Signals = Annotated[str, AfterValidator(_signals)]


class RoiEntry(DataEntry):
    """One partition for each place."""

    buffer: Signals | listing(Signals) = Field(  # type: ignore[valid-type]
        "activations",
        description="Signals of the units: activations, attributions.<name>, weights, or several of them.",
    )
    sites: Words = Field(["*"], description="Recorded sites to divide: names or patterns.")
    scope: Literal["site", "layer", "all"] = Field(
        "site", description="What is divided together: each site, the sites of each layer, or all."
    )
    n_rois: Positive | Range | dict[str, Positive] | None = Field(
        None, description="ROIs a site, the same for all, [least, most], or by site; the method decides if not given."
    )
    n_repeats: Count = Field(
        0, description="How often to divide again, for stability: other seeds, halves of the data, resamples."
    )
    consensus: bool = Field(False, description="Keep the ROIs that the repeats agree on.")
    n_permutations: Count = Field(199, description="Shuffles of classes, heads and sizes for the nulls.")
    seed: Seed = Field(0, description="Seed of the method, the repeats and the nulls.")
    dictionaries: str | None = Field(
        None, description="Entry of the section dictionaries whose features are the units of their sites."
    )


METHODS = method_models(catalogue.ROIS, RoiEntry, "kmeans")


def signals_of(entry: Any) -> list[str]:
    """What an entry of any section reads as signals: words of `buffer`."""
    words = getattr(entry, "buffer", None) or []
    return [words] if isinstance(words, str) else list(words)


Rois = union(METHODS, method_tag("kmeans"))
