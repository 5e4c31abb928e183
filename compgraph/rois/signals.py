"""Correlations between the units of one site, and which of them are silent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from compgraph.architecture import Architecture
from compgraph.errors import DataError

Floats = npt.NDArray[np.float64]

CONSTANT = 1e-9
"""A unit is constant if its standard deviation is at most this share of its mean's magnitude."""

FEWEST_ROWS = 10
"""Correlations of fewer samples are mostly chance: of 10 independent ones, |r| exceeds 0.63 one time in 20."""

MOST_UNITS = 20_000
"""Correlations are held as one dense matrix: 3.2 GB at this size."""


class Recording(Protocol):
    """What is read of an activation buffer (`compgraph.data.buffers.ActivationBuffer`)."""

    architecture: Architecture
    n_rows: int

    @property
    def sites(self) -> Any:
        """Table with a row per recorded site and its name in the column `site`."""
        ...

    def chunks(self, sites: Iterable[str]) -> Iterator[Mapping[str, npt.NDArray[Any]]]:
        """Rows in order: site -> [rows, n_units]."""
        ...

    def mean(self, site: str) -> npt.NDArray[np.floating[Any]]:
        """Mean of each unit over all rows."""
        ...

    def variance(self, site: str) -> npt.NDArray[np.floating[Any]]:
        """Variance of each unit over all rows."""
        ...


@dataclass(frozen=True)
class UnitCorrelations:
    """How the live units of a site vary together.

    Attributes
    ----------
    matrix
        Pearson correlation of the live units, float64 [n_live, n_live], ones on the diagonal.
    live
        Numbers of the live units, int64.
    n_units
        Number of units of the site.
    dead
        Why -> numbers of the units it applies to.
    n_rows
        Samples behind each correlation.
    """

    matrix: Floats
    live: npt.NDArray[np.int64]
    n_units: int
    dead: Mapping[str, tuple[int, ...]]
    n_rows: int


def from_buffer(buffer: Recording, site: str) -> UnitCorrelations:
    """Correlations over all rows of a buffer, in one pass.

    Of a site with a dictionary they are those of its features: the error's coordinates are one unit, not many.

    Raises
    ------
    DataError
        If the site was not recorded, holds NaN, or there are too few rows or too many units.
    """
    recorded = list(buffer.sites["site"])
    if site not in recorded:
        raise DataError(f"rois: site {site!r} was not recorded; the buffer has {', '.join(recorded)}")
    known = {one.name: one for one in buffer.architecture.sites}
    first = known[site].n_features if site in known and known[site].has_error else None
    mean = np.asarray(buffer.mean(site), np.float64)[:first]
    deviation = np.sqrt(np.asarray(buffer.variance(site), np.float64))[:first]
    rows = (chunk[site][:, :first] for chunk in buffer.chunks([site]))
    return _correlations(rows, mean, deviation, buffer.n_rows, site)


def from_matrix(signals: npt.ArrayLike, site: str) -> UnitCorrelations:
    """Correlations of plain signals [rows, units].

    Raises
    ------
    DataError
        If it is not a matrix of numbers, holds NaN, or there are too few rows or too many units.
    """
    matrix = np.asarray(signals)
    if matrix.ndim != 2 or not np.issubdtype(matrix.dtype, np.number):
        raise DataError(
            f"rois: signals of {site!r} must be numbers [rows, units], not {matrix.dtype} of shape {matrix.shape}"
        )
    matrix = matrix.astype(np.float64)
    if len(matrix) == 0:
        raise DataError(f"rois: {site!r} has no rows; correlations between units need at least {FEWEST_ROWS}")
    with np.errstate(invalid="ignore"):  # infinite values are found, and named, by their mean
        mean, deviation = matrix.mean(axis=0), matrix.std(axis=0)
    return _correlations([matrix], mean, deviation, len(matrix), site)


def _correlations(
    chunks: Iterable[npt.NDArray[Any]], mean: Floats, deviation: Floats, n_rows: int, site: str
) -> UnitCorrelations:
    n_units = len(mean)
    _check(mean, deviation, n_rows, site)
    live = np.flatnonzero(deviation > CONSTANT * np.abs(mean))
    zero = (deviation == 0) & (mean == 0)
    constant = ~zero
    constant[live] = False
    dead = {"always zero": zero, "constant": constant}
    matrix = np.zeros((len(live), len(live)))
    for rows in chunks:
        scaled = (rows[:, live].astype(np.float64) - mean[live]) / deviation[live]
        matrix += scaled.T @ scaled
    matrix = np.clip(matrix / n_rows, -1, 1)
    np.fill_diagonal(matrix, 1)
    reasons = {why: tuple(int(unit) for unit in np.flatnonzero(which)) for why, which in dead.items()}
    return UnitCorrelations(matrix, live, n_units, {why: units for why, units in reasons.items() if units}, n_rows)


def _check(mean: Floats, deviation: Floats, n_rows: int, site: str) -> None:
    if n_rows < FEWEST_ROWS:
        raise DataError(f"rois: {site!r} has {n_rows} rows; correlations between units need at least {FEWEST_ROWS}")
    if len(mean) > MOST_UNITS:
        raise DataError(
            f"rois: {site!r} has {len(mean)} units; all correlations of more than {MOST_UNITS} do not fit into "
            "memory: name other sites"
        )
    broken = ~(np.isfinite(mean) & np.isfinite(deviation))
    if broken.any():
        raise DataError(
            f"rois: unit {int(np.argmax(broken))} of {site!r} has values that are not finite "
            f"({int(broken.sum())} such units)"
        )
