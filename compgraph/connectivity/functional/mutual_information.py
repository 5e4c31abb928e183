"""Mutual information between nodes, in nats: any dependence, where correlation sees a straight line.

`gaussian-copula` replaces values by normal scores and takes I = -log(1 - r^2) / 2 of their correlation r: a lower bound
of the mutual information that no monotone distortion of single nodes moves (Ince et al. 2017). `nearest-neighbour` is
that of Kraskov, Stoegbauer & Grassberger (2004) through scikit-learn, for small sets.
"""

from __future__ import annotations

import numpy as np

from compgraph.connectivity.functional.moments import moments_of
from compgraph.connectivity.functional.pairs import graph_of_moments
from compgraph.connectivity.functional.setting import Setting
from compgraph.connectivity.functional.signals import Matrix
from compgraph.connectivity.functional.significance import ALMOST_ONE
from compgraph.errors import DataError
from compgraph.graph import ComputationalGraph

MAX_NODES, MAX_ROWS = 200, 20_000


def compute(
    setting: Setting, *, estimator: str = "gaussian-copula", neighbours: int = 3, seed: int = 0
) -> ComputationalGraph:
    """Mutual information of every pair of nodes.

    Parameters
    ----------
    estimator
        `gaussian-copula` or `nearest-neighbour`.
    neighbours, seed
        Of the latter: neighbours of a sample, and the seed of the tiny noise that parts equal values.

    Raises
    ------
    DataError
        More nodes or rows than nearest neighbours serve.
    """
    if estimator == "nearest-neighbour":
        return _nearest(setting, neighbours, seed)
    moments = moments_of(setting, transform="normal")
    r = moments.correlation()
    weight = -0.5 * np.log1p(-(np.clip(r, -ALMOST_ONE, ALMOST_ONE) ** 2))
    return graph_of_moments(moments, "mutual-information", weight, r=r, attributes={"estimator": estimator})


def _nearest(setting: Setting, neighbours: int, seed: int) -> ComputationalGraph:
    moments = moments_of(setting)
    m, n = len(moments.covariance), moments.count
    if m > MAX_NODES or n > MAX_ROWS:
        raise DataError(
            f"functional: nearest-neighbour mutual information serves up to {MAX_NODES} nodes and {MAX_ROWS} rows; "
            f"there are {m} and {n}: use the estimator gaussian-copula, a coarser partition or fewer sites"
        )
    if n <= neighbours:
        raise DataError(f"functional: {n} rows are too few for {neighbours} neighbours")
    values = np.concatenate([block[:, moments.varies].copy() for _, block in moments.blocks()])
    about = {"estimator": "nearest-neighbour", "neighbours": neighbours, "seed": seed}
    return graph_of_moments(moments, "mutual-information", _pairwise(values, neighbours, seed), attributes=about)


def _pairwise(values: Matrix, neighbours: int, seed: int) -> Matrix:
    from sklearn.feature_selection import mutual_info_regression

    m = values.shape[1]
    weight = np.zeros((m, m))
    for k in range(1, m):
        weight[k, :k] = mutual_info_regression(values[:, :k], values[:, k], n_neighbors=neighbours, random_state=seed)
    return weight + weight.T
