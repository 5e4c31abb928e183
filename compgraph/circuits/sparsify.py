"""Fewer edges by a rule that looks at all of them: what communities, block models and statistics read.

Unlike a circuit (`select_circuit`) a sparsified graph need not connect input and output, so any graph will do. |w| is
what counts. Each rule is a function (graph, options) -> `Choice`, registered in `compgraph.catalogue.SPARSIFICATIONS`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from compgraph.catalogue import SPARSIFICATIONS, load
from compgraph.circuits.choice import Choice, Mask, check_share, share_of
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from compgraph.graph_select import strongest, sums_by_node

ADJUSTED = ("p_adjusted", "q")
"""Columns of adjusted p-values, in the order in which they are looked for."""


def sparsify(graph: ComputationalGraph, method: str, **options: Any) -> ComputationalGraph:
    """Keep the edges that a rule keeps.

    Parameters
    ----------
    graph
        Any graph.
    method
        `significance`, `top-share`, `nearest`, `disparity` or `spanning-trees` (`compgraph.catalogue.SPARSIFICATIONS`).
    options
        Of the rule.

    Returns
    -------
    ComputationalGraph
        The kept edges in their old order, and all nodes. The last entry of `attributes["selection"]` says the method
        and its options, how many edges were `kept` and `dropped`, the share of all |w| that went with them
        (`dropped_weight`), the largest dropped |w| (`largest_dropped`), and how many nodes lost all their edges
        (`isolated`).

    Raises
    ------
    GraphError
        An unknown rule or option, a value out of range, or a graph without the column that the rule reads.
    """
    if method not in SPARSIFICATIONS:
        raise GraphError(f"sparsification {method!r} is not known; valid are {', '.join(SPARSIFICATIONS)}")
    own = {option.name: option.default for option in SPARSIFICATIONS[method].options}
    for name in options:
        if name not in own:
            raise GraphError(f"sparsification {method!r} has no option {name!r}; its options: {', '.join(own)}")
    settings = own | options
    choice: Choice = load(SPARSIFICATIONS[method])(graph, **settings)
    sparse = graph.subgraph(choice.edges)
    sparse.attributes["selection"][-1] = {"method": method} | settings | _dropped(graph, choice.edges) | choice.record
    return sparse


def significance(graph: ComputationalGraph, *, level: float) -> Choice:
    """Edges whose adjusted p-value (column `p_adjusted`, or `q`) is at most `level`."""
    _check_level(level)
    column = next((name for name in ADJUSTED if name in graph.columns), None)
    if column is None:
        found = ", ".join(graph.columns) or "none"
        raise GraphError(
            f"sparsification 'significance' reads the column {' or '.join(ADJUSTED)}, and the graph's columns are: "
            f"{found}"
        )
    return Choice(graph.columns[column] <= level, {"column": column})


def top_share(graph: ComputationalGraph, *, share: float) -> Choice:
    """The strongest edges, `floor(share · E)` of them."""
    check_share("share", share)
    return Choice(strongest(np.abs(graph.weight), share_of(graph.n_edges, share)))


def nearest(graph: ComputationalGraph, *, k: int, mutual: bool) -> Choice:
    """Edges among the k strongest of a node: of either end, or (`mutual`) of both.

    An edge counts for both its ends whatever its direction; of equal ones the earlier.
    """
    if k < 1:
        raise GraphError(f"k is {k}; a node has at least 1 nearest neighbour")
    order = np.argsort(-np.abs(graph.weight), kind="stable")
    among = np.zeros((2, graph.n_edges), dtype=bool)
    ends = np.stack([graph.source[order], graph.target[order]], axis=1).ravel()
    rank = _rank_within(ends)
    for end in (0, 1):
        among[end, order] = rank[end::2] < k
    return Choice(among.all(axis=0) if mutual else among.any(axis=0))


def disparity(graph: ComputationalGraph, *, level: float) -> Choice:
    """Edges that carry more of a node's strength than chance would give one (Serrano, Boguna & Vespignani 2009).

    For a node with k edges and strength s, an edge of weight w has p = (1 - w / s)^(k - 1), the probability under a
    uniform split; it is kept if p < `level` at either end. Directed edges count among the outgoing ones of their source
    and the incoming ones of their target. A node's only edge says nothing at its end.
    """
    _check_level(level)
    size = np.abs(graph.weight).astype(np.float64)
    n = graph.n_nodes
    p = np.ones((2, graph.n_edges))
    for end, nodes in enumerate((graph.source, graph.target)):
        sides = (("out", "in")[end],) if graph.directed else ("out", "in")
        strength = sums_by_node(graph.source, graph.target, size, n, sides)[nodes]
        degree = sums_by_node(graph.source, graph.target, np.ones(len(size)), n, sides)[nodes]
        share = np.divide(size, strength, out=np.zeros_like(size), where=strength > 0)
        p[end] = np.where(degree > 1, np.maximum(1 - share, 0.0) ** (degree - 1), 1.0)
    return Choice(p.min(axis=0) < level)


def spanning_trees(graph: ComputationalGraph, *, trees: int, share: float) -> Choice:
    """The first `trees` maximum spanning forests, each without the edges of those before, and the strongest edges.

    They keep connected what is connected, whatever the weights; `share` of the edges, the strongest, are added.
    """
    if trees < 1:
        raise GraphError(f"trees is {trees}; at least 1 is needed")
    check_share("share", share)
    kept = strongest(np.abs(graph.weight), share_of(graph.n_edges, share))
    order = np.argsort(-np.abs(graph.weight), kind="stable")
    left, forest = np.ones(graph.n_edges, dtype=bool), np.zeros(graph.n_edges, dtype=bool)
    for _ in range(trees):
        found = _forest(graph, order[left[order]])
        left[found] = False
        forest[found] = True
    return Choice(kept | forest, {"in_trees": int(forest.sum())})


def _forest(graph: ComputationalGraph, order: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Edges of the maximum spanning forest, from edges in descending order of strength."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    n = graph.n_nodes
    a, b = np.minimum(graph.source, graph.target)[order], np.maximum(graph.source, graph.target)[order]
    # The strongest edge of a pair stands for it; places in the order are costs, so that no two are equal.
    _, first = np.unique(a.astype(np.int64) * n + b, return_index=True)
    costs = coo_array((first + 1.0, (a[first], b[first])), shape=(n, n)).tocsr()
    return order[minimum_spanning_tree(costs).data.astype(np.int64) - 1]


def _rank_within(groups: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """How many earlier entries belong to the same group."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    begins = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))[: len(groups)]
    rank = np.empty(len(groups), np.int64)
    rank[order] = np.arange(len(groups)) - np.repeat(begins, np.diff(begins, append=len(groups)))
    return rank


def _dropped(graph: ComputationalGraph, kept: Mask) -> dict[str, Any]:
    size = np.abs(graph.weight).astype(np.float64)
    had, has = (np.bincount(np.concatenate([graph.source[m], graph.target[m]]), minlength=graph.n_nodes) > 0
                for m in (np.ones_like(kept), kept))  # fmt: skip
    total = float(size.sum())
    return {
        "kept": int(kept.sum()),
        "dropped": int((~kept).sum()),
        "dropped_weight": float(size[~kept].sum()) / total if total > 0 else 0.0,
        "largest_dropped": float(size[~kept].max(initial=0.0)),
        "isolated": int((had & ~has).sum()),
    }


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise GraphError(f"level {level} is out of range; it lies between 0 and 1")
