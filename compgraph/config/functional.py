"""Section ``functional``: graphs of what varies together, from the buffers of activations or attributions."""

from __future__ import annotations

from pydantic import Field

from compgraph import catalogue
from compgraph.config.base import BufferEntry, PartitionChoice, method_models, method_tag, union


class FunctionalEntry(BufferEntry):
    """One functional graph per buffer."""

    partition: PartitionChoice = Field(
        "modules", description="Nodes: modules, heads, channels, units, rois.<name>, or one of these per site pattern."
    )
    dictionaries: str | None = Field(
        None, description="Entry of the section dictionaries whose features are the units of their sites."
    )


METHODS = method_models(catalogue.FUNCTIONAL, FunctionalEntry, "pearson")
Functional = union(METHODS, method_tag("pearson"))
