"""Vector autoregression along the order of a network, and what it loses without one source.

The signal of node v at a position is regressed on its own past (lags 1 … p) and on its *admissible sources*, the nodes
that the architecture lets v read, at lags 0 … p. Lag 0 is admissible because information moves within a position, from
lower sites to higher ones: the order of the sites is a causal order, and only what comes before v in it, or earlier in
time, can be a cause. What each source adds, given all others, follows from one inverse per site, by blocks: no
regression is fitted twice, none per edge.

With X the regressors, y the target, M = (XᵀX + λ)⁻¹, β = M Xᵀy and B the columns of one source, the coefficients
without B are β - a with a = M_{·B} M_{BB}⁻¹ β_B. On any rows with moments of their own (the same, or held-out ones)

    RSS without B - RSS = 2 aᵀXᵀ(y - Xβ) + aᵀXᵀX a.

Without a penalty and on the same rows that is β_Bᵀ M_{BB}⁻¹ β_B, and F tests are exact for Gaussian residuals. A
penalty (λ in units of a signal's variance) shrinks both models by unequal amounts, and the in-sample ratio has no known
law. So with λ > 0 each half of the data is predicted by coefficients of the other, and the test is whether the residual
without the source is correlated with what the source would add (the encompassing test of Clark and West 2007), a normal
deviate given the other half. A penalty also leaves some of the other sources' effect in the residual, which a source
that is correlated with them can pick up: small penalties, or none where the data allow.

An own past differs from target to target: it is added to a site's inverse as a low-rank block (Schur complement).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.linalg import lapack

from compgraph.connectivity.effective.lagged_moments import Array, Gram
from compgraph.errors import DataError

COLLINEAR = 1e-10
"""Least share of a regressor's variance that the other regressors must leave."""
FLOOR = 1e-12
"""Least residual variance, as a share of a signal's: what rounding leaves of a target that is predicted exactly."""
PENALTIES = 10.0 ** np.arange(-5, 0.1, 0.5)
"""What generalised cross-validation chooses from."""


@dataclass(frozen=True)
class Readers:
    """Nodes that have the same admissible sources: those of one site.

    Attributes
    ----------
    targets, sources
        Node numbers.
    """

    targets: npt.NDArray[np.int64]
    sources: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Fit:
    """Regression of one target: coefficients of the sources and of the own past, and the parts of its inverse.

    Attributes
    ----------
    sources, past
        Coefficients.
    outer
        F = (inverse of the sources) (products of sources and own past), [sources · lags, p].
    inner
        Inverse of the own past given the sources, [p, p].
    loss
        Mean squared residual on the rows it was fitted to.
    n_past
        Lags of the own past that vary.
    """

    sources: Array
    past: Array
    outer: Array
    inner: Array
    loss: float
    n_past: int


class Regression:
    """Regressions of the nodes of one site.

    Parameters
    ----------
    gram
        Moments of standardised signals.
    readers
        Targets and sources.
    order
        Lags p.
    ridge
        Penalty λ.
    names
        Of nodes, for messages.

    Attributes
    ----------
    varying
        int [sources] lags of each source that vary; the others have coefficient 0.

    Raises
    ------
    DataError
        Without a penalty, regressors that are linear combinations of each other.
    """

    def __init__(self, gram: Gram, readers: Readers, order: int, ridge: float, names: Sequence[str]) -> None:
        self.gram, self.readers, self.order, self.ridge, self.names = gram, readers, order, ridge, names
        self.at = gram.columns(readers.sources, 0, order)
        self.block = order + 1
        self.products = gram.products[np.ix_(self.at, self.at)]
        self.varying = (np.diag(self.products) > 0).reshape(-1, self.block).sum(1)
        self.inverse = self._inverse(self.products, self.at)

    def _inverse(self, products: Array, columns: npt.NDArray[np.int64]) -> Array:
        """Inverse of products plus the penalty; `columns` say whose, for the check and its message."""
        own = self.gram.products[columns, columns] + self.ridge
        own = np.where(own > 0, own, 1.0)  # what does not vary is uncorrelated with all: any number makes it 0
        penalised = products + np.diag(np.where(self.gram.products[columns, columns] > 0, self.ridge, own))
        factor, failed = lapack.dpotrf(penalised, lower=1)
        inverse, _ = lapack.dpotri(factor, lower=1)
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        left = 1 / (np.diag(inverse) * own)
        if failed or not (left > COLLINEAR).all():
            worst = (failed - 1) if failed else int(np.argmin(np.where(np.isfinite(left), left, 0)))
            node, lag = divmod(int(columns[worst]), self.gram.n_lags)
            raise DataError(
                f"the signal of {self.names[node]} at lag {lag} is a linear combination of other regressors; take "
                "a ridge above 0, another signal or a coarser partition"
            )
        return inverse

    def fit(self, target: int) -> Fit:
        """Coefficients of one target."""
        g = self.gram.products
        own, now = self.gram.columns([target], 1, self.order), self.gram.columns([target], 0, 0)[0]
        cross = g[np.ix_(self.at, own)]
        outer = self.inverse @ cross
        inner = self._inverse(g[np.ix_(own, own)] - cross.T @ outer, own)
        past = inner @ (g[own, now] - outer.T @ g[self.at, now])
        sources = self.inverse @ g[self.at, now] - outer @ past
        explained = sources @ g[self.at, now] + past @ g[own, now]
        loss = g[now, now] - explained - self.ridge * (sources @ sources + past @ past)
        n_past = int((np.diag(g)[own] > 0).sum())
        return Fit(sources, past, outer, inner, max(float(loss), FLOOR * g[now, now]), n_past)

    def degrees_of_freedom(self, fit: Fit) -> float:
        """Trace of the matrix that turns the target into its fitted values."""
        if self.ridge == 0:
            return float(self.varying.sum() + fit.n_past)
        trace = np.trace(self.inverse) + np.trace(fit.inner) + np.vdot(fit.outer @ fit.inner, fit.outer)
        return float(len(self.at) + self.order - self.ridge * trace)

    @cached_property
    def _blocks(self) -> Array:
        """Diagonal blocks of the inverse, one per source: [sources, p + 1, p + 1]."""
        return _diagonal(self.inverse, self.block)

    def _blocks_on(self, gram: Gram) -> Array:
        """Diagonal blocks of inverse · products · inverse, with products of the given rows."""
        if gram is not self.gram:
            there = gram.products[np.ix_(self.at, self.at)]
            return _diagonal(self.inverse @ there @ self.inverse, self.block)
        if self.ridge == 0:
            return self._blocks
        return self._blocks - self.ridge * _diagonal(self.inverse @ self.inverse, self.block)

    def without_each(self, gram: Gram) -> list[Losses]:
        """What the regressions of all targets lose without each of their sources, on the rows of `gram`."""
        blocks = self._blocks_on(gram)
        return [self._losses(target, gram, blocks) for target in self.readers.targets]

    def _losses(self, target: int, gram: Gram, blocks: Array) -> Losses:
        fit, g, size = self.fit(target), gram.products, self.block
        own, now = gram.columns([target], 1, self.order), gram.columns([target], 0, 0)[0]
        products, cross = g[np.ix_(self.at, self.at)], g[np.ix_(self.at, own)]
        left = g[self.at, now] - products @ fit.sources - cross @ fit.past  # Xᵀ(y - Xβ), sources and own past
        left_own = g[own, now] - cross.T @ fit.sources - g[np.ix_(own, own)] @ fit.past
        loss = g[now, now] - fit.sources @ (g[self.at, now] + left) - fit.past @ (g[own, now] + left_own)

        outer = fit.outer.reshape(-1, size, self.order)
        through = outer @ fit.inner  # F_B (own past's inverse)
        inverse = self._blocks + through @ outer.transpose(0, 2, 1)
        w = np.linalg.solve(inverse, fit.sources.reshape(-1, size, 1))[..., 0]
        along = self.inverse @ left + fit.outer @ (fit.inner @ (fit.outer.T @ left - left_own))
        first = (w * along.reshape(-1, size)).sum(1)

        there = products @ fit.outer - cross
        mixed = (self.inverse @ there).reshape(-1, size, self.order) @ through.transpose(0, 2, 1)
        corner = fit.outer.T @ there - (cross.T @ fit.outer - g[np.ix_(own, own)])
        whole = blocks + mixed + mixed.transpose(0, 2, 1) + through @ corner @ through.transpose(0, 2, 1)
        second = np.einsum("sb,sbc,sc->s", w, whole, w)
        return Losses(max(float(loss), FLOOR * g[now, now]), first, np.maximum(second, 0.0))


@dataclass(frozen=True)
class Losses:
    """Mean squared residuals of one target, and what each source changes.

    Attributes
    ----------
    full
        With all sources.
    first, second
        [sources] aᵀXᵀ(y - Xβ) and aᵀXᵀX a per row; without a source the loss is full + 2 first + second.
    """

    full: float
    first: Array
    second: Array

    @property
    def without(self) -> Array:
        """Mean squared residual without each source."""
        return np.maximum(self.full + 2 * self.first + self.second, self.full * FLOOR)


def _diagonal(matrix: Array, size: int) -> Array:
    """Blocks on the diagonal: [n · size, n · size] -> [n, size, size]."""
    n = len(matrix) // size
    at = np.arange(n)
    return matrix.reshape(n, size, n, size)[at, :, at, :]


def fit_all(
    gram: Gram, readers: Sequence[Readers], order: int, ridge: float, names: Sequence[str]
) -> tuple[Array, Array]:
    """Residual variance and degrees of freedom of every target, site by site."""
    losses, freedom = [], []
    for site in readers:
        regression = Regression(gram, site, order, ridge, names)
        for target in site.targets:
            fit = regression.fit(target)
            losses.append(fit.loss)
            freedom.append(regression.degrees_of_freedom(fit))
    return np.array(losses), np.array(freedom)


def choose_order(
    gram: Gram, readers: Sequence[Readers], max_order: int, ridge: float, criterion: str, names: Sequence[str]
) -> int:
    """Number of lags, 1 … max_order, with the smallest BIC or AIC summed over all targets; `max`: the largest.

    All orders are compared on the same rows, those that have max_order positions before them.
    """
    if criterion == "max" or max_order == 1:
        return max_order
    price = np.log(gram.n) if criterion == "bic" else 2.0
    scores = []
    for order in range(1, max_order + 1):
        loss, freedom = fit_all(gram, readers, order, ridge, names)
        scores.append(float((gram.n * np.log(loss) + price * freedom).sum()))
    return 1 + int(np.argmin(scores))


def choose_penalty(gram: Gram, readers: Sequence[Readers], order: int, names: Sequence[str]) -> float:
    """Penalty with the smallest generalised cross-validation score, its logarithm summed over all targets."""
    scores = []
    for ridge in PENALTIES:
        loss, freedom = fit_all(gram, readers, order, float(ridge), names)
        left = gram.n - gram.n_intercepts - freedom
        scores.append(np.inf if (left <= 0).any() else float((np.log(loss) - 2 * np.log(left / gram.n)).sum()))
    if not np.isfinite(scores).any():
        raise DataError(
            f"{gram.n} samples leave no degree of freedom under any penalty; take more examples or a smaller max_order"
        )
    return float(PENALTIES[int(np.argmin(scores))])


def check_samples(gram: Gram, readers: Sequence[Readers], order: int, *, per_coefficient: int, what: str) -> None:
    """Refuse too few samples for the number of coefficients.

    Raises
    ------
    DataError
        Fewer rows than `per_coefficient` times the coefficients of the largest regression (at least 10), means aside.
    """
    largest = max(len(site.sources) for site in readers) * (order + 1) + order
    usable, needed = gram.n - gram.n_intercepts, max(10, per_coefficient * largest)
    if usable < needed:
        raise DataError(
            f"{what}: {gram.n} samples less {gram.n_intercepts} means are too few for {largest} coefficients at "
            f"max_order {order}; at least {needed} are needed: take more or longer examples, a smaller max_order, a "
            "coarser partition or a ridge above 0"
        )


def check_numbers(max_order: int, ridge: float, fdr: float, **words: tuple[str, tuple[str, ...]]) -> None:
    """Refuse values that no regression can have.

    Raises
    ------
    DataError
        Naming the option.
    """
    if max_order < 1:
        raise DataError(f"max_order is {max_order}; it must be at least 1")
    if not 0 <= ridge < np.inf:
        raise DataError(f"ridge is {ridge}; it must be a number of at least 0")
    if not 0 < fdr < 1:
        raise DataError(f"fdr is {fdr}; it must lie between 0 and 1")
    for name, (value, valid) in words.items():
        if value not in valid:
            raise DataError(f"{name} {value!r} is not known; valid are {', '.join(valid)}")
