"""Section ``functional``: graphs of what varies together, from the buffers of activations or attributions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from compgraph import catalogue
from compgraph.config.base import (
    BufferEntry,
    Options,
    PartitionChoice,
    Positive,
    Words,
    method_models,
    method_tag,
    one_of,
    union,
)

MERGED = ("pearson", "covariance", "partial")
"""Methods that sums over parts of the data do for."""

WHOLE: dict[str, object] = {
    "keep": 0,
    "part": "total",
    "confounds": [],
    "winsorise": 0.0,
    "positions": None,
    "dictionaries": None,
}
"""Fields that must be so where there are parts: the others need rows that are not those of the whole buffer."""

OF_ROWS = ("lagged", "dynamic", "contrast", "coherence")
"""Methods of rows, which class means are not."""

Window = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=2, max_length=2)]
"""First position and the one after the last."""


class FunctionalEntry(BufferEntry):
    """One functional graph per buffer."""

    partition: PartitionChoice = Field(
        "modules", description="Nodes: modules, heads, channels, units, rois.<name>, or one of these per site pattern."
    )
    pool: Words | None = Field(None, description="Further datasets, read with its own as one.")
    parts: Positive = Field(
        1, description="Passes over so many parts of the data, each a job of its own; their sums are merged."
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

    @model_validator(mode="after")
    def _check_parts(self) -> FunctionalEntry:
        if self.parts == 1:
            return self
        method = getattr(self, "method", "")
        given = {name: getattr(self, name) for name in WHOLE if hasattr(self, name)}
        needs_rows = [f"{name}: {value}" for name, value in given.items() if value != WHOLE[name]]
        if method not in MERGED or getattr(self, "estimator", "") == "ledoit-wolf":
            needs_rows = [f"estimator: {self.estimator}" if method in MERGED else f"method: {method}"]  # type: ignore[attr-defined]
        if needs_rows:
            raise PydanticCustomError(
                "rule",
                "parts is {parts}, and sums over parts do not do for {what}; they do for {methods} (partial with "
                "estimator oas, empirical or graphical-lasso) over all rows",
                {"parts": self.parts, "what": ", ".join(needs_rows), "methods": ", ".join(MERGED)},
            )
        return self

    @model_validator(mode="after")
    def _check_between(self) -> FunctionalEntry:
        method, keep = getattr(self, "method", ""), int(getattr(self, "keep", 0) or 0)
        if self.part == "between" and (method in OF_ROWS or keep):
            what = "keep" if keep else f"the method '{method}'"
            raise PydanticCustomError(
                "rule", "part is between, which leaves class means, and {what} needs rows", {"what": what}
            )
        return self


class ContrastEntry(FunctionalEntry):
    """One functional graph per buffer."""

    against: Words | None = Field(None, description="Datasets whose correlations are taken off, pooled.")


SHARED = ("sites", "positions", "confounds", "part", "by", "winsorise", "samples", "level", "correction", "threshold")
"""Fields that every method's call takes as they are."""

PART_FIELDS = ("method", "partition", "sites")
"""Fields that the parts of an entry depend on, where there are several."""

METHODS = {
    name: method_models({name: entry}, ContrastEntry if name == "contrast" else FunctionalEntry, "pearson")[name]
    for name, entry in catalogue.FUNCTIONAL.items()
}
Functional = union(METHODS, method_tag("pearson"))
