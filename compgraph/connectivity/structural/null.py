"""What a score would be if the reader were turned at random: the null of every structural edge.

Writer and reader keep their shapes and singular values; how their spaces lie to each other is drawn uniformly from
all rotations of the residual stream (orthogonal to the vector of ones where a LayerNorm centres). With M and N the
Gram matrices Aᵀ A and B Bᵀ over their traces, and Q uniform on the orthogonal group of dimension d, the squared
normalised Frobenius score is s² = tr(M Q N Qᵀ), whose first three moments are exact: with M0 = M - I/d, N0 = N - I/d,

    E s² = 1/d        Var s² = 2 tr(M0²) tr(N0²) / ((d - 1)(d + 2))
    E (s² - 1/d)³ = 8 d tr(M0³) tr(N0³) / ((d - 1)(d + 2)(d - 2)(d + 4))

since traceless symmetric matrices are an irreducible representation with one quadratic and one cubic invariant.
Tails are those of the gamma distribution (Pearson type III) with these three moments (`Draws`: estimated ones, for
scores without closed forms); of two single vectors they are
exact, s² having the distribution Beta(1/2, (d - 1)/2). The gamma's support is unbounded and that of s² is not, so
that far tails are too long rather than too short.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import special

from compgraph.connectivity.structural.vectors import Vectors

Array = npt.NDArray[np.float64]

FLAT = 1e-12
"""Variance, as a share of the squared mean, below which a score cannot vary: its spectrum is that of the identity."""


@dataclass
class Spectrum:
    """Of each part's Gram matrix M over its trace: tr(M²) and tr(M³), float64 [n_parts]; NaN without vectors."""

    second: Array
    third: Array

    @classmethod
    def of(cls, vectors: Vectors) -> Spectrum:
        """From vectors."""
        if vectors.single:
            live = np.where(vectors.squares.double().numpy() > 0, 1.0, np.nan)
            return cls(live, live)
        second, third = np.full((2, vectors.n_parts), np.nan)
        for k, (a, b) in enumerate(vectors.ranges()):
            rows = vectors.values[a:b].double()
            gram = rows @ rows.T
            if trace := float(gram.trace()):
                gram /= trace
                square = gram @ gram
                second[k], third[k] = float(square.trace()), float((square * gram).sum())
        return cls(second, third)

    @classmethod
    def rank_one(cls, n_parts: int) -> Spectrum:
        """Of single vectors."""
        return cls(np.ones(n_parts), np.ones(n_parts))

    @property
    def column(self) -> Spectrum:
        """As a column [n_parts, 1], to be met by the row of another."""
        return Spectrum(self.second[:, None], self.third[:, None])


@dataclass
class Moments:
    """Mean, variance and third central moment of squared scores under the null; arrays of one shape.

    `freedom`: degrees of freedom that the variance was estimated with; infinite where it is exact.
    """

    mean: Array
    variance: Array
    third: Array
    freedom: float = np.inf

    @classmethod
    def haar(cls, one: Spectrum, other: Spectrum, dimension: int) -> Moments:
        """Of the edges between parts with these spectra, which are broadcast. NaN where it is not defined."""
        d = float(dimension)
        second, third = (a * b for a, b in zip(_traceless(one, d), _traceless(other, d), strict=True))
        mean = np.where(np.isnan(second), np.nan, 1 / d)
        if dimension < 3:
            return cls(mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan))
        variance = 2 * second / ((d - 1) * (d + 2))
        return cls(mean, variance, 8 * d * third / ((d - 1) * (d + 2) * (d - 2) * (d + 4)))

    def relative(self) -> Moments:
        """Of the scores over their mean."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return Moments(self.mean / self.mean, self.variance / self.mean**2, self.third / self.mean**3)

    def times(self, other: Moments) -> Moments:
        """Of the product with something independent; both of mean 1, and broadcast."""
        square: Array = (1 + self.variance) * (1 + other.variance)
        cube: Array = (1 + 3 * self.variance + self.third) * (1 + 3 * other.variance + other.third)
        return Moments(self.mean * other.mean, np.subtract(square, 1.0), np.add(cube - 3 * square, 2.0))

    def z(self, squares: Array) -> Array:
        """Standardised squared scores; NaN where nothing varies."""
        with np.errstate(divide="ignore", invalid="ignore"):
            z = (squares - self.mean) / np.sqrt(self.variance)
            return np.where(self.variance > FLAT * self.mean**2, z, np.nan)

    def upper(self, squares: Array) -> Array:
        """Probability of a squared score at least as large, by the gamma with these moments; NaN as `z`.

        If they were estimated, the normal deviate with the gamma's probability is taken for one of Student's t.
        """
        z = self.z(squares)
        with np.errstate(divide="ignore", invalid="ignore"):
            skewness = self.third / self.variance**1.5
        p = pearson_tail(z, skewness)
        if np.isinf(self.freedom):
            return p
        return np.asarray(special.stdtr(self.freedom, special.ndtri(np.maximum(p, np.finfo(float).tiny))), np.float64)


class Draws:
    """Moments from draws of squared scores, of which none is kept.

    Parameters
    ----------
    reference
        Numbers near the scores, from which sums of powers are taken.
    """

    def __init__(self, reference: Array) -> None:
        self.reference, self.n = reference, 0
        self.sums = np.zeros((3, *reference.shape))

    def add(self, squares: Array) -> None:
        """One more draw of all scores."""
        off = squares - self.reference
        power = off.copy()
        for row in self.sums:
            row += power
            power *= off
        self.n += 1

    def moments(self) -> Moments:
        """Those of the null.

        The variance is that of one more draw around the mean of these. Third moments of few draws are noise, so that
        all scores share their mean skewness.
        """
        mean, second, third = self.sums / self.n
        spread = np.maximum(second - mean**2, 0)
        live = spread > FLAT * (mean + self.reference) ** 2
        cubes = (third - 3 * mean * second + 2 * mean**3)[live] / spread[live] ** 1.5
        small = (self.n * (self.n - 1)) ** 0.5 / max(1, self.n - 2)  # few draws show less skewness than there is
        skewness = small * float(cubes.mean()) if live.any() else 0.0
        variance = spread * (self.n + 1) / (self.n - 1)
        return Moments(self.reference + mean, variance, skewness * variance**1.5, self.n - 1)


def _traceless(spectrum: Spectrum, d: float) -> tuple[Array, Array]:
    """tr(M0²) and tr(M0³) of M0 = M - I/d."""
    second = np.maximum(spectrum.second - 1 / d, 0)
    return second, spectrum.third - 3 * spectrum.second / d + 2 / d**2


def pearson_tail(z: Array, skewness: Array) -> Array:
    """P(Z >= z) for Z of mean 0, variance 1, a skewness and Pearson type III (shifted gamma)."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        shape = np.minimum(4 / skewness**2, 1e8)  # beyond, the normal distribution to eight digits
        at = np.maximum(shape + np.abs(skewness) / skewness * z * np.sqrt(shape), 0)
        tail = np.where(skewness > 0, special.gammaincc(shape, at), special.gammainc(shape, at))
    return np.where(np.abs(skewness) < 2e-4, special.ndtr(-z), np.where(np.isnan(z), np.nan, tail))


def cosine_tail(squares: Array, dimension: int) -> Array:
    """P(cos² >= square) of two directions in `dimension` dimensions: exact."""
    tail: Array = special.betainc((dimension - 1) / 2, 0.5, np.clip(1 - squares, 0, 1))
    return tail


def significance(squares: Array, one: Spectrum, other: Spectrum, dimension: int) -> tuple[Array, Array]:
    """z of squared scores, and the probability of one at least as large; spectra are broadcast."""
    moments = Moments.haar(one, other, dimension)
    p = moments.upper(squares)
    exact = np.minimum(one.second, other.second) > 1 - 1e-9
    if dimension > 1 and exact.any():
        p = np.where(exact, cosine_tail(squares, dimension), p)
    return moments.z(squares), p


def rotations(dimension: int, draws: int, seed: int, *, centred: bool) -> list[torch.Tensor]:
    """Uniform rotations of the stream, float64 [width, width]; where centred the width is the dimension + 1."""
    found = []
    for draw in range(draws):
        drawn = np.random.default_rng([seed, draw]).standard_normal((dimension, dimension))
        q, r = np.linalg.qr(drawn)
        q = q * np.sign(np.diag(r))
        if centred:
            basis = _complement(dimension + 1)
            q = basis @ q @ basis.T
        found.append(torch.from_numpy(q))
    return found


def _complement(width: int) -> Array:
    """Orthonormal columns [width, width - 1], all orthogonal to the vector of ones (Helmert's)."""
    k = np.arange(1, width)
    basis = np.triu(np.ones((width, width - 1))) / np.sqrt(k * (k + 1))
    basis[k, k - 1] = -np.sqrt(k / (k + 1))
    return basis
