"""Correlation at a distance along the text: one node's value with another's some positions later."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from compgraph.connectivity.functional.memory import check_memory
from compgraph.connectivity.functional.moments import Moments, moments_of
from compgraph.connectivity.functional.pairs import graph_of_pairs, judged, upper
from compgraph.connectivity.functional.setting import Setting
from compgraph.connectivity.functional.signals import Matrix
from compgraph.connectivity.functional.significance import effective_samples, fisher
from compgraph.connectivity.functional.streaming import LaggedRows
from compgraph.errors import DataError
from compgraph.graph import ComputationalGraph


def compute(setting: Setting, *, lags: int = 4) -> ComputationalGraph:
    """The correlation of largest magnitude over lags from -`lags` to `lags` positions within an item.

    r_ij(k) correlates i at a position with j k positions later, around the overall means and deviations.

    Parameters
    ----------
    lags
        Largest distance.

    Returns
    -------
    ComputationalGraph
        With the column `lag`: positive where the edge's target follows its source. p-values are those of the best lag,
        times the number of lags (Bonferroni).

    Raises
    ------
    DataError
        Items with a single row, or whose positions do not follow each other; lags that no item spans.
    """
    if setting.part == "between":
        raise DataError("functional: lagged correlation needs rows in order; part 'between' has none")
    moments = moments_of(setting)
    check_memory(len(moments.covariance) * int(np.ceil(np.sqrt(lags + 1))))
    r, counts = cross_correlations(moments, lags)
    best, lag = _strongest(r)
    source, target = upper(len(best))
    weight, at = best[source, target], lag[source, target]
    columns: dict[str, npt.NDArray[Any]] = {"lag": at.astype(np.int32)}
    about = {"lags": lags, "heavy_tailed_units": moments.heavy}
    if setting.samples != "none":
        share = counts[np.abs(at)] / moments.count
        effective = effective_samples(moments, source, target) * share
        z, p = fisher(weight, effective, moments.prepared.removed)
        p = np.minimum(p * (2 * lags + 1), 1.0)
        adjusted, found = judged(setting, p)
        columns |= {"z": z, "p": p, "p_adjusted": adjusted, "effective_n": effective}
        about |= found
    return graph_of_pairs(moments.prepared, "lagged", moments.nodes, source, target, weight, columns, about)


def cross_correlations(moments: Moments, lags: int) -> tuple[Matrix, Matrix]:
    """r[k, i, j] of i with j k positions later, k = 0 … lags, and the number of pairs of rows at each k.

    Raises
    ------
    DataError
        No rows of one item are that far apart.
    """
    prepared, m = moments.prepared, len(moments.covariance)
    products, count = np.zeros((lags + 1, m, m)), np.zeros(lags + 1)
    rows = LaggedRows(lags)
    item, position = prepared.item, prepared.position
    for start, block in moments.blocks():
        centred = block[:, moments.varies] - moments.mean
        stop = start + len(block)
        for k, near, far in rows.pairs(centred, item[start:stop], position[start:stop]):
            products[k] += near.T @ far
            count[k] += len(near)
    products[0], count[0] = moments.covariance * moments.count, moments.count
    if (count == 0).any():
        raise DataError(
            f"functional: no two rows of an item are {int(np.argmin(count))} positions apart, so lags up to {lags} "
            "cannot be seen; record `activations.positions: all`, or take fewer lags"
        )
    deviation = np.sqrt(np.diag(moments.covariance))
    r = products / count[:, None, None] / deviation / deviation[:, None]
    return np.clip(r, -1, 1, out=r), count


def _strongest(r: Matrix) -> tuple[Matrix, Matrix]:
    """For i < j the correlation of largest magnitude over lags of either sign, and its lag (the nearest of equals)."""
    lags = len(r) - 1
    order = [0, *(sign * k for k in range(1, lags + 1) for sign in (1, -1))]
    stack = np.stack([r[k] if k >= 0 else r[-k].T for k in order])
    best = np.abs(stack).argmax(axis=0)
    return np.take_along_axis(stack, best[None], axis=0)[0], np.array(order)[best]
