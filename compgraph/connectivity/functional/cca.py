"""Canonical correlation: how well the best combinations of one node's units match those of another (Hotelling 1936)."""

from __future__ import annotations

import numpy as np

from compgraph.connectivity.functional.pairs import graph_of_matrix
from compgraph.connectivity.functional.setting import Setting
from compgraph.connectivity.functional.signals import Matrix
from compgraph.connectivity.functional.site_blocks import node_starts, site_products
from compgraph.errors import DataError
from compgraph.graph import ComputationalGraph

NEGLIGIBLE = 1e-10
"""Directions with no more than this share of a node's largest variance are no dimension of it."""


def compute(setting: Setting, *, debiased: bool = True) -> ComputationalGraph:
    """Mean squared canonical correlation of every pair of nodes, over the dimensions of the smaller.

    Parameters
    ----------
    debiased
        Take off what independent nodes have: with p and q dimensions the expectation of the mean square is
        max(p, q) / (n - 1) for independent normal samples (Pillai's trace), and 1 stays 1. Then it can be negative.

    Returns
    -------
    ComputationalGraph
        With the attribute `dimensions`, of each node.

    Raises
    ------
    DataError
        No more rows than two nodes have dimensions together, where canonical correlations are 1 whatever the data.
    """
    if setting.part == "between":
        raise DataError("functional: cca compares all rows; part 'between' has none")
    prepared = setting.prepare(standardise=False, units=True)
    free = prepared.signals.n_rows - 1 - prepared.removed
    crosses: dict[tuple[int, int], Matrix] = {}
    for a, b, products in site_products(prepared):
        (rows, row_starts), (columns, column_starts) = node_starts(prepared, a), node_starts(prepared, b)
        pieces = [np.split(band, column_starts[1:], axis=1) for band in np.split(products, row_starts[1:], axis=0)]
        for i, band in zip(rows.tolist(), pieces, strict=True):
            for j, piece in zip(columns.tolist(), band, strict=True):
                if i <= j:
                    crosses[i, j] = piece
    nodes = np.unique(prepared.signals.nodes)
    whitening = {k: _whitening(crosses[k, k]) for k in nodes.tolist()}
    size = {k: w.shape[1] for k, w in whitening.items()}
    largest = sorted(size.values())[-2:]
    if free <= sum(largest):
        raise DataError(
            f"functional: cca of nodes with {largest[0]} and {largest[-1]} dimensions needs more than {sum(largest)} "
            f"free rows, and there are {free}; use a finer partition, more rows, or cka"
        )
    weight = np.eye(len(nodes))
    for at, i in enumerate(nodes.tolist()):
        for to in range(at + 1, len(nodes)):
            j = int(nodes[to])
            shared = float(((whitening[i].T @ crosses[i, j] @ whitening[j]) ** 2).sum()) / min(size[i], size[j])
            if debiased:
                chance = max(size[i], size[j]) / free
                shared = (shared - chance) / (1 - chance)
            weight[at, to] = weight[to, at] = shared
    dimensions = [size[k] for k in nodes.tolist()]
    return graph_of_matrix(prepared, "cca", weight, nodes, {"debiased": debiased, "dimensions": dimensions})


def _whitening(products: Matrix) -> Matrix:
    """W [units, dimensions] with W' C W = 1, from products C of a node's units."""
    values, vectors = np.linalg.eigh(products)
    kept = values > NEGLIGIBLE * values[-1]
    whitened: Matrix = vectors[:, kept] / np.sqrt(values[kept])
    return whitened
