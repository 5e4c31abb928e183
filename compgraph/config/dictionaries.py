"""Section ``dictionaries``: features of sites, trained on recorded activations or loaded."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from compgraph import catalogue
from compgraph.config.base import DataEntry, Positive, Seed, Words, method_models, method_tag, union


class DictionaryEntry(DataEntry):
    """One dictionary per site, for every model, checkpoint and dataset."""

    sites: Words = Field(["mlp.*"], description="Recorded sites, each with a dictionary: names or patterns.")
    space: Literal["write", "hidden"] = Field(
        "write", description="What they describe: what a site adds to the stream, or its units."
    )
    n_features: Positive | None = Field(
        None, description="Features a site; if not given 4 times the width (sae), or the width."
    )
    held_out: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.1, description="Share of the examples that are kept for measuring; 0 to measure on all."
    )
    seed: Seed = Field(0, description="Seed of methods that draw.")


METHODS = method_models(catalogue.DICTIONARIES, DictionaryEntry, "sae")
Dictionaries = union(METHODS, method_tag("sae"))
