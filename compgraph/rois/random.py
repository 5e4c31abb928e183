"""Random ROIs: the null of everything that ROIs are claimed to show."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from compgraph.rois.number import Number, required
from compgraph.rois.signals import Units


def find(units: Units, n_rois: Number, seed: int) -> npt.NDArray[np.int64]:
    """Parts of sizes that differ by one at most, units drawn at random.

    Random parts with the sizes of another division: `compgraph.rois.sizes.shuffled`.

    Parameters
    ----------
    units
        What is divided.
    n_rois
        Number of ROIs, or a range, of which one is drawn; needed.
    seed
        Of the draw.

    Raises
    ------
    DataError
        If n_rois is missing.
    """
    rng = np.random.default_rng(seed)
    low, high = required(n_rois, "random")
    number = int(rng.integers(low, high + 1))
    return rng.permutation(np.arange(units.n) * number // units.n)
