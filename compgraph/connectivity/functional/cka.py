"""Linear centred kernel alignment: how alike two nodes of many units arrange the data (Kornblith et al. 2019)."""

from __future__ import annotations

import numpy as np

from compgraph.connectivity.functional.pairs import graph_of_matrix
from compgraph.connectivity.functional.setting import Setting
from compgraph.connectivity.functional.signals import Matrix, Signals
from compgraph.connectivity.functional.site_blocks import centres, node_starts, site_products
from compgraph.errors import DataError
from compgraph.graph import ComputationalGraph


def compute(setting: Setting, *, debiased: bool = True) -> ComputationalGraph:
    """HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y)) of every pair of nodes, X and Y their centred units over the rows.

    From products of units, never of rows: |X'Y|_F^2 is the biased HSIC. The unbiased one (Song et al. 2012) leaves out
    the diagonal of the kernels; for centred X, Y with squared row norms a, b it is, up to a factor,

        |X'Y|_F^2 - sum a b + (sum a)(sum b) / ((n - 1)(n - 2)) - 2 (sum a b) / (n - 2)

    Parameters
    ----------
    debiased
        Use the unbiased HSIC: without it, nodes of more units than rows look alike whatever they hold.

    Raises
    ------
    DataError
        Fewer than four rows; part `between`.
    """
    if setting.part == "between":
        raise DataError("functional: cka compares all rows; part 'between' has none")
    prepared = setting.prepare(standardise=False, units=True)
    n = prepared.signals.n_rows
    if n < 4:
        raise DataError(f"functional: cka needs at least 4 rows, and there are {n}")
    nodes = np.unique(prepared.signals.nodes)
    hsic = np.zeros((len(nodes), len(nodes)))
    place = {int(node): k for k, node in enumerate(nodes)}
    for a, b, products in site_products(prepared):
        (rows, row_starts), (columns, column_starts) = node_starts(prepared, a), node_starts(prepared, b)
        np.square(products, out=products)
        sums = np.add.reduceat(np.add.reduceat(products, row_starts, axis=0), column_starts, axis=1)
        at, to = [place[int(k)] for k in rows], [place[int(k)] for k in columns]
        hsic[np.ix_(at, to)] = sums
        hsic[np.ix_(to, at)] = sums.T
    if debiased:
        joint, single = _norms(prepared.signals, nodes)
        hsic += np.outer(single, single) / ((n - 1) * (n - 2)) - joint * (1 + 2 / (n - 2))
    own = np.diag(hsic)
    varies = own > 1e-12 * np.abs(hsic).max()
    hsic, own = hsic[np.ix_(varies, varies)], own[varies]
    weight = hsic / np.sqrt(own) / np.sqrt(own)[:, None]
    return graph_of_matrix(prepared, "cka", weight, nodes[varies], {"debiased": debiased})


def _norms(signals: Signals, nodes: np.ndarray) -> tuple[Matrix, Matrix]:
    """Sums over rows of products [m, m] and of single [m] squared norms of the nodes' units."""
    mean = centres(signals)
    starts = np.searchsorted(signals.nodes, nodes)
    joint, single = np.zeros((len(nodes), len(nodes))), np.zeros(len(nodes))
    for _, block in signals.blocks():
        norms = np.add.reduceat(np.square(block - mean), starts, axis=1)
        joint += norms.T @ norms
        single += norms.sum(axis=0)
    return joint, single
