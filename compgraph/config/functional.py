"""Section ``functional``: graphs of what varies together, from the buffers of activations or attributions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from compgraph import catalogue
from compgraph.config.base import (
    BufferEntry,
    Options,
    PartitionChoice,
    Words,
    method_models,
    method_tag,
    one_of,
    union,
)

Window = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=2, max_length=2)]
"""First position and the one after the last."""


class FunctionalEntry(BufferEntry):
    """One functional graph per buffer."""

    partition: PartitionChoice = Field(
        "modules", description="Nodes: modules, heads, channels, units, rois.<name>, or one of these per site pattern."
    )
    sites: Words | None = Field(None, description="Recorded sites to use: names or patterns; all if not given.")
    positions: Window | None = Field(
        None, description="Token positions to use: the first, and the one after the last; all if not given."
    )
    confounds: list[str] = Field(
        [],
        description="Columns to regress out: position, token-frequency, task, … (each:position takes out every "
        "position's mean).",
    )
    part: Literal["total", "within", "between"] = Field(
        "total", description="Co-variation in all, within classes (class means removed), or between class means."
    )
    by: str = Field("task", description="Column whose values are the classes.")
    winsorise: Annotated[float, Field(ge=0, lt=0.5)] = Field(
        0.0, description="Share of the rows to clip at either end of each signal."
    )
    samples: Literal["autocorrelation", "rows", "none"] = Field(
        "autocorrelation", description="What tests count as a sample: rows, corrected for autocorrelation or not."
    )
    level: Annotated[float, Field(gt=0, lt=1)] = Field(0.05, description="Level at which edges are significant.")
    correction: Literal["bh", "by", "none"] = Field(
        "bh", description="Adjusts p-values: Benjamini-Hochberg, Benjamini-Yekutieli."
    )
    sparsify: Annotated[str, one_of(catalogue.SPARSIFICATIONS, "sparsification")] | None = Field(
        None, description="Keep fewer edges, by this rule; all if not given."
    )
    sparsify_options: Options = Field({}, description="Options of that rule (level, share, k, mutual, trees).")
    threshold: Annotated[float, Field(ge=0)] | None = Field(
        None, description="Keep edges with a weight of at least this magnitude; all if not given."
    )
    dictionaries: str | None = Field(
        None, description="Entry of the section dictionaries whose features are the units of their sites."
    )


SHARED = ("sites", "positions", "confounds", "part", "by", "winsorise", "samples", "level", "correction", "threshold")
"""Fields that every method's call takes as they are."""

METHODS = method_models(catalogue.FUNCTIONAL, FunctionalEntry, "pearson")
Functional = union(METHODS, method_tag("pearson"))
