"""How few edges, or nodes, carry the attribution of a graph: Lorenz curves and Gini coefficients.

Edges count by |score|, nodes by the size of the sum of their outgoing scores (under `eap` their own attribution). Few,
large nodes and many, small ones are unequal in different ways, so that a number means something against random nodes
of the same sizes only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compgraph.evaluation.intervals import Floats, band, tail_p
from compgraph.graph import ComputationalGraph
from compgraph.statistics.measures.concentration import gini_of

if TYPE_CHECKING:
    import pandas as pd

POINTS = 33
"""Places of a Lorenz curve, evenly spaced on a logarithmic scale."""
OF = ("edges", "nodes")


@dataclass(frozen=True)
class Sizes:
    """Sizes of scores.

    Attributes
    ----------
    known
        float64 [k], the largest first: all of them, or those of the edges that a large graph keeps.
    n, total
        Number and sum of all, known or not.
    """

    known: Floats
    n: int
    total: float

    def carried(self, share: NDArray[np.float64]) -> Floats:
        """Part of the total that a share of them carries, the largest first; NaN beyond the known ones and of nothing.

        Between two counts it rises linearly.
        """
        if self.total <= 0:
            return np.full(len(share), np.nan)
        heights = np.concatenate([[0.0], np.cumsum(self.known)]) / self.total
        wanted = share * self.n
        found: Floats = np.interp(wanted, np.arange(len(heights)), heights)
        found[wanted > len(self.known) + 1e-9] = np.nan
        return found

    @property
    def gini(self) -> float:
        """Gini coefficient, 0 where all are equal; NaN where some are not known, or all are 0."""
        return gini_of(self.known, self.n - len(self.known)) if self.total > 0 and len(self.known) == self.n else np.nan


def sizes_of(graph: ComputationalGraph, of: str) -> Sizes:
    """Sizes of the scores of a graph's edges or nodes.

    Of a graph that keeps its strongest edges only, sums over all edges are those that it says (`out_sum`,
    `out_absolute`).

    Parameters
    ----------
    graph
        Directed, over a partition.
    of
        `edges` or `nodes` (those with outgoing edges).
    """
    sums = graph.nodes
    whole = "out_absolute" not in sums
    if of == "nodes":
        scores = graph.node_scores() if whole else sums["out_sum"].to_numpy(np.float64)
        sources = np.unique(graph.source) if whole else np.flatnonzero(sums["out_absolute"].to_numpy() > 0)
        values = np.sort(np.abs(scores[sources]))[::-1]
        return Sizes(values, len(values), float(values.sum()))
    values = np.sort(np.abs(graph.weight.astype(np.float64)))[::-1]
    if whole:
        return Sizes(values, len(values), float(values.sum()))
    return Sizes(values, int(graph.attributes["n_edges_scored"]), float(sums["out_absolute"].sum()))


def lorenz_curves(graph: ComputationalGraph, against: Sequence[ComputationalGraph] = ()) -> pd.DataFrame:
    """What part of the attribution the strongest edges, and nodes, carry.

    Parameters
    ----------
    graph
        Of attributions.
    against
        The same over random nodes of equal sizes.

    Returns
    -------
    DataFrame
        One row a count of edges, and of nodes: of, n (the strongest so many), share (of all of them), carried (their
        part of the total), null_mean, null_low, null_high (mean and 95 % range of the random ones, at the same share),
        p (one-sided, for more than the random ones).
    """
    import pandas as pd

    tables = []
    for of in OF:
        own = sizes_of(graph, of)
        counts = np.unique(np.geomspace(1, max(1, own.n), POINTS).round().astype(np.int64))
        share = counts / max(1, own.n)
        nulls = [sizes_of(one, of).carried(share) for one in against]
        columns = {"of": of, "n": counts, "share": share, **_against(own.carried(share), nulls, "carried")}
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def inequality(graph: ComputationalGraph, against: Sequence[ComputationalGraph] = ()) -> pd.DataFrame:
    """Gini coefficients of edges and nodes.

    Parameters
    ----------
    graph, against
        As for `lorenz_curves`.

    Returns
    -------
    DataFrame
        One row for edges, one for nodes: of, n (how many), total (sum of their sizes: the more opposite scores cancel
        within nodes, the smaller), null_total (mean of the random ones), gini, null_mean, null_low, null_high, p
        (one-sided, for more than the random ones).
    """
    import pandas as pd

    rows = []
    for of in OF:
        own, others = sizes_of(graph, of), [sizes_of(one, of) for one in against]
        null_total = float(np.mean([one.total for one in others])) if others else np.nan
        row = {"of": of, "n": own.n, "total": own.total, "null_total": null_total}
        compared = _against(np.array([own.gini]), [np.array([one.gini]) for one in others], "gini")
        rows.append(row | {name: float(values[0]) for name, values in compared.items()})
    return pd.DataFrame(rows)


def _against(values: Floats, nulls: Sequence[Floats], name: str) -> dict[str, Floats]:
    """Values with the mean and range of others, and how rarely these are as large."""
    drawn = np.array(nulls).reshape(len(nulls), len(values))
    mean = drawn.mean(axis=0) if len(drawn) else np.full(len(values), np.nan)
    low, high = band(drawn)
    return {
        name: values, "null_mean": mean, "null_low": low, "null_high": high, "p": tail_p(values, drawn, "above"),
    }  # fmt: skip
