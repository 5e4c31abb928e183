"""A test of influence by exchange: the source's trials shuffled among the examples.

A surrogate of source u gives every example the series of u from another one of the same length, lags and all, while
target, past and other sources stay. It keeps the law of u's series and of everything else, and breaks what joins them.
The influence of u in the data is compared with that of its surrogates: p = (1 + surrogates that are at least as
strong) / (1 + surrogates).

The null is that u is independent of everything, the other sources too, which is more than that u adds nothing to
them; it assumes no law of the residuals. Signals of all examples
are held in memory. Cost per surrogate: the products of u's lags with all lagged series, and a small form per target.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from compgraph.connectivity.effective.influence import Influence
from compgraph.connectivity.effective.lagged_moments import Array, rows_of
from compgraph.connectivity.effective.time_series import Trials
from compgraph.connectivity.effective.vector_autoregression import Fit, Regression
from compgraph.errors import DataError
from compgraph.progress import track

MAX_BYTES = 2**31
"""Of the lagged series of all rows."""
TIE = 1e-9
"""Surrogates that are as strong as the data up to this share count as strong: an exchange may change nothing."""


class Surrogates:
    """Rows of all data, and which rows a shuffle of the examples exchanges.

    Parameters
    ----------
    series
        All trials.
    found
        The influence to test; its regressions are without penalty.
    max_order
        Lags that rows have.
    by_position
        Whether means are those of a position.

    Raises
    ------
    DataError
        More rows than fit in memory, or hardly any two examples of one length.
    """

    def __init__(self, series: Iterable[Trials], found: Influence, max_order: int, by_position: bool) -> None:
        self.found = found
        pieces, lengths, positions = [], [], []
        size = 0
        for trials in series:
            rows, position = rows_of(trials.values / found.scale, trials.lengths, max_order)
            size += rows.nbytes
            if size > MAX_BYTES:
                raise DataError(
                    f"permutations: lagged series of all examples take more than {MAX_BYTES >> 30} GiB; use "
                    "permutations: 0, fewer examples, a coarser partition or a smaller max_order"
                )
            pieces.append(rows)
            positions.append(position if by_position else np.zeros_like(position))
            lengths.append(np.maximum(trials.lengths - max_order, 0))
        self.rows = _centred(np.concatenate(pieces), np.concatenate(positions))
        self.constant = np.diag(found.gram.products) == 0
        self.rows[:, self.constant] = 0
        self.lengths = np.concatenate(lengths)
        self.starts = np.concatenate([[0], np.cumsum(self.lengths)[:-1]])
        used, counts = np.unique(self.lengths[self.lengths > 0], return_counts=True)
        if counts[counts > 1].sum() < len(self.lengths) / 2:
            raise DataError(
                f"permutations: the {len(self.lengths)} examples have {len(used)} lengths, most of them of one example "
                "alone; series can only be exchanged between examples of equal length: use permutations: 0"
            )

    def shuffled(self, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Row to take in place of every row, examples of one length exchanged."""
        donor = np.arange(len(self.lengths))
        for length in np.unique(self.lengths):
            group = np.flatnonzero(self.lengths == length)
            donor[group] = rng.permutation(group)
        within = np.arange(len(self.rows)) - np.repeat(self.starts, self.lengths)
        return np.repeat(self.starts[donor], self.lengths) + within

    def p_values(self, n_surrogates: int, seed: int, names: tuple[str, ...]) -> Array:
        """[targets, sources], 1 where nothing was estimated."""
        found = self.found
        regressions = [Regression(found.gram, site, found.order, 0.0, names) for site in found.readers]
        fits = [[one.fit(target) for target in one.readers.targets] for one in regressions]
        p = np.ones_like(found.p)
        sources = np.unique(np.concatenate([site.sources for site in found.readers]))
        for source in track(sources, "surrogates", total=len(sources), unit="nodes"):
            rng = np.random.default_rng([seed, int(source)])
            at = found.gram.columns([source], 0, found.order)
            stronger = np.zeros(len(p), dtype=np.int64)
            for _ in range(n_surrogates):
                moved = self.rows[np.ix_(self.shuffled(rng), at)]
                products = moved.T @ self.rows / len(self.rows)
                own = moved.T @ moved / len(self.rows) + np.diag(self.constant[at])
                for regression, fitted in zip(regressions, fits, strict=True):
                    if source in regression.readers.sources:
                        gains = _gains(regression, fitted, int(source), products, own)
                        targets = regression.readers.targets
                        stronger[targets] += gains >= np.expm1(found.log_ratio[targets, source]) * (1 - TIE)
            read = found.tested[:, source]
            p[read, source] = (1 + stronger[read]) / (1 + n_surrogates)
        return p


def _centred(rows: Array, position: npt.NDArray[np.int64]) -> Array:
    for at in np.unique(position):
        chosen = position == at
        rows[chosen] -= rows[chosen].mean(0)
    return rows


def _gains(regression: Regression, fits: list[Fit], source: int, products: Array, own: Array) -> Array:
    """What a surrogate of a source takes off the residual of every target of a site, as a share of what it leaves.

    Parameters
    ----------
    products
        [lags, columns] of the surrogate's lags with all lagged series.
    own
        [lags, lags] of the surrogate with itself.
    """
    gram, order, block = regression.gram, regression.order, regression.block
    k = int(np.flatnonzero(regression.readers.sources == source)[0])
    inside = slice(k * block, (k + 1) * block)
    with_sources = products[:, regression.at]
    with_sources[:, inside] = 0  # the true series is not a regressor beside its surrogate
    pulled = with_sources @ regression.inverse
    shared = pulled @ with_sources.T
    gains = np.empty(len(fits))
    for i, (target, fit) in enumerate(zip(regression.readers.targets, fits, strict=True)):
        past = gram.columns([target], 1, order)
        rest = with_sources @ fit.outer - products[:, past]
        through = fit.outer[inside] @ fit.inner
        inverse = regression.inverse[inside, inside] + through @ fit.outer[inside].T
        along = pulled[:, inside] + rest @ through.T
        w = np.linalg.solve(inverse, fit.sources[inside])
        explained = shared + rest @ fit.inner @ rest.T - along @ np.linalg.solve(inverse, along.T)
        now = gram.columns([target], 0, 0)[0]
        residual = products[:, now] - with_sources @ fit.sources - products[:, past] @ fit.past + along @ w
        gain = residual @ np.linalg.solve(own - explained, residual)
        without = fit.loss + fit.sources[inside] @ w
        gains[i] = gain / (without - gain)
    return gains
