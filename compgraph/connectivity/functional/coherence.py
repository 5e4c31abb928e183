"""Coherence along the text: whether two nodes share rhythms, whatever their phases."""

from __future__ import annotations

import numpy as np

from compgraph.connectivity.functional.memory import check_memory
from compgraph.connectivity.functional.moments import Moments, moments_of
from compgraph.connectivity.functional.pairs import graph_of_moments
from compgraph.connectivity.functional.setting import Setting
from compgraph.connectivity.functional.signals import Matrix
from compgraph.errors import DataError
from compgraph.graph import ComputationalGraph


def compute(setting: Setting, *, window: int = 16, low: float = 0.0, high: float = 0.5) -> ComputationalGraph:
    """Mean magnitude-squared coherence over a band of frequencies (Welch 1967; windows do not overlap).

    Items are cut into windows of consecutive positions; each is centred and tapered (Hann). With cross-spectra S summed
    over windows, C_ij(f) = |S_ij|^2 / (S_ii S_jj), averaged over frequencies in (low, high] cycles per position.

    Parameters
    ----------
    window
        Positions of a window.
    low, high
        Band; frequency 0 is never in it.

    Returns
    -------
    ComputationalGraph
        Without tests. K windows of independent noise have a coherence of 1 / K: the attribute `expected`.

    Raises
    ------
    DataError
        Fewer than two windows, or a band without a frequency.
    """
    if setting.part == "between":
        raise DataError("functional: coherence needs rows in order; part 'between' has none")
    frequencies = np.fft.rfftfreq(window)
    band = np.flatnonzero((frequencies > low) & (frequencies <= high))
    if len(band) == 0:
        raise DataError(
            f"functional: no frequency of a window of {window} positions lies in ({low}, {high}] cycles per position"
        )
    moments = moments_of(setting)
    check_memory(len(moments.covariance) * int(np.ceil(np.sqrt(2 * len(band) * 0.2))))
    spectra, n_windows = cross_spectra(moments, window, band)
    if n_windows < 2:
        raise DataError(
            f"functional: {n_windows} windows of {window} positions in a row; coherence needs at least 2: record "
            "`activations.positions: all`, or take a smaller window"
        )
    about = {"window": window, "band": [low, high], "windows": n_windows, "expected": 1 / n_windows}
    return graph_of_moments(moments, "coherence", _coherence(spectra), attributes=about)


def _coherence(spectra: np.ndarray) -> Matrix:
    power = np.einsum("fii->fi", spectra).real
    scale = power[:, :, None] * power[:, None, :]
    squared = np.divide(np.abs(spectra) ** 2, scale, out=np.zeros(scale.shape), where=scale > 0)
    mean: Matrix = squared.mean(axis=0)
    return mean


def cross_spectra(moments: Moments, window: int, band: np.ndarray) -> tuple[np.ndarray, int]:
    """Sums over windows of the products of Fourier coefficients, complex [frequencies, m, m], and their number."""
    prepared, m = moments.prepared, len(moments.covariance)
    item, position = prepared.item, prepared.position
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    spectra, count = np.zeros((len(band), m, m), dtype=np.complex128), 0
    starts = window_starts(item, position, window)
    held, first = np.zeros((0, m)), 0
    for start, block in moments.blocks():
        held = np.concatenate([held, block[:, moments.varies]])
        stop = start + len(block)
        ready = starts[(starts >= first) & (starts + window <= stop)]
        if len(ready):
            cut = held[(ready - first)[:, None] + np.arange(window)]
            cut = (cut - cut.mean(axis=1, keepdims=True)) * taper[:, None]
            waves = np.fft.rfft(cut, axis=1)[:, band].transpose(1, 0, 2)
            spectra += waves.conj().transpose(0, 2, 1) @ waves
            count += len(ready)
        later = starts[starts + window > stop]
        keep = int(min(later[0], stop)) if len(later) else stop
        held, first = held[keep - first :], keep
    return spectra, count


def window_starts(item: np.ndarray, position: np.ndarray, window: int) -> np.ndarray:
    """First rows of windows: each item's runs of consecutive positions, cut from their beginning."""
    new = np.ones(len(item), dtype=bool)
    new[1:] = (item[1:] != item[:-1]) | (np.diff(position) != 1)
    begins = np.flatnonzero(new)
    lengths = np.diff(begins, append=len(item))
    found = [begin + window * np.arange(length // window) for begin, length in zip(begins, lengths, strict=True)]
    return np.concatenate(found) if found else np.zeros(0, np.int64)
