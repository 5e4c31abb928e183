"""What a community search found."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from compgraph.communities.agreement import canonical, mean_agreement, n_parts
from compgraph.communities.consensus import consensus
from compgraph.communities.optimise import SMALLEST_GAIN
from compgraph.communities.pairs import Mask
from compgraph.graph import ComputationalGraph

if TYPE_CHECKING:
    import pandas as pd

Labels = npt.NDArray[np.int32]

LEVEL = 0.05
"""Communities whose p is above this are no more than chance gives."""


@dataclass(frozen=True)
class Chance:
    """What the same search finds in null graphs.

    Attributes
    ----------
    null
        Name of the null model (`compgraph.communities.chance`).
    value
        What is compared: the quality of one run on the given graph; each null graph gets one run too.
    nulls
        Quality in each null graph, float64 [R].
    n
        Number of communities in each null graph, int64 [R].
    reason
        Why there is no comparison, or no z; else "".
    """

    null: str
    value: float
    nulls: npt.NDArray[np.float64]
    n: npt.NDArray[np.int64]
    reason: str = ""

    @property
    def p(self) -> float:
        """(1 + #{null >= value}) / (R + 1); NaN without nulls."""
        if not len(self.nulls) or math.isnan(self.value):
            return math.nan
        same = 1e-9 * max(1.0, abs(self.value))  # rounding is no difference
        return (1 + int((self.nulls >= self.value - same).sum())) / (len(self.nulls) + 1)

    @property
    def z(self) -> float:
        """(value - null mean) / null sd; NaN where the nulls do not differ."""
        if len(self.nulls) < 2:
            return math.nan
        spread = float(self.nulls.std(ddof=1))
        if not spread > 1e-9 * max(abs(self.value), abs(float(self.nulls.mean()))):
            return math.nan
        return (self.value - float(self.nulls.mean())) / spread

    def summary(self) -> dict[str, Any]:
        """The comparison without the single nulls, JSON-able; undefined numbers are None."""
        some = len(self.nulls) > 0
        low, high = np.quantile(self.nulls, [0.025, 0.975]) if some else (math.nan, math.nan)
        numbers = {
            "value": self.value,
            "null_mean": float(self.nulls.mean()) if some else math.nan,
            "null_sd": float(self.nulls.std(ddof=1)) if len(self.nulls) > 1 else math.nan,
            "low": float(low),
            "high": float(high),
            "z": self.z,
            "p": self.p,
            "n_mean": float(self.n.mean()) if some else math.nan,
        }
        defined = {name: None if math.isnan(number) else number for name, number in numbers.items()}
        return {"null": self.null, "n_nulls": len(self.nulls), **defined, "reason": self.reason}


@dataclass(frozen=True)
class Communities:
    """A partition of a graph's nodes, and how sure the search is of it.

    Attributes
    ----------
    labels
        Community of each node, int32 [n_nodes]; numbered by their first node. -1: the node has no weight at
        all, so it belongs to none.
    quality
        What the method's module says, larger is better; mostly the modularity of `labels` (which one is in
        `parameters["modularity"]`). It is large for graphs without communities too: read `chance`.
    method
        Name of the method.
    parameters
        Everything that decided the result, JSON-able.
    agreement
        Mean adjusted Rand index between the runs from different seeds; NaN for one run.
    runs
        Per run: number of communities, quality.
    names, sites
        Of the nodes.
    notes
        Sentences that a reader of the result should know.
    partitions
        What each run found, int32 [n_nodes] each, in the order of `runs`.
    chance
        Quality in null graphs; None if nobody asked.
    """

    labels: Labels
    quality: float
    method: str
    parameters: Mapping[str, Any]
    agreement: float
    runs: tuple[tuple[int, float], ...]
    names: tuple[str, ...]
    sites: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())
    partitions: tuple[Labels, ...] = field(default=(), repr=False)
    chance: Chance | None = None

    @property
    def n(self) -> int:
        """Number of communities."""
        return n_parts(self.labels)

    @property
    def z(self) -> float:
        """Deviations of the null by which the quality lies above its mean; NaN without nulls."""
        return self.chance.z if self.chance else math.nan

    @property
    def p(self) -> float:
        """Probability of this quality by chance; NaN without nulls."""
        return self.chance.p if self.chance else math.nan

    @property
    def n_beyond_chance(self) -> int | None:
        """Number of communities if their quality is more than chance gives (p <= 0.05), else 0: nothing there.

        None without nulls: nobody knows.
        """
        if math.isnan(self.p):
            return None
        return self.n if self.p <= LEVEL else 0

    @cached_property
    def consensus(self) -> Labels:
        """Partition on which the runs agree (`compgraph.communities.consensus`), int32 [n_nodes]."""
        return consensus(self.partitions or (self.labels,))

    def to_table(self) -> pd.DataFrame:
        """One row a node: node, site, community, consensus (both int32)."""
        import pandas as pd

        columns = {"node": list(self.names), "site": list(self.sites)}
        return pd.DataFrame({**columns, "community": self.labels, "consensus": self.consensus})

    def runs_table(self) -> pd.DataFrame:
        """One row a run: run, n, quality."""
        import pandas as pd

        rows = [(run, n, value) for run, (n, value) in enumerate(self.runs)]
        return pd.DataFrame(rows, columns=["run", "n", "quality"])

    def summary(self) -> dict[str, Any]:
        """The result without the labels, JSON-able; undefined numbers are None."""
        return {
            "method": self.method,
            "parameters": dict(self.parameters),
            "n": self.n,
            "n_beyond_chance": self.n_beyond_chance,
            "quality": None if math.isnan(self.quality) else self.quality,
            "chance": self.chance.summary() if self.chance else None,
            "agreement": None if math.isnan(self.agreement) else self.agreement,
            "runs": [{"n": n, "quality": None if math.isnan(value) else value} for n, value in self.runs],
            "notes": list(self.notes),
        }

    def __repr__(self) -> str:
        told = f", p {self.p:.3g}" if not math.isnan(self.p) else ""
        return f"Communities({self.method}: {self.n} of {len(self.labels)} nodes, quality {self.quality:.4g}{told})"


def undefined(
    graph: ComputationalGraph, idle: Mask, method: str, parameters: Mapping[str, Any], reason: str
) -> Communities:
    """One community of quality NaN, for a graph on which the method's quality has no value.

    Parameters as for `best_of_runs`; `reason` becomes a note.
    """
    labels = np.where(idle, -1, 0).astype(np.int32)
    return Communities(
        labels=labels,
        quality=math.nan,
        method=method,
        parameters=parameters,
        agreement=math.nan,
        runs=((n_parts(labels), math.nan),),
        names=graph.node_names,
        sites=tuple(graph.node_columns["site"]),
        notes=(reason,),
        partitions=(labels,),
    )


def best_of_runs(
    graph: ComputationalGraph,
    score: Callable[[Labels], float],
    idle: Mask,
    search: Callable[[int], Labels],
    seeds: list[int],
    method: str,
    parameters: Mapping[str, Any],
    notes: tuple[str, ...] = (),
) -> Communities:
    """Search from every seed and keep the partition of the highest score (the first of equals).

    Parameters
    ----------
    graph
        Whose nodes are labelled.
    score
        Labels -> quality, which judges the runs.
    idle
        Nodes without any weight, bool [n]; they are labelled -1.
    search
        Seed -> labels.
    seeds
        One a run.
    method, parameters, notes
        Kept with the result.
    """
    whole = np.where(idle, -1, 0).astype(np.int32)
    least = score(whole) + SMALLEST_GAIN
    found = [canonical(np.where(idle, -1, search(seed))) for seed in seeds]
    # A division that gains nothing is none.
    found = [labels if score(labels) > least else whole for labels in found]
    values = [score(labels) for labels in found]
    best = int(np.argmax(values))
    return Communities(
        labels=found[best],
        quality=values[best],
        method=method,
        parameters={**parameters, "n_runs": len(seeds)},
        agreement=mean_agreement(found),
        runs=tuple((n_parts(labels), value) for labels, value in zip(found, values, strict=True)),
        names=graph.node_names,
        sites=tuple(graph.node_columns["site"]),
        notes=notes,
        partitions=tuple(found),
    )
