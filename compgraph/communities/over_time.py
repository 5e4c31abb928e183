"""Communities of a sequence of graphs with the same nodes, such as checkpoints, tied from each to the next.

Multislice modularity (Mucha et al. 2010), with Q_t the modularity that fits graph t (`judge`) and n_t its nodes with
weight:

    Q = (sum_t n_t Q_t + 2 w K) / (sum_t n_t + 2 w L)

L counts the nodes with weight in a graph and in the next, K those of them that keep their community; w is the
coupling, in units of a node's mean strength. leidenalg's `find_partition_temporal` maximises the same sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from compgraph.communities.agreement import Labels, canonical, mean_agreement
from compgraph.communities.chance import sampler
from compgraph.communities.find import N_NULLS
from compgraph.communities.judge import DENSE, Judge, judge
from compgraph.communities.optimise import igraph_seed, run_seeds
from compgraph.communities.pairs import Floats, Integers
from compgraph.communities.result import Chance
from compgraph.communities.slices import Slices
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from compgraph.graph_import import as_graph

if TYPE_CHECKING:
    import pandas as pd

MOST_PAIRS = 20_000_000
"""Pairs of nodes, in all graphs, up to which matrices are made."""


@dataclass(frozen=True)
class CommunitiesOverTime:
    """Communities of every node in every graph; the same number is the same community.

    Attributes
    ----------
    labels
        int32 [T, n]; -1 where a node has no weight.
    quality
        Multislice modularity.
    within
        Modularity of each graph, float64 [T].
    names
        Of the nodes.
    parameters
        Everything that decided the result, JSON-able.
    agreement
        Mean adjusted Rand index between runs, all graphs together.
    chance
        Mean of `within`, weighted by n_t, against null graphs in every place; None if nobody asked.
    """

    labels: Labels
    quality: float
    within: Floats
    names: tuple[str, ...]
    parameters: dict[str, Any]
    agreement: float
    chance: Chance | None = None

    @property
    def flexibility(self) -> Floats:
        """Share of the steps at which each node changes its community, float64 [n] (Bassett et al. 2011).

        Steps at which a node has no weight before or after do not count; NaN where none counts.
        """
        both = (self.labels[1:] >= 0) & (self.labels[:-1] >= 0)
        changes = ((self.labels[1:] != self.labels[:-1]) & both).sum(axis=0)
        counted = both.sum(axis=0)
        result: Floats = np.divide(changes, counted, out=np.full(len(counted), np.nan), where=counted > 0)
        return result

    def to_table(self) -> pd.DataFrame:
        """One row a graph and node: step, node, community."""
        import pandas as pd

        steps, n = self.labels.shape
        columns = {"step": np.repeat(np.arange(steps), n), "node": list(self.names) * steps}
        return pd.DataFrame({**columns, "community": self.labels.ravel()})


def communities_over_time(
    graphs: Sequence[Any],
    *,
    coupling: float = 1.0,
    resolution: float = 1.0,
    seed: int = 0,
    n_runs: int = 10,
    n_nulls: int = N_NULLS,
    null: str = "strength",
) -> CommunitiesOverTime:
    """Communities of a sequence of graphs, by igraph's Leiden on all graphs at once.

    Graphs of more than 3,000 nodes, or with more than 20 million pairs of nodes in all, are searched without matrices:
    from eigenvectors of all graphs at once, and from the communities of the last, nodes move while the quality rises.

    Parameters
    ----------
    graphs
        At least one, in order, of the kinds that `find_communities` takes, with the same nodes in the same order.
    coupling
        What it is worth that a node keeps its community, at least 0; 0 searches each graph for itself.
    resolution, seed, n_runs
        As for `louvain`.
    n_nulls, null
        As for `find_communities`; each null sequence is drawn with one set of random numbers, so that graphs which
        stay the same do so in the null.

    Raises
    ------
    GraphError
        If there is no graph, or nodes differ.
    """
    if coupling < 0 or not np.isfinite(coupling):
        raise ValueError(f"coupling must be a number of at least 0, not {coupling}")
    if n_runs < 1 or n_nulls < 0:
        raise ValueError(f"n_runs must be at least 1 and n_nulls at least 0, not {n_runs} and {n_nulls}")
    given = [as_graph(graph) for graph in graphs]
    _check(given)
    n = given[0].n_nodes
    most = DENSE if n * n * len(given) <= 2 * MOST_PAIRS else 0
    problem = _Problem([judge(graph, resolution, signed=True, most=most) for graph in given], coupling)
    found = [problem.search(run_seed) for run_seed in run_seeds(seed, n_runs)]
    qualities = [problem.quality(labels) for labels in found]
    best = found[int(np.argmax(qualities))]
    result = CommunitiesOverTime(
        labels=best,
        quality=max(qualities),
        within=problem.within(best),
        names=given[0].node_names,
        parameters={"coupling": coupling, "resolution": resolution, "seed": seed, "n_runs": n_runs},
        agreement=mean_agreement([labels.ravel() for labels in found]),
    )
    if n_nulls == 0:
        return result
    value = problem.mean_within(found[0])
    if not any(graph.weight.any() for graph in given):
        return replace(result, chance=Chance(null, value, np.zeros(0), np.zeros(0, np.int64), "no graph has weight"))
    samplers = [sampler(graph, null) for graph in given]
    nulls, numbers = [], []
    first = run_seeds(seed, 1)[0]
    for null_seed in run_seeds(seed + 1, n_nulls):
        drawn = [sample(np.random.default_rng(null_seed)) for sample in samplers]
        other = _Problem([judge(graph, resolution, signed=True, most=most) for graph in drawn], coupling)
        labels = other.search(first)
        nulls.append(other.mean_within(labels))
        numbers.append(int(labels.max()) + 1)
    return replace(result, chance=Chance(null, value, np.array(nulls), np.array(numbers, np.int64)))


class _Problem:
    """Multislice modularity of some graphs."""

    def __init__(self, judges: list[Judge], coupling: float) -> None:
        self._judges, self._coupling = judges, coupling
        self._live = np.array([~one.idle for one in judges])
        self._sizes = self._live.sum(axis=1)
        self._tied = self._live[1:] & self._live[:-1]

    def edges(self) -> tuple[Integers, Integers, Floats]:
        """Pairs of (graph, node), numbered graph by graph, and what it is worth to put them together."""
        n = self._live.shape[1]
        parts = []
        for step, (one, size) in enumerate(zip(self._judges, self._sizes, strict=True)):
            assert one.matrix is not None
            both = (one.matrix + one.matrix.T) * size
            u, v = np.nonzero(np.triu(both, 1))
            parts.append((u + step * n, v + step * n, both[u, v]))
        if self._coupling > 0:
            before, node = np.nonzero(self._tied)
            here = before * n + node
            parts.append((here, here + n, np.full(len(node), 2 * self._coupling)))
        u, v, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
        return u, v, weight

    def search(self, seed: int) -> Labels:
        """Labels of one run, int32 [T, n]."""
        large = tuple(one.large for one in self._judges if one.large is not None)
        if large:
            return Slices(large, self._live, 2 * self._coupling).search(seed)
        import igraph

        u, v, weight = self.edges()
        graph = igraph.Graph(n=self._live.size, edges=np.stack([u, v], axis=1))
        with igraph_seed(seed):
            found = graph.community_leiden(
                objective_function="CPM", weights=weight.tolist(), resolution=0, n_iterations=-1
            )
        labels = np.where(self._live.ravel(), found.membership, -1)
        return canonical(labels).reshape(self._live.shape)

    def within(self, labels: Labels) -> Floats:
        """Modularity of each graph."""
        return np.array([one.quality(part) for one, part in zip(self._judges, labels, strict=True)])

    def mean_within(self, labels: Labels) -> float:
        """Mean modularity of the graphs, weighted by their nodes with weight."""
        return float((self._sizes * self.within(labels)).sum() / max(1, self._sizes.sum()))

    def quality(self, labels: Labels) -> float:
        """Multislice modularity."""
        kept = int(((labels[1:] == labels[:-1]) & self._tied).sum())
        ties = 2 * self._coupling
        norm = self._sizes.sum() + ties * self._tied.sum()
        return float(((self._sizes * self.within(labels)).sum() + ties * kept) / norm) if norm else 0.0


def _check(graphs: list[ComputationalGraph]) -> None:
    if not graphs:
        raise GraphError("communities_over_time needs at least one graph")
    for step, graph in enumerate(graphs):
        if graph.node_names != graphs[0].node_names:
            raise GraphError(f"communities_over_time: graph {step} has other nodes than graph 0, or another order")
