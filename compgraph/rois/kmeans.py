"""ROIs by k-means on units' correlations."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from compgraph.errors import DataError


def find(matrix: npt.NDArray[np.float64], n_rois: int | None, seed: int) -> npt.NDArray[np.int64]:
    """Group units by k-means on their standardised signals.

    Two standardised signals are sqrt(2 (1 - r)) apart, so that their correlation matrix R = X X^T holds
    all that k-means needs: X from the eigenvectors of R replaces the signals, whatever their number of rows.

    Parameters
    ----------
    matrix
        Correlation of the units, float64 [n, n].
    n_rois
        Number of ROIs; needed.
    seed
        Of the ten starts.

    Returns
    -------
    int64 [n]
        Labels 0 … n_rois - 1.

    Raises
    ------
    DataError
        If n_rois is missing.
    """
    from sklearn.cluster import KMeans

    if n_rois is None:
        raise DataError("rois: kmeans needs to be told how many ROIs to find (n_rois)")
    size, vectors = np.linalg.eigh(matrix)
    points = vectors * np.sqrt(np.maximum(size, 0))
    labels: npt.NDArray[np.int64] = KMeans(n_rois, n_init=10, random_state=seed).fit_predict(points)
    return labels.astype(np.int64)
