"""How many independent samples a correlation has, and what it is worth.

Rows along a text are not independent. For two series with autocorrelations rho_i(k) and rho_j(k) that do not depend on
each other, the correlation of n samples has the variance (Bartlett 1935; Bayley & Hammersley 1946)

    var(r) = (1 + 2 sum over k of (n_k / n) rho_i(k) rho_j(k)) / n

with n_k the number of pairs of rows k apart in one item. Its inverse is the effective number of samples n_e, never
taken larger than n. Then z = atanh(r) sqrt(n_e - 3 - c) is standard normal without correlation (Fisher 1921), with c
the degrees of freedom that confounds cost.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from compgraph.connectivity.functional.moments import Moments
from compgraph.connectivity.functional.signals import Matrix

ALMOST_ONE = 1 - 1e-15


def effective_samples(moments: Moments, source: npt.NDArray[Any], target: npt.NDArray[Any]) -> Matrix:
    """Effective number of samples behind each pair of signals [pairs]."""
    n = float(moments.count)
    if moments.autocorrelation is None or moments.pairs_at_lag is None:
        return np.full(len(source), n)
    weighted = moments.autocorrelation * (2 * moments.pairs_at_lag / n)[:, None]
    inflation = 1 + weighted.T @ moments.autocorrelation
    return n / np.maximum(inflation[source, target], 1.0)


def effective_number(
    n: int, rho: Matrix, at_lag: npt.NDArray[np.int64], source: npt.NDArray[Any], target: npt.NDArray[Any]
) -> Matrix:
    """The same from autocorrelations [lags, m], without a square of signals: for a few of very many pairs."""
    inflation = np.ones(len(source))
    for own, count in zip(rho, at_lag, strict=True):
        inflation += 2 * count / n * own[source] * own[target]
    return n / np.maximum(inflation, 1.0)


def fisher(r: Matrix, effective: Matrix, controlled: int = 0) -> tuple[Matrix, Matrix]:
    """z of correlations and its two-sided p-value; without a degree of freedom left z is 0 and p is 1."""
    from scipy.special import ndtr

    freedom = np.maximum(effective - 3 - controlled, 0.0)
    z = np.arctanh(np.clip(r, -ALMOST_ONE, ALMOST_ONE)) * np.sqrt(freedom)
    p: Matrix = 2 * ndtr(-np.abs(z))
    return z, p
