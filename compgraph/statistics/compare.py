"""Two graphs of one network compared edge by edge, against a null that keeps the layers.

Common edges are unordered pairs of nodes that both graphs name and that both could have: functional graphs are
undirected and tie any two nodes, effective and structural ones only a writer and its reader. Channels (`q`, `k`, `v`)
are summed, and a pair without an edge has weight 0.

Depth alone makes any two graphs of a layered network correlate, so nothing here is tested by formula: the null relabels
the nodes of one graph inside their sites, which keeps what layers explain and breaks who is who.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from compgraph.communities.louvain import search, undirected_weights
from compgraph.communities.modularity import modularity_matrix, quality
from compgraph.communities.optimise import run_seeds
from compgraph.communities.pairs import Floats, Mask, allowed_pairs
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from compgraph.graph_import import as_graph
from compgraph.graph_select import strongest
from compgraph.statistics.measures.paths import entropy
from compgraph.statistics.testing import against_nulls, table_of

if TYPE_CHECKING:
    import pandas as pd

MEASURES = ("rank", "rank_by_layers", "top_overlap", "subspace", "blocks", "spectral_distance")
LABEL_FREE = "it does not depend on which node is which, so that relabelling cannot change it"
SEARCHES = 3

Weights = Literal["magnitude", "signed"]


def compare_graphs(
    a: Any,
    b: Any,
    *,
    weights: Weights = "magnitude",
    top: float = 0.1,
    n_nulls: int = 999,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare two graphs over the nodes that both name.

    Parameters
    ----------
    a, b
        Graphs of one network and one partition; of any kinds. `ComputationalGraph`, networkx or igraph graphs, or
        square matrices; nodes are matched by name.
    weights
        Compare sums of |w| over channels (`magnitude`), or sums of w (`signed`).
    top
        Share of the common edges that counts as the strongest.
    n_nulls
        Relabellings; 0 compares without a null.
    seed
        Of the relabellings and the searches for communities.

    Returns
    -------
    DataFrame
        One row a measure, with the columns of `network_statistics` and `n_nodes`, `n_pairs`:

        - `rank`: Spearman correlation over the common edges.
        - `rank_by_layers`: the same with ranks taken and centred within each pair of sites.
        - `top_overlap`: Jaccard index of the strongest edges.
        - `subspace`: mean squared cosine between the leading eigenvectors of the two weight matrices (as many as the
          root of the number of nodes).
        - `blocks`: adjusted mutual information of the two graphs' communities (modularity on |w|).
        - `spectral_distance`: Euclidean distance of the sorted eigenvalues of D^-1/2 |W| D^-1/2; without a null, since
          relabelling keeps it.

    Raises
    ------
    GraphError
        Fewer than three nodes or common edges, or choices out of range.
    """
    if weights not in ("magnitude", "signed"):
        raise GraphError(f"compare: weights {weights!r} is not known; valid are magnitude, signed")
    if not 0 < top <= 1:
        raise GraphError(f"compare: top {top} is out of range; a share of the edges lies in (0, 1]")
    if n_nulls < 0:
        raise GraphError(f"compare: n_nulls is {n_nulls}; it must be at least 0")
    pair = CommonEdges.of(as_graph(a), as_graph(b), weights)
    measures = _measures(pair, top, seed)
    identity = np.arange(pair.n_nodes)
    values = {name: measure(identity) for name, measure in measures.items()}
    drawn = _null_values(pair, measures, n_nulls, seed)
    rows = []
    for name, value in values.items():
        reason = _untested(pair, name, value, n_nulls)
        tested = against_nulls(value, None if reason else drawn[name], reason)
        rows.append({"measure": name, "value": value, "null": "node permutation", "seed": seed, "reason": ""} | tested)
    return table_of(rows).assign(n_nodes=pair.n_nodes, n_pairs=len(pair.source))


def _untested(pair: CommonEdges, name: str, value: float, n_nulls: int) -> str:
    """Why a value has no null; empty if it has one."""
    if not np.isfinite(value):
        return "all common edges weigh the same in one of the graphs"
    if name == "spectral_distance":
        return LABEL_FREE
    if not n_nulls:
        return "no relabellings were asked for"
    return "" if pair.can_relabel else "no site has two of the nodes, so that nothing can be relabelled"


def compare_all(graphs: Mapping[str, Any], **options: object) -> pd.DataFrame:
    """`compare_graphs` of every two of several graphs: one table, with the columns `a` and `b` in front.

    p-values are adjusted within each pair of graphs.
    """
    import pandas as pd

    tables = []
    for first, second in combinations(graphs, 2):
        table = compare_graphs(graphs[first], graphs[second], **options)  # type: ignore[arg-type]
        table.insert(0, "a", first)
        table.insert(1, "b", second)
        tables.append(table)
    if not tables:
        raise GraphError(f"compare: {len(graphs)} graphs are given; at least 2 are needed")
    return pd.concat(tables, ignore_index=True)


@dataclass(frozen=True)
class CommonEdges:
    """Two graphs over the same nodes.

    Attributes
    ----------
    names
        Of the nodes that both name, in the order of the first.
    site
        Number of each node's site, int64 [n].
    source, target
        The pairs that both could have, source < target, int64 [pairs].
    a, b
        Symmetric weights, float64 [n, n].
    """

    names: tuple[str, ...]
    site: npt.NDArray[np.int64]
    source: npt.NDArray[np.int64]
    target: npt.NDArray[np.int64]
    a: Floats
    b: Floats

    @classmethod
    def of(cls, a: ComputationalGraph, b: ComputationalGraph, weights: Weights = "magnitude") -> CommonEdges:
        """Match the nodes by name.

        Raises
        ------
        GraphError
            Too little in common.
        """
        there = {name: k for k, name in enumerate(b.node_names)}
        at = np.array([k for k, name in enumerate(a.node_names) if name in there], dtype=np.int64)
        names = tuple(a.node_names[k] for k in at)
        to = np.array([there[name] for name in names], dtype=np.int64)
        if len(names) < 3:
            raise GraphError(
                f"compare: the graphs have {len(names)} nodes in common (of {a.n_nodes} and {b.n_nodes}); at least 3 "
                "are needed: make both over the same partition"
            )
        possible = _possible(a)[np.ix_(at, at)] & _possible(b)[np.ix_(to, to)]
        source, target = np.nonzero(np.triu(possible, 1))
        if len(source) < 3:
            raise GraphError(f"compare: the graphs could have {len(source)} edges in common; at least 3 are needed")
        _, site = np.unique(a.node_columns["site"][at].astype(str), return_inverse=True)
        return cls(
            names,
            site.astype(np.int64),
            source,
            target,
            undirected_weights(a, weights == "signed")[np.ix_(at, at)],
            undirected_weights(b, weights == "signed")[np.ix_(to, to)],
        )

    @property
    def n_nodes(self) -> int:
        """Number of common nodes."""
        return len(self.names)

    @property
    def can_relabel(self) -> bool:
        """Whether a site has two nodes."""
        return len(np.unique(self.site)) < self.n_nodes

    @cached_property
    def values(self) -> tuple[Floats, Floats]:
        """Weights of the common edges in both graphs, float64 [pairs]."""
        return self.a[self.source, self.target], self.b[self.source, self.target]

    @cached_property
    def stratum(self) -> npt.NDArray[np.int64]:
        """Number of the pair of sites of each common edge, int64 [pairs]."""
        ends = np.sort(np.stack([self.site[self.source], self.site[self.target]]), axis=0)
        return np.unique(ends[0] * self.n_nodes + ends[1], return_inverse=True)[1].astype(np.int64)

    def relabelled(self, matrix: Floats, order: npt.NDArray[np.int64]) -> Floats:
        """Entries [pairs] of a symmetric matrix at the common edges, its nodes in another order."""
        return matrix[order[self.source], order[self.target]]

    def spread(self, values: Floats) -> Floats:
        """A symmetric matrix [n, n] with values [pairs] at the common edges."""
        matrix = np.zeros((self.n_nodes, self.n_nodes))
        matrix[self.source, self.target] = values
        return matrix + matrix.T


Measure = Callable[[npt.NDArray[np.int64]], float]


def _measures(pair: CommonEdges, top: float, seed: int) -> dict[str, Measure]:
    """Measures as functions of an order of the second graph's nodes.

    Relabelling inside sites keeps the common edges and the pairs of sites, and so all ranks: they are taken once.
    """
    a, b = pair.values
    return {
        "rank": _correlation(pair, _standard(rankdata(a)), _standard(rankdata(b))),
        "rank_by_layers": _correlation(pair, _within(pair, a), _within(pair, b)),
        "top_overlap": _overlap(pair, a, b, top),
        "subspace": _subspace(pair),
        "blocks": _blocks(pair, seed),
        "spectral_distance": _spectral(pair),
    }


def _standard(values: Floats) -> Floats:
    centred = values - values.mean()
    norm = np.sqrt((centred**2).sum())
    return centred / norm if norm > 0 else np.full(len(values), np.nan)


def _within(pair: CommonEdges, values: Floats) -> Floats:
    """Ranks inside each pair of sites, as shares of its number of edges, centred there."""
    ranks = np.empty(len(values))
    for stratum in range(int(pair.stratum.max()) + 1):
        own = np.flatnonzero(pair.stratum == stratum)
        found = rankdata(values[own])
        ranks[own] = (found - found.mean()) / len(own)
    return _standard(ranks)


def _correlation(pair: CommonEdges, a: Floats, b: Floats) -> Measure:
    matrix = pair.spread(b)
    return lambda order: float(a @ pair.relabelled(matrix, order))


def _overlap(pair: CommonEdges, a: Floats, b: Floats, top: float) -> Measure:
    k = max(1, round(top * len(a)))
    first = strongest(np.abs(a), k)
    second = pair.spread(strongest(np.abs(b), k).astype(np.float64))

    def measure(order: npt.NDArray[np.int64]) -> float:
        both = int((first & (pair.relabelled(second, order) > 0)).sum())
        return both / (2 * k - both)

    return measure


def _subspace(pair: CommonEdges) -> Measure:
    size = max(1, round(np.sqrt(pair.n_nodes)))
    first, second = (_leading(pair.spread(values), size) for values in pair.values)
    return lambda order: float(((first.T @ second[order]) ** 2).sum() / size)


def _leading(matrix: Floats, size: int) -> Floats:
    """Eigenvectors of the eigenvalues of largest magnitude [n, size]."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors[:, np.argsort(-np.abs(values), kind="stable")[:size]]


def _spectral(pair: CommonEdges) -> Measure:
    first, second = (_spectrum(pair.spread(np.abs(values))) for values in pair.values)
    distance = float(np.linalg.norm(first - second))
    return lambda order: distance


def _spectrum(matrix: Floats) -> Floats:
    strength = matrix.sum(axis=1)
    scale = np.divide(1, np.sqrt(strength), out=np.zeros_like(strength), where=strength > 0)
    spectrum: Floats = np.linalg.eigvalsh(scale[:, None] * matrix * scale)
    return spectrum


def _blocks(pair: CommonEdges, seed: int) -> Measure:
    """Adjusted mutual information (Vinh, Epps & Bailey 2010; mean of entropies) of two sets of communities."""
    from sklearn.metrics.cluster import contingency_matrix, expected_mutual_information

    first, second = (_communities(pair.spread(np.abs(values)), seed) for values in pair.values)
    n = pair.n_nodes
    each = (entropy(np.bincount(first) / n) + entropy(np.bincount(second) / n)) / 2
    # Relabelling keeps the sizes of the communities, and with them all but the joint entropy.
    chance = expected_mutual_information(contingency_matrix(first, second), n)
    size = int(second.max()) + 1

    def measure(order: npt.NDArray[np.int64]) -> float:
        joint = entropy(np.bincount(first * size + second[order]) / n)
        room = each - chance
        return float((2 * each - joint - chance) / room) if abs(room) > 1e-12 else 1.0

    return measure


def _communities(matrix: Floats, seed: int) -> npt.NDArray[np.int64]:
    if not matrix.any():
        return np.zeros(len(matrix), np.int64)
    excess = modularity_matrix(matrix, 1.0)
    found = [search(matrix, excess, 1.0, s) for s in run_seeds(seed, SEARCHES)]
    return np.asarray(max(found, key=lambda labels: quality(excess, labels)), dtype=np.int64)


def _null_values(pair: CommonEdges, measures: Mapping[str, Measure], n_nulls: int, seed: int) -> dict[str, Floats]:
    """Values of each measure that has a null, over relabellings of the second graph inside sites."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(pair.site == site) for site in range(int(pair.site.max()) + 1)]
    tested = [name for name in measures if name != "spectral_distance"]
    drawn = {name: np.empty(n_nulls) for name in tested}
    for k in range(n_nulls if pair.can_relabel else 0):
        order = np.empty(pair.n_nodes, np.int64)
        for nodes in members:
            order[nodes] = rng.permutation(nodes)
        for name in tested:
            drawn[name][k] = measures[name](order)
    return drawn


def _possible(graph: ComputationalGraph) -> Mask:
    allowed = allowed_pairs(graph)
    return allowed | allowed.T
