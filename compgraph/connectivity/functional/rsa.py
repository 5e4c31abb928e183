"""Representational similarity: whether two nodes find the same items alike (Kriegeskorte, Mur & Bandettini 2008)."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial.distance import pdist
from scipy.stats import rankdata

from compgraph.connectivity.functional.memory import check_bytes
from compgraph.connectivity.functional.pairs import graph_of_pairs, judged, upper
from compgraph.connectivity.functional.setting import Prepared, Setting, means_of
from compgraph.connectivity.functional.signals import Matrix
from compgraph.errors import DataError
from compgraph.graph import ComputationalGraph


def compute(
    setting: Setting,
    *,
    conditions: str = "item",
    most: int = 500,
    distance: str = "euclidean",
    permutations: int = 0,
    seed: int = 0,
) -> ComputationalGraph:
    """Rank correlation of every two nodes' distances between conditions.

    Parameters
    ----------
    conditions
        Column of the item table whose values are the conditions; a node's pattern is the mean of its units over the
        rows of one.
    most
        Conditions to use at most, drawn at random from more.
    distance
        Between patterns: `euclidean` or `correlation` (1 - r; nodes of at least three units).
    permutations
        Random relabellings of the conditions behind p-values (Mantel 1967); 0 for no tests.
    seed
        Of both draws.

    Raises
    ------
    DataError
        Fewer than four conditions; too few units for correlation distance; patterns and distances that do not fit into
        memory.
    """
    prepared = setting.prepare(standardise=False, units=True)
    _check_memory(prepared, conditions, most)
    patterns = _patterns(prepared, conditions, most, seed)
    nodes, distances = _distances(prepared, patterns, distance)
    ranks = np.stack([rankdata(row) for row in distances])
    ranks -= ranks.mean(axis=1, keepdims=True)
    norm = np.sqrt((ranks**2).sum(axis=1))
    varies = norm > 0
    nodes, ranks = nodes[varies], ranks[varies] / norm[varies, None]
    weight = ranks @ ranks.T
    source, target = upper(len(nodes))
    about: dict[str, Any] = {
        "conditions": conditions, "n_conditions": len(patterns), "distance": distance, "seed": seed,
    }  # fmt: skip
    values, columns = weight[source, target], {}
    if permutations:
        p = _mantel(ranks, weight, len(patterns), permutations, seed)[source, target]
        adjusted, found = judged(setting, p)
        columns = {"p": p, "p_adjusted": adjusted}
        about |= {"permutations": permutations} | found
    return graph_of_pairs(prepared, "rsa", nodes, source, target, values, columns, about)


def _check_memory(prepared: Prepared, conditions: str, most: int) -> None:
    """Refuse more patterns, distances and their ranks than there is memory for."""
    signals = prepared.signals
    n = len(np.unique(signals.pool.column(conditions)[signals.row_numbers].astype(str)))
    used, nodes = min(n, most), len(np.unique(signals.nodes))
    needed = 8 * (2 * n * len(signals.nodes) + 3 * nodes * used * (used - 1) // 2 + 3 * nodes**2)
    what = f"rsa of {nodes} nodes over {used} values of {conditions!r} needs"
    check_bytes(needed, what, "use a coarser partition, fewer sites at a time (`sites`), or a smaller `most`")


def _patterns(prepared: Prepared, conditions: str, most: int, seed: int) -> Matrix:
    """Mean units of each condition, [conditions, units]."""
    signals = prepared.signals
    _, code = np.unique(signals.pool.column(conditions)[signals.row_numbers].astype(str), return_inverse=True)
    n = int(code.max()) + 1
    if n < 4:
        raise DataError(f"functional: rsa needs at least 4 values of {conditions!r}, and there are {n}")
    patterns = means_of(signals, code)
    if n <= most:
        return patterns
    return patterns[np.sort(np.random.default_rng(seed).choice(n, most, replace=False))]


def _distances(prepared: Prepared, patterns: Matrix, distance: str) -> tuple[np.ndarray, Matrix]:
    """Distances between conditions [nodes, pairs of conditions]."""
    owner = prepared.signals.nodes
    nodes, rows = np.unique(owner), []
    for node in nodes.tolist():
        own = patterns[:, owner == node]
        if distance == "correlation" and own.shape[1] < 3:
            name = prepared.setting.partition.node_names[node]
            raise DataError(
                f"functional: correlation distance needs at least 3 units that vary, and {name!r} has {own.shape[1]}; "
                "use euclidean distance or a coarser partition"
            )
        rows.append(pdist(own, distance))
    return nodes, np.stack(rows)


def _mantel(ranks: Matrix, observed: Matrix, n: int, permutations: int, seed: int) -> Matrix:
    """Two-sided p of each pair of nodes: the conditions of one of them relabelled."""
    place = np.zeros((n, n), dtype=np.int64)
    place[np.triu_indices(n, 1)] = np.arange(n * (n - 1) // 2)
    place += place.T
    at = np.triu_indices(n, 1)
    rng = np.random.default_rng([seed, 1])
    reached = np.ones_like(observed)
    for _ in range(permutations):
        order = rng.permutation(n)
        shuffled = ranks[:, place[np.ix_(order, order)][at]]
        reached += np.abs(shuffled @ ranks.T) >= np.abs(observed) - 1e-12
    return reached / (permutations + 1)
