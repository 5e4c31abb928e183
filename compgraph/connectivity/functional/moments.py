"""One pass over the signals: what every method that compares nodes by second moments needs to know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compgraph.connectivity.functional.lag_sums import LagSums
from compgraph.connectivity.functional.memory import check_memory
from compgraph.connectivity.functional.ranks import Kind
from compgraph.connectivity.functional.setting import Prepared, Setting, check_two, class_means
from compgraph.connectivity.functional.signals import Matrix
from compgraph.connectivity.functional.streaming import JointMoments, Sums, Tails

SILENT = 1e-20
"""A signal whose variance is at most this, in units of its units' variance, is a sum that cancels, not a signal."""

HEAVY = 30.0
"""Units with a larger kurtosis are reported: a normal distribution has 3, an exponential one 9."""

NAMED = 10
"""Heavy-tailed units that are named, the heaviest first."""


@dataclass(frozen=True)
class Moments:
    """Second moments of the signals that vary.

    Attributes
    ----------
    prepared
        Where they come from.
    count
        Samples.
    mean
        Of the m signals.
    covariance
        float64 [m, m], divided by the number of samples.
    varies
        Which of all signals these are, bool [n].
    autocorrelation
        At lags 1 … of the m signals [lags, m]; None where samples stand alone.
    pairs_at_lag
        Number of pairs of rows behind each lag; None likewise.
    heavy
        Site -> its heavy-tailed units.
    """

    prepared: Prepared
    count: int
    mean: Matrix
    covariance: Matrix
    varies: npt.NDArray[np.bool_]
    autocorrelation: Matrix | None
    pairs_at_lag: npt.NDArray[np.int64] | None
    heavy: dict[str, Any]

    @property
    def nodes(self) -> npt.NDArray[np.int64]:
        """Number among the partition's nodes of each signal that varies."""
        nodes: npt.NDArray[np.int64] = self.prepared.signals.nodes[self.varies]
        return nodes

    def blocks(self) -> Iterator[tuple[int, Matrix]]:
        """The samples once more: all signals, whether they vary or not."""
        if self.prepared.setting.part == "between":
            return iter([(0, class_means(self.prepared))])
        return self.prepared.signals.blocks()

    def correlation(self) -> Matrix:
        """Correlation matrix [m, m]."""
        deviation = np.sqrt(np.diag(self.covariance))
        matrix = self.covariance / deviation
        matrix /= deviation[:, None]
        return np.clip(matrix, -1, 1, out=matrix)


def moments_of(setting: Setting, *, standardise: bool = True, transform: Kind | None = None) -> Moments:
    """Gather the moments of a setting's signals.

    Raises
    ------
    DataError
        If there are fewer than two rows, fewer than two nodes vary, values are not finite, sites were not recorded, or
        the result does not fit into memory.
    GraphError
        If partition and buffer are of different models.
    """
    prepared = setting.prepare(standardise=standardise, transform=transform)
    signals = prepared.signals
    check_memory(len(signals.nodes))
    kept = signals.pool.sums
    sums = gather(prepared) if kept is None else kept.matching(prepared, standardise, transform)
    covariance = sums.joint.covariance()
    scale = np.ones(len(signals.nodes)) if transform is not None else signals.scale
    variance = np.diag(covariance)
    varies = variance > SILENT * scale**2
    check_two(signals.nodes[varies], prepared.sites, "signals")
    lags = sums.lags if setting.samples == "autocorrelation" else None
    known = None if lags is None else lags.autocorrelation(sums.joint.mean, variance)[:, varies]
    return Moments(
        prepared=prepared,
        count=sums.joint.count,
        mean=sums.joint.mean[varies],
        covariance=covariance if varies.all() else covariance[np.ix_(varies, varies)],
        varies=varies,
        autocorrelation=known,
        pairs_at_lag=None if lags is None else lags.count,
        heavy=_heavy(prepared, sums.tails),
    )


def gather(prepared: Prepared) -> Sums:
    """Go through the samples once."""
    signals = prepared.signals
    joint = JointMoments(len(signals.nodes))
    tails = {site: Tails(len(plan.mean)) for site, plan in prepared.plans.items()}
    if prepared.setting.part == "between":
        joint.add(class_means(prepared))
        return Sums(joint, None, {})
    lags = _lags(prepared)
    item, position = (prepared.item, prepared.position) if lags is not None else (None, None)
    for start, block in signals.blocks(tails=tails):
        if lags is not None and item is not None and position is not None:
            stop = start + len(block)
            lags.add(block, item[start:stop], position[start:stop])
        joint.add(block)
    return Sums(joint, lags, tails)


def row_sums(prepared: Prepared) -> tuple[Matrix, Matrix, Matrix, npt.NDArray[np.int64]]:
    """Mean and variance of every signal, its autocorrelations [lags, n], the pairs of rows at each lag; one pass."""
    signals = prepared.signals
    n = len(signals.nodes)
    total, squares, lags = np.zeros(n), np.zeros(n), _lags(prepared)
    item, position = (prepared.item, prepared.position) if lags is not None else (None, None)
    for start, block in signals.blocks():
        total += block.sum(axis=0)
        squares += np.einsum("ij,ij->j", block, block)
        if lags is not None and item is not None and position is not None:
            stop = start + len(block)
            lags.add(block, item[start:stop], position[start:stop])
    mean = total / signals.n_rows
    variance = np.maximum(squares / signals.n_rows - mean**2, 0.0)
    if lags is None:
        return mean, variance, np.zeros((0, n)), np.zeros(0, np.int64)
    return mean, variance, lags.autocorrelation(mean, variance), lags.count


def _lags(prepared: Prepared) -> LagSums | None:
    """Sums for the autocorrelation, where it is asked for and items have several rows."""
    if prepared.setting.samples != "autocorrelation":
        return None
    longest = int(np.unique(prepared.item, return_counts=True)[1].max())
    return None if longest < 2 else LagSums(len(prepared.signals.nodes), min(longest - 1, prepared.setting.max_lag))


def _heavy(prepared: Prepared, tails: Mapping[str, Tails]) -> dict[str, Any]:
    """Site -> how many units are heavy-tailed, and the heaviest with their kurtosis."""
    found: dict[str, Any] = {}
    for site, plan in prepared.plans.items():
        if site not in tails:
            continue
        kurtosis = tails[site].kurtosis(plan.spread)
        heavy = np.flatnonzero(kurtosis > HEAVY)
        if len(heavy) == 0:
            continue
        units = heavy if plan.units is None else plan.units[heavy]
        order = np.argsort(-kurtosis[heavy], kind="stable")[:NAMED]
        found[site] = {
            "units": len(heavy),
            "heaviest": {str(units[k]): round(float(kurtosis[heavy[k]]), 1) for k in order},
        }
    return found
