"""ROIs by k-means on units' correlations."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from compgraph.rois.number import Number, by_silhouette, required
from compgraph.rois.signals import Units


def find(units: Units, n_rois: Number, seed: int) -> npt.NDArray[np.integer]:
    """Group units by k-means on their standardised signals; in a range of numbers by the silhouette.

    Parameters
    ----------
    units
        What is divided.
    n_rois
        Number of ROIs, or a range; needed.
    seed
        Of the ten starts.

    Returns
    -------
    int [n]

    Raises
    ------
    DataError
        If n_rois is missing.
    """
    from sklearn.cluster import KMeans

    points = units.points

    def divide(k: int) -> npt.NDArray[np.integer]:
        labels: npt.NDArray[np.integer] = KMeans(k, n_init=10, random_state=seed).fit_predict(points)
        return labels

    return by_silhouette(points, required(n_rois, "kmeans"), divide)
