"""Random ROIs: the null of everything that ROIs are claimed to show."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from compgraph.errors import DataError
from compgraph.partition import DEAD, Partition
from compgraph.rois.number import Number, required
from compgraph.rois.signals import Units


def find(units: Units, n_rois: Number, seed: int, *, like: Partition | None = None) -> npt.NDArray[np.int64]:
    """Parts of sizes that differ by one at most, or of those of another division; units are drawn at random.

    Parameters
    ----------
    units
        What is divided.
    n_rois
        Number of ROIs, or a range, of which one is drawn; needed unless `like` is given.
    seed
        Of the draw.
    like
        A division of the same units: labels are shuffled within each site.

    Raises
    ------
    DataError
        If n_rois is missing, or given beside `like`; if a live unit has no part in `like`.
    """
    rng = np.random.default_rng(seed)
    if like is not None:
        if n_rois is not None:
            raise DataError("rois: random parts are like others or as many as n_rois says; leave one of them out")
        return _shuffled(units, like, rng)
    low, high = required(n_rois, "random")
    number = int(rng.integers(low, high + 1))
    return rng.permutation(np.arange(units.n) * number // units.n)


def _shuffled(units: Units, like: Partition, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    names: dict[str, int] = {}
    found = []
    for site, one in units.sites.items():
        if site not in like.labels or len(like.labels[site]) != one.n_units:
            raise DataError(f"rois: the division that random parts are like has no labels for {site!r} of this network")
        labels = like.labels[site][one.live]
        if (labels == DEAD).any():
            unit = int(one.live[labels == DEAD][0])
            raise DataError(
                f"rois: unit {unit} of {site!r} varies here, but is in no part of what random parts are like"
            )
        numbers = np.array([names.setdefault(part, len(names)) for part in like.part_names(site)])
        found.append(rng.permutation(numbers[labels]))
    return np.concatenate(found)
