"""ROIs by spectral clustering of a graph of the units."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from compgraph.rois.graphs import unit_graph
from compgraph.rois.number import Number, bounds
from compgraph.rois.signals import Floats, Units


def find(units: Units, n_rois: Number, seed: int, *, graph: str = "knn", **of_graph: Any) -> npt.NDArray[np.integer]:
    """Normalised cuts through scikit-learn (Shi & Malik 2000; k-means on eigenvectors).

    Parameters
    ----------
    units
        What is divided.
    n_rois
        Number of ROIs, or a range. In a range, or without one, the number k is where the eigenvalues of the normalised
        Laplacian leave the largest gap between the k smallest and the next.
    seed
        Of the k-means.
    graph, of_graph
        `compgraph.rois.graphs.unit_graph`. Negative weights count as none: they are no affinity.

    Returns
    -------
    int [n]
    """
    from sklearn.cluster import SpectralClustering

    if units.n == 1:
        return np.zeros(1, np.int64)
    affinity = np.maximum(unit_graph(units, graph, **of_graph).matrix(), 0)
    low, high = bounds(n_rois) or (1, max(1, units.n // 2))
    number = low if low == high else low + eigengap(affinity, low, high)
    if number in (1, units.n):
        return np.zeros(units.n, np.int64) if number == 1 else np.arange(units.n)
    model = SpectralClustering(number, affinity="precomputed", random_state=seed)
    with warnings.catch_warnings():
        # A graph in several pieces has an eigenvector for each of them, which is what is wanted.
        warnings.filterwarnings("ignore", "Graph is not fully connected")
        labels: npt.NDArray[np.integer] = model.fit_predict(affinity)
    return labels


def eigengap(affinity: Floats, low: int, high: int) -> int:
    """How many above `low` the number k in [low, high] is that has the largest gap behind its k-th eigenvalue.

    Parameters
    ----------
    affinity
        Symmetric, >= 0, float [n, n].
    """
    strength = affinity.sum(axis=1)
    scale = np.divide(1, np.sqrt(strength), out=np.zeros_like(strength), where=strength > 0)
    values = 1 - np.linalg.eigvalsh(scale[:, None] * affinity * scale)[::-1]
    gaps = np.diff(values)[low - 1 : min(high, len(values) - 1)]
    return int(np.argmax(gaps)) if len(gaps) else 0
