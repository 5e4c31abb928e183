"""Section ``structural``: graphs from the weights alone."""

from __future__ import annotations

from pydantic import Field

from compgraph import catalogue
from compgraph.config.base import Entry, PartitionChoice, Seed, method_models, method_tag, union


class StructuralEntry(Entry):
    """One structural graph per model and checkpoint."""

    partition: PartitionChoice = Field(
        "modules", description="Nodes: modules, heads, channels, units, rois.<name>, or one of these per site pattern."
    )
    seed: Seed = Field(0, description="Seed, where the method draws.")


METHODS = method_models(catalogue.STRUCTURAL, StructuralEntry)
Structural = union(METHODS, method_tag())
