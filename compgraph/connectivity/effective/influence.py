"""How much every admissible source helps to predict every node: what `granger` and `transfer-entropy` share.

The statistic of source u and target v is the log ratio of the residual variances of v without and with u
(`vector_autoregression`), conditional on v's past and on all other admissible sources of v. Nodes whose signal does not
vary, dead features among them, are left out: their edges score 0 with p = 1. A lag at which a signal does not vary (a
feature that is active at one position only) is a regressor with coefficient 0 and costs no degree of freedom.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from compgraph.architectural import architectural_edges
from compgraph.connectivity.effective.lagged_moments import Array, Gram, Moments
from compgraph.connectivity.effective.vector_autoregression import (
    Readers,
    Regression,
    check_numbers,
    check_samples,
    choose_order,
    choose_penalty,
)
from compgraph.errors import DataError
from compgraph.graph import ComputationalGraph
from compgraph.models.network import Network
from compgraph.multiple_testing import benjamini_hochberg
from compgraph.partition import HasArchitecture, Partition
from compgraph.patterns import pattern_of, served_parts, with_patterns

CRITERIA = ("bic", "aic", "max")
INTERCEPTS = ("position", "constant")
CONSTANT = 1e-12
"""A signal whose variance is less than this share of its squared mean does not vary."""
Test = Literal["f", "chi2"]


@dataclass(frozen=True)
class SeriesOptions:
    """What series are, and how they are regressed: the options that `granger` and `transfer-entropy` share.

    Attributes
    ----------
    max_order, criterion
        Most lags, and how their number is chosen: `bic`, `aic`, or `max` for max_order itself.
    intercept
        Means removed: one per `position` of an example, or a `constant`.
    ridge, choose_ridge
        Penalty on the coefficients, in units of a signal's variance, or whether to choose it by generalised
        cross-validation.
    fdr
        False discovery rate of the column `significant`.
    signal, readout
        What a node's number is: `norm`, `mean` or `pc`; of `logits`, the `metric` or the `entropy` of the output
        (`time_series`).

    Raises
    ------
    DataError
        A number or word that is not valid.
    """

    max_order: int = 2
    criterion: str = "bic"
    intercept: str = "position"
    ridge: float = 0.0
    choose_ridge: bool = False
    fdr: float = 0.05
    signal: str = "norm"
    readout: str = "metric"

    def __post_init__(self) -> None:
        words = {"criterion": (self.criterion, CRITERIA), "intercept": (self.intercept, INTERCEPTS)}
        check_numbers(self.max_order, self.ridge, self.fdr, **words)
        if self.ridge > 0 and self.choose_ridge:
            raise DataError(f"ridge is {self.ridge} and choose_ridge is true; give one of them")

    @property
    def by_position(self) -> bool:
        """Whether means are those of a position."""
        return self.intercept == "position"

    @property
    def penalised(self) -> bool:
        """Whether coefficients are shrunk, and scores therefore held out."""
        return self.ridge > 0 or self.choose_ridge


@dataclass(frozen=True)
class Influence:
    """What sources add to the prediction of targets.

    Attributes
    ----------
    log_ratio, p
        [targets, sources] in nats, and one-sided p-values; 0 and 1 where nothing was estimated.
    tested
        bool [targets, sources].
    order, ridge
        Lags and penalty.
    readers
        The regressions, without constant nodes.
    gram
        Moments of standardised signals, all data.
    scale
        [nodes] what signals were divided by.
    """

    log_ratio: Array
    p: Array
    tested: npt.NDArray[np.bool_]
    order: int
    ridge: float
    readers: list[Readers]
    gram: Gram
    scale: Array

    def about(self) -> dict[str, Any]:
        """Attributes of a graph."""
        return {
            "order": self.order,
            "ridge": self.ridge,
            "held_out": self.ridge > 0,
            "n_samples": self.gram.n,
            "n_tested": int(self.tested.sum()),
        }


def readers_of(net: HasArchitecture, partition: Partition) -> list[Readers]:
    """Admissible sources of the nodes of every site that reads, patterns included (`compgraph.patterns`)."""
    architecture, partition = with_patterns(net, partition)

    def nodes(sites: Iterable[str]) -> npt.NDArray[np.int64]:
        ranges = [np.arange(at.start, at.stop) for at in (partition.node_slice(site) for site in sites)]
        return np.sort(np.concatenate(ranges)).astype(np.int64)

    found = []
    for site in partition.sites:
        sources = [name for name in architecture.reads.get(site, ()) if name != pattern_of(site)]
        if pattern_of(site) in partition.labels:
            served = served_parts(architecture.site(site), partition)
            patterns = nodes([pattern_of(site)])
            for row in np.unique(served, axis=0):  # parts that the same patterns serve have the same sources
                targets = nodes([site])[(served == row).all(1)]
                found.append(Readers(targets, np.sort(np.concatenate([nodes(sources), patterns[row]]))))
        elif sources:
            found.append(Readers(nodes([site]), nodes(sources)))
    return found


def estimate(
    moments: Moments, readers: Sequence[Readers], names: Sequence[str], options: SeriesOptions, test: Test, what: str
) -> Influence:
    """Log ratios and p-values of all admissible pairs.

    Parameters
    ----------
    moments
        Of all data, with `options.max_order` lags.
    readers, names
        Targets and sources by number, and the names of all nodes.
    test
        Without a penalty: `f`, exact for Gaussian residuals, or `chi2`, the large-sample law of the log ratio times the
        degrees of freedom that are left.
    what
        The method, for messages.

    Raises
    ------
    DataError
        Too few samples, no node that varies, or regressors that are combinations of each other.
    """
    whole = moments.whole()
    assert moments.shift is not None
    varies = whole.variance > np.maximum(CONSTANT * moments.shift**2, 0)
    scale = np.where(varies, np.sqrt(np.where(varies, whole.variance, 1.0)), 1.0)
    varying = [Readers(r.targets[varies[r.targets]], r.sources[varies[r.sources]]) for r in readers]
    varying = [r for r in varying if len(r.targets) and len(r.sources)]
    if not varying:
        raise DataError(
            f"{what}: no node and source of it have signals that vary over positions; nothing can be estimated"
        )
    gram = whole.scaled(scale)
    halves = [moments.half(k).scaled(scale) for k in (0, 1)] if options.penalised else []
    for rows in halves or [gram]:
        check_samples(rows, varying, options.max_order, per_coefficient=0 if halves else 2, what=what)
    ridge = choose_penalty(gram, varying, options.max_order, names) if options.choose_ridge else options.ridge
    order = choose_order(gram, varying, options.max_order, ridge, options.criterion, names)

    n = len(names)
    log_ratio, p, tested = np.zeros((n, n)), np.ones((n, n)), np.zeros((n, n), dtype=bool)
    for site in varying:
        at = np.ix_(site.targets, site.sources)
        tested[at] = True
        found = _held_out(halves, site, order, ridge, names) if halves else _in_sample(gram, site, order, names, test)
        log_ratio[at], p[at] = found
    return Influence(log_ratio, p, tested, order, ridge, varying, gram, scale)


def _in_sample(gram: Gram, site: Readers, order: int, names: Sequence[str], test: Test) -> tuple[Array, Array]:
    """Log ratios and p-values [targets, sources] of unpenalised regressions on the rows they were fitted to."""
    regression = Regression(gram, site, order, 0.0, names)
    freedom = [regression.degrees_of_freedom(regression.fit(target)) for target in site.targets]
    left, size = gram.n - gram.n_intercepts - np.array(freedom)[:, None], regression.varying
    losses = regression.without_each(gram)
    ratio = np.stack([one.without / one.full for one in losses])
    if test == "f":
        p = stats.f.sf((ratio - 1) * left / size, size, left)
    else:
        p = stats.chi2.sf(left * np.log(ratio), size)
    return np.log(ratio), p


def _held_out(
    halves: Sequence[Gram], site: Readers, order: int, ridge: float, names: Sequence[str]
) -> tuple[Array, Array]:
    """Log ratios and p-values [targets, sources] of penalised regressions, each half predicted from the other."""
    full, without, z = (np.zeros((len(site.targets), n)) for n in (1, len(site.sources), len(site.sources)))
    for fitted, other in ((0, 1), (1, 0)):
        regression, rows = Regression(halves[fitted], site, order, ridge, names), halves[other]
        losses = regression.without_each(rows)
        first, second = (np.stack([getattr(one, name) for one in losses]) for name in ("first", "second"))
        here = np.stack([one.without for one in losses])
        full = full + rows.n * np.array([one.full for one in losses])[:, None]
        without = without + rows.n * here
        spread = np.sqrt(here * second)
        root = np.sqrt(rows.n - rows.n_intercepts)
        z = z + root * np.divide(first + second, spread, out=np.zeros_like(spread), where=spread > 0)
    return np.log(without / full), survival_of_halves(z, order + 1)


def survival_of_halves(total: Array, size: int) -> Array:
    """P-values of the sum of the two halves' deviates, for sources of `size` columns that have no effect.

    Each deviate is standard normal given the other half, but the two are not independent: with z_A and z_B what the
    halves say of the source's coefficients (whitened, standard normal in `size` dimensions), they are |z_B| cos and
    |z_A| cos of one and the same angle, which is independent of the lengths. The sum is tabulated and interpolated.

    It is a large-sample law: with few samples per coefficient p-values are a little too small (of pairs without effect
    7 % fall below 0.05 where each half has 6 samples per coefficient, 5 % where it has 60).
    """
    at, log_survival = _table_of_halves(size)
    upper = np.exp(np.interp(np.abs(total), at, log_survival, right=-np.inf))
    return np.where(total >= 0, upper, 1 - upper)


@lru_cache
def _table_of_halves(size: int) -> tuple[Array, Array]:
    """(values, log of the probability that the sum is larger)."""
    step, top = 0.02, 20.0 + np.sqrt(size)
    radius = (np.arange(int(top / step)) + 0.5) * step
    density = stats.chi.pdf(radius, size) * step
    weight = np.convolve(density, density)  # of |z_A| + |z_B|, at sums of midpoints
    length = 2 * radius[0] + step * np.arange(len(weight))
    at = np.arange(0, 2 * top - 1, 0.1)
    share = np.minimum(at[:, None] / length, 1.0)
    beyond = 0.5 * special.betainc((size - 1) / 2, 0.5, 1 - share**2) if size > 1 else 0.5 * (share < 1)
    with np.errstate(divide="ignore"):
        return at, np.log(beyond @ weight / weight.sum())


def graph_of(
    net: Network,
    partition: Partition,
    influence: Influence,
    *,
    weight: Array,
    p: Array,
    fdr: float,
    split_qkv: bool,
    attributes: dict[str, Any],
) -> ComputationalGraph:
    """Graph of all architectural edges, weights and p-values [targets, sources]; all channels share a pair's score.

    Discoveries are controlled over the pairs that were tested, each counted once.
    """
    q = np.ones_like(p)
    q[influence.tested] = benjamini_hochberg(p[influence.tested])
    source, target, _ = architectural_edges(net, partition, split_qkv)
    at = (target, source)
    return ComputationalGraph.from_architecture(
        net,
        partition,
        weight[at],
        split_qkv=split_qkv,
        kind="effective",
        attributes=attributes | influence.about() | {"fdr": fdr, "split_qkv": split_qkv},
        columns={"p": p[at], "q": q[at], "significant": q[at] <= fdr},
    )
