"""How many regions: a number, a range of numbers, or the method's own choice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from compgraph.errors import DataError
from compgraph.rois.signals import Floats

Number = int | tuple[int, int] | None
"""So many regions; at least and at most so many; None: as many as the method finds."""


def bounds(n_rois: Number) -> tuple[int, int] | None:
    """Least and largest number of regions that are asked for."""
    if n_rois is None:
        return None
    return (n_rois, n_rois) if isinstance(n_rois, int) else n_rois


def check_number(n_rois: Number, live: int, n_units: int, name: str) -> None:
    """Refuse numbers that no division of these units can have.

    Raises
    ------
    DataError
        Naming the number and how many units there are.
    """
    limits = bounds(n_rois)
    if limits is None:
        return
    low, high = limits
    if low < 1:
        raise DataError(f"rois: n_rois of {name} must be at least 1, not {low}")
    if low > high:
        raise DataError(f"rois: n_rois of {name} is a range from {low} to {high}; give the smaller number first")
    if high > live:
        raise DataError(f"rois: {high} ROIs were asked for in {name}, but only {live} of its {n_units} units vary")


def required(n_rois: Number, method: str) -> tuple[int, int]:
    """The range, of a method that cannot do without.

    Raises
    ------
    DataError
        If no number is given.
    """
    limits = bounds(n_rois)
    if limits is None:
        raise DataError(f"rois: {method} needs to be told how many ROIs to find (n_rois)")
    return limits


def by_silhouette(
    points: Floats, limits: tuple[int, int], divide: Callable[[int], npt.NDArray[np.integer]]
) -> npt.NDArray[np.integer]:
    """Of the divisions into every number of parts in a range the one of largest mean silhouette (Rousseeuw 1987).

    Parameters
    ----------
    points
        float [n, d].
    limits
        Least and largest number; the silhouette of one part, or of n, is 0.
    divide
        Number of parts -> labels [n].
    """
    from sklearn.metrics import silhouette_score

    low, high = limits
    if low == high:
        return divide(low)
    best, highest = None, -np.inf
    for k in range(low, high + 1):
        labels = divide(k)
        parts = len(np.unique(labels))
        value = float(silhouette_score(points, labels)) if 1 < parts < len(points) else 0.0
        if value > highest:
            best, highest = labels, value
    assert best is not None
    return best
