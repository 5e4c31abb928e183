"""Whether Markov chains of partitions have forgotten where they started."""

from __future__ import annotations

import math

import numpy as np

from compgraph.communities.pairs import Floats

SHRINK = 1.1
"""Chains agree if the potential scale reduction is below this (Gelman & Rubin 1992)."""

FEWEST = 25.0
"""Independent samples that each chain must be worth."""


STILL = 1e-3
"""Lengths that deviate by less (nats) do not change: graph-tool's sums of weights drift by rounding."""


def autocorrelation_time(series: Floats) -> float:
    """1 + 2 times the sum of autocorrelations, cut by the initial positive sequence of pairs (Geyer 1992); in samples.

    1 for independent samples, and for a series that never changes.
    """
    n = len(series)
    centred = series - series.mean()
    variance = float(centred @ centred) / n if n else 0.0
    if n < 4 or variance <= STILL**2:
        return 1.0
    spectrum = np.fft.rfft(centred, 2 * n)
    correlation = np.fft.irfft(spectrum * spectrum.conj())[:n] / (n * variance)
    pairs = correlation[: 2 * (n // 2)].reshape(-1, 2).sum(axis=1)
    stop = int(np.argmax(pairs <= 0)) if (pairs <= 0).any() else len(pairs)
    return max(1.0, float(2 * pairs[:stop].sum() - 1))


def effective_samples(series: Floats) -> float:
    """How many independent samples a chain is worth; one that never moves is worth all of them."""
    return len(series) / autocorrelation_time(series)


def scale_reduction(chains: Floats) -> float:
    """Potential scale reduction of chains of equal lengths, float64 [chains, samples]; NaN for one chain.

    Each chain is halved, so that a drift inside one shows too.
    """
    half = chains.shape[1] // 2
    if len(chains) < 2 or half < 2:
        return math.nan
    parts = np.concatenate([chains[:, :half], chains[:, -half:]])
    within = float(parts.var(axis=1, ddof=1).mean())
    between = float(parts.mean(axis=1).var(ddof=1))
    if within <= STILL**2:
        return 1.0 if between <= STILL**2 else math.inf
    return math.sqrt((half - 1) / half + between / within)
