"""ROIs by Ward's agglomeration of units' standardised signals."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from compgraph.rois.number import Number, by_silhouette, required
from compgraph.rois.signals import Units


def find(units: Units, n_rois: Number, seed: int) -> npt.NDArray[np.integer]:
    """Merge the two groups whose merger adds least to the squares within groups (Ward 1963), down to a number.

    Parameters
    ----------
    units
        What is divided.
    n_rois
        Number of ROIs, or a range, of which the silhouette chooses; needed.
    seed
        Not used: the result does not depend on chance.

    Raises
    ------
    DataError
        If n_rois is missing.
    """
    from scipy.cluster.hierarchy import cut_tree, ward
    from scipy.spatial.distance import squareform

    limits = required(n_rois, "ward")
    if units.n == 1:
        return np.zeros(1, np.int64)
    distance = np.sqrt(2 * (1 - units.correlation))
    tree = ward(squareform(distance, checks=False))

    def divide(k: int) -> npt.NDArray[np.integer]:
        labels: npt.NDArray[np.integer] = cut_tree(tree, k)[:, 0]
        return labels

    return by_silhouette(units.points, limits, divide)
