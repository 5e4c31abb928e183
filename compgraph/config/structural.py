"""Section ``structural``: graphs from the weights alone."""

from __future__ import annotations

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from compgraph import catalogue
from compgraph.config.base import Entry, PartitionChoice, Seed, method_models, method_tag, union


class StructuralEntry(Entry):
    """One structural graph per model and checkpoint."""

    partition: PartitionChoice = Field(
        "modules", description="Nodes: modules, heads, channels, units, rois.<name>, or one of these per site pattern."
    )
    seed: Seed = Field(0, description="Seed, where the method draws.")

    @model_validator(mode="after")
    def _check_draws(self) -> StructuralEntry:
        for name in ("rotated", "permuted"):
            if getattr(self, name, 0) == 1:
                raise PydanticCustomError("rule", f"{name} is 1; it must be 0, or at least 2 for a variance")
        return self

    @model_validator(mode="after")
    def _check_heads(self) -> StructuralEntry:
        if getattr(self, "method", "") == "virtual-circuits" and self.partition != "heads":
            raise PydanticCustomError(
                "rule",
                "virtual-circuits describes heads: partition must be heads, not {partition}",
                {"partition": str(self.partition)},
            )
        return self


METHODS = method_models(catalogue.STRUCTURAL, StructuralEntry)
Structural = union(METHODS, method_tag())
