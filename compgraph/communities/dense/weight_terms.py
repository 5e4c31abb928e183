"""What the weights between two blocks cost to describe, by their number, sum and sum of squares.

The microcanonical priors of Peixoto, Phys. Rev. E 97, 012306 (2018), as graph-tool applies them: the values
of a pair of blocks are uniform given their sum (and squares); the sums themselves are described by the same
law one level up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from compgraph.communities.pairs import Floats
from compgraph.errors import GraphError

MODELS = ("real-normal", "real-exponential", "discrete-geometric", "discrete-poisson", "discrete-binomial")

TABLE = 2**20
"""Counts below this have their logarithms of factorials looked up."""


def log_factorial_ratio(n: Floats, k: Floats) -> Floats:
    """ln C(n, k), 0 outside 0 < k < n."""
    from scipy.special import gammaln

    inside = (n > 0) & (k > 0) & (k < n)
    n, k = np.where(inside, n, 2.0), np.where(inside, k, 1.0)
    value: Floats = np.where(inside, gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1), 0.0)
    return value


@dataclass(frozen=True)
class WeightTerms:
    """A weight model, with the constants of one graph.

    Attributes
    ----------
    model
        One of `MODELS`, or None.
    smallest
        Smallest absolute value that is not zero; sums and deviations below a tenth of it count as zero.
    largest
        Largest value: trials of the binomial.
    constant
        Nats that do not depend on the partition.
    topology
        Whether the number of edges of a pair of blocks is described too.
    """

    model: str | None
    smallest: float
    largest: float
    constant: float
    topology: bool

    @classmethod
    def of(cls, model: str | None, values: Floats | None, topology: bool) -> WeightTerms:
        """The terms for a graph with these values, each pair once.

        Raises
        ------
        GraphError
            If a value is not one that the model can describe.
        """
        from scipy.special import gammaln

        if model is None or values is None:
            return cls(None, 0.0, 0.0, 0.0, topology)
        _check(model, values)
        size = np.abs(values[values != 0])
        largest = float(values.max(initial=0.0))
        constant = 0.0
        if model == "discrete-poisson":
            constant = float(gammaln(values + 1).sum())
        elif model == "discrete-binomial":
            constant = -float(log_factorial_ratio(np.full(len(values), largest), values).sum())
        return cls(model, float(size.min()) if len(size) else 0.0, largest, constant, topology)

    @property
    def n_planes(self) -> int:
        """Statistics of a pair of blocks that are used: count, sum, sum of squares."""
        return 1 if self.model is None else 3 if self.model == "real-normal" else 2

    @property
    def n_terms(self) -> int:
        """Additive quantities that `of_pairs` returns."""
        return 1 if self.model is None else 5 if self.model == "real-normal" else 2

    # ---- additive over pairs of blocks --------------------------------------------------------------------

    def of_pairs(self, planes: Floats) -> Floats:
        """Quantities that add up over pairs of blocks.

        Parameters
        ----------
        planes
            float64 [n_planes, ...]: count, sum and sum of squares of each pair of blocks.

        Returns
        -------
        float64 [n_terms, ...]
            Nats; then whether there is an edge; then, of `real-normal`, whether there are two, the square of the
            sum, and the sum of squared deviations.
        """
        count = planes[0]
        terms = np.zeros((self.n_terms, *count.shape))
        terms[0] = self._by_count(count)
        if self.model is None:
            return terms
        terms[1] = count > 0.5
        if self.model == "real-normal":
            self._normal(planes, terms)
            return terms
        terms[0] += self._of_sums(count, planes[1])
        return terms

    def _normal(self, planes: Floats, terms: Floats) -> None:
        count, total, squares = planes
        several = count > 1.5
        deviations = squares - total * total / np.maximum(count, 1.0)
        terms[2] = several
        terms[3] = np.where(count > 0.5, total * total, 0.0)
        terms[4] = np.where(several, deviations, 0.0)
        spread = several & (deviations > 0) & (deviations >= (self.smallest / 10) ** 2)
        logarithm = np.log(np.where(spread, deviations, 1.0))
        terms[0] += np.where(spread, self._normal_by_count(count) + (count - 3) / 2 * logarithm, 0.0)

    def _of_sums(self, count: Floats, total: Floats) -> Floats:
        from scipy.special import gammaln

        some = count > 0.5
        n, x = np.where(some, count, 1.0), np.where(some, total, 0.0)
        if self.model == "real-exponential":
            described = some & (x >= self.smallest / 10) & (count > 1.5)
            value = (n - 1) * np.log(np.where(described, x, 1.0)) - gammaln(n)
            return np.where(described, value, 0.0)
        if self.model == "discrete-geometric":
            return log_factorial_ratio(n - 1 + x, x)
        if self.model == "discrete-poisson":
            return np.where(some, x * np.log(n) - gammaln(x + 1), 0.0)
        return log_factorial_ratio(n * self.largest, x)

    def gradient(self, planes: Floats) -> Floats:
        """Slopes of the nats of each pair of blocks, float64 [n_planes, K, K]: what a little more of each costs."""
        from scipy.special import digamma

        slopes = np.zeros_like(planes)
        some = planes[0] > 0.5
        n = np.where(some, planes[0], 1.0)
        if self.topology:
            slopes[0] = -digamma(n + 1)
        if self.model == "real-normal":
            n = np.maximum(n, 4.0)
            deviations = np.maximum(planes[2] - planes[1] ** 2 / n, self.smallest**2 or 1.0)
            mean = planes[1] / n
            slopes[2] = (n - 3) / 2 / deviations
            slopes[1] = -2 * mean * slopes[2]
            by_count = (math.log(math.pi) - digamma((n - 1) / 2) - 1 / n + np.log(deviations)) / 2
            slopes[0] += by_count + slopes[2] * mean * mean
        elif self.model is not None:
            by_count, by_sum = self._slopes_of_sums(n, np.where(some, planes[1], 0.0))
            slopes[0] += by_count
            slopes[1] = by_sum
        return np.where(some, slopes, 0.0)

    def _slopes_of_sums(self, n: Floats, x: Floats) -> tuple[Floats, Floats]:
        from scipy.special import digamma

        if self.model == "real-exponential":
            x = np.maximum(x, self.smallest or 1.0)
            return np.log(x) - digamma(n), n / x
        if self.model == "discrete-geometric":
            return digamma(n + x) - digamma(n), digamma(n + x) - digamma(x + 1)
        if self.model == "discrete-poisson":
            return x / n, np.log(n) - digamma(x + 1)
        trials = n * self.largest
        failures = digamma(trials - x + 1)
        return self.largest * (digamma(trials + 1) - failures), failures - digamma(x + 1)

    # ---- of all pairs together ----------------------------------------------------------------------------

    def of_totals(self, totals: Floats, whole: float) -> Floats:
        """Nats of the sums of the pairs of blocks.

        Parameters
        ----------
        totals
            Sums of `of_pairs` over pairs of blocks, float64 [n_terms, ...].
        whole
            Sum of all values.
        """
        if self.model is None:
            return np.zeros(totals.shape[1:])
        filled = np.rint(totals[1])
        if self.model == "real-normal":
            several = np.rint(totals[2])
            return self._normal_above(filled, whole, totals[3]) + self._exponential(several, totals[4])
        if self.model == "real-exponential":
            return self._exponential(filled, np.full(filled.shape, whole))
        return log_factorial_ratio(filled - 1 + whole, np.full(filled.shape, whole))

    def _exponential(self, count: Floats, total: Floats) -> Floats:
        from scipy.special import gammaln

        described = (count > 1.5) & (total >= self.smallest / 10) & (total > 0)
        n = np.where(described, count, 2.0)
        return np.where(described, (n - 1) * np.log(np.where(described, total, 1.0)) - gammaln(n), 0.0)

    def _normal_above(self, count: Floats, whole: float, squares: Floats) -> Floats:
        deviations = squares - whole * whole / np.maximum(count, 1.0)
        spread = (count > 1.5) & (deviations > 0) & (deviations >= (self.smallest / 10) ** 2)
        n = np.where(spread, count, 2.0)
        logarithm = np.log(np.where(spread, deviations, 1.0))
        return np.where(spread, _normal_count(n) + (n - 3) / 2 * logarithm, 0.0)

    # ---- functions of a count -----------------------------------------------------------------------------

    def _by_count(self, count: Floats) -> Floats:
        """-ln e! where edges are described."""
        from scipy.special import gammaln

        if not self.topology:
            return np.zeros(count.shape)
        return -_looked_up(count, self._factorials, lambda n: gammaln(n + 1))

    def _normal_by_count(self, count: Floats) -> Floats:
        return _looked_up(count, self._normal_table, _normal_count)

    @cached_property
    def _factorials(self) -> Floats:
        from scipy.special import gammaln

        table: Floats = gammaln(np.arange(TABLE) + 1.0)
        return table

    @cached_property
    def _normal_table(self) -> Floats:
        table = np.zeros(TABLE)
        table[2:] = _normal_count(np.arange(2.0, TABLE))
        return table


def _normal_count(n: Floats) -> Floats:
    """What n values of given sum and squares cost, apart from their spread."""
    from scipy.special import gammaln

    value: Floats = (n - 1) / 2 * math.log(math.pi) - gammaln((n - 1) / 2) - np.log(n) / 2
    return value


def _looked_up(count: Floats, table: Floats, function: Callable[[Floats], Floats]) -> Floats:
    at = np.rint(count).astype(np.int64)
    value: Floats = table[np.clip(at, 0, TABLE - 1)]
    large = at >= TABLE
    if large.any():
        value[large] = function(count[large])
    return value


def _check(model: str, values: Floats) -> None:
    if model not in MODELS:
        raise GraphError(f"sbm: weight model {model!r} is not known; valid are {', '.join(MODELS)}")
    if model != "real-normal" and (values < 0).any():
        raise GraphError(f"sbm: weights {model!r} need values of at least 0; the least is {values.min():.3g}")
    if model.startswith("discrete") and (values != np.rint(values)).any():
        raise GraphError(f"sbm: weights {model!r} need whole numbers, and some of the values are not")
