"""What a community search found."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from compgraph.communities.agreement import canonical, mean_agreement, n_parts
from compgraph.communities.modularity import quality
from compgraph.communities.optimise import SMALLEST_GAIN
from compgraph.communities.pairs import Floats, Mask
from compgraph.graph import ComputationalGraph

if TYPE_CHECKING:
    import pandas as pd

Labels = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Communities:
    """A partition of a graph's nodes, and how sure the search is of it.

    Attributes
    ----------
    labels
        Community of each node, int32 [n_nodes]; numbered by their first node. -1: the node has no weight at
        all, so it belongs to none.
    quality
        The modularity of `labels` (which one is in `parameters["modularity"]`). It is large for graphs
        without communities too: compare it with a null (`compgraph.statistics`).
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

    @property
    def n(self) -> int:
        """Number of communities."""
        return n_parts(self.labels)

    def to_table(self) -> pd.DataFrame:
        """One row a node: node, site, community (int32)."""
        import pandas as pd

        return pd.DataFrame({"node": list(self.names), "site": list(self.sites), "community": self.labels})

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
            "quality": self.quality,
            "agreement": None if math.isnan(self.agreement) else self.agreement,
            "runs": [{"n": n, "quality": value} for n, value in self.runs],
            "notes": list(self.notes),
        }

    def __repr__(self) -> str:
        return f"Communities({self.method}: {self.n} of {len(self.labels)} nodes, quality {self.quality:.4g})"


def best_of_runs(
    graph: ComputationalGraph,
    matrix: Floats,
    idle: Mask,
    search: Callable[[int], Labels],
    seeds: list[int],
    method: str,
    parameters: Mapping[str, Any],
    notes: tuple[str, ...] = (),
) -> Communities:
    """Search from every seed and keep the partition of the highest modularity (the first of equals).

    Parameters
    ----------
    graph
        Whose nodes are labelled.
    matrix
        Modularity matrix, which judges the runs.
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
    least = quality(matrix, whole) + SMALLEST_GAIN
    found = [canonical(np.where(idle, -1, search(seed))) for seed in seeds]
    # A division that gains nothing is none.
    found = [labels if quality(matrix, labels) > least else whole for labels in found]
    values = [quality(matrix, labels) for labels in found]
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
    )
