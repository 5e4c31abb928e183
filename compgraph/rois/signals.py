"""The units that are divided together: which of them are silent, and how the others vary together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from compgraph.connectivity.functional.recordings import Recording
from compgraph.connectivity.functional.streaming import JointMoments
from compgraph.errors import DataError
from compgraph.partition import DEAD, Partition
from compgraph.rois.recordings import CONSTANT

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

ERROR = "error"
"""The part of what a dictionary leaves, the last of its site: its coordinates are one unit, not many."""

FEWEST_ROWS = 10
"""Correlations of fewer samples are mostly chance: of 10 independent ones, |r| exceeds 0.63 one time in 20."""

MOST_UNITS = 20_000
"""Correlations are held as one dense matrix: 3.2 GB at this size."""


@dataclass(frozen=True)
class SiteUnits:
    """Live and silent units of one site.

    Attributes
    ----------
    live
        Numbers of the live units, int64.
    n_units
        Number of units of the site.
    dead
        Why -> numbers of the units it applies to.
    n_error
        How many of the units, the last ones, are coordinates of a dictionary's error: neither live nor dead.
    """

    live: Labels
    n_units: int
    dead: Mapping[str, tuple[int, ...]]
    n_error: int = 0


@dataclass(frozen=True)
class Units:
    """The live units of one site or of several, in order; what methods divide.

    Attributes
    ----------
    recording
        Their signals.
    sites
        Site -> its units.
    """

    recording: Recording
    sites: Mapping[str, SiteUnits]

    @property
    def name(self) -> str:
        """The sites, for messages."""
        return ", ".join(repr(site) for site in self.sites)

    @property
    def n(self) -> int:
        """Number of live units."""
        return sum(len(one.live) for one in self.sites.values())

    @property
    def n_rows(self) -> int:
        """Samples behind each correlation."""
        return self.recording.n_rows

    @cached_property
    def moments(self) -> JointMoments:
        """Mean and co-variation of the standardised live units; one pass."""
        moments = JointMoments(self.n)
        for rows in self.rows():
            moments.add(rows)
        return moments

    @cached_property
    def correlation(self) -> Floats:
        """Pearson correlation of the live units, float64 [n, n], ones on the diagonal."""
        matrix = self.moments.covariance()
        deviation = np.sqrt(np.diag(matrix))
        matrix = np.clip(matrix / deviation / deviation[:, None], -1, 1)
        np.fill_diagonal(matrix, 1)
        return matrix

    @cached_property
    def points(self) -> Floats:
        """A point for each unit [n, n], two of them sqrt(2 (1 - r)) apart, as their standardised signals are.

        Correlations R = X X^T hold all that Euclidean methods need: X comes from the eigenvectors of R and replaces
        the signals, whatever their number of rows.
        """
        size, vectors = np.linalg.eigh(self.correlation)
        points: Floats = vectors * np.sqrt(np.maximum(size, 0))
        return points

    @cached_property
    def partition(self) -> Partition:
        """Every live unit as a node, in order."""
        labels = {}
        for site, one in self.sites.items():
            labels[site] = np.full(one.n_units, DEAD)
            labels[site][one.live] = np.arange(len(one.live))
        return Partition.from_labels(labels, prefix="unit")

    def rows(self) -> Iterator[Floats]:
        """Standardised signals of the live units, [rows, n] of some rows at a time, in order."""
        scales = {}
        for site, one in self.sites.items():
            mean = np.asarray(self.recording.mean(site), np.float64)[one.live]
            scales[site] = mean, np.sqrt(np.asarray(self.recording.variance(site), np.float64)[one.live])
        for chunk in self.recording.chunks(list(self.sites)):
            parts = [
                (chunk[site][:, one.live].astype(np.float64) - scales[site][0]) / scales[site][1]
                for site, one in self.sites.items()
            ]
            yield np.concatenate(parts, axis=1)


def n_regions(partition: Partition, site: str) -> int:
    """Parts of a site that are regions: all but the last, where that is a dictionary's error, which nothing divides."""
    names = partition.part_names(site)
    return len(names) - (names[-1] == ERROR) if names else 0


def units_of(recording: Recording, sites: Sequence[str]) -> Units:
    """The units of some recorded sites.

    Of a site with a dictionary they are those of its features: the error's coordinates are one unit, not many.

    Raises
    ------
    DataError
        If a site was not recorded, holds NaN, or there are too few rows, too many units, or no live one.
    """
    recorded = list(recording.sites["site"])
    for site in sites:
        if site not in recorded:
            raise DataError(f"rois: site {site!r} was not recorded; the buffer has {', '.join(recorded)}")
    if len(sites) > 1 and not getattr(recording, "aligned", True):
        raise DataError(
            f"rois: {', '.join(sites)} cannot be divided together: a row of these signals is another thing at each of "
            "them (weights of sites that do not share a stream); use scope site"
        )
    units = Units(recording, {site: _site_units(recording, site) for site in sites})
    if not units.n:
        total = sum(one.n_units for one in units.sites.values())
        raise DataError(f"rois: none of the {total} units of {units.name} varies, so there is nothing to divide")
    if units.n > MOST_UNITS:
        raise DataError(
            f"rois: {units.name} have {units.n} live units; all correlations of more than {MOST_UNITS} do not fit into "
            "memory: name other sites"
        )
    return units


def _site_units(recording: Recording, site: str) -> SiteUnits:
    if recording.n_rows < FEWEST_ROWS:
        raise DataError(
            f"rois: {site!r} has {recording.n_rows} rows; correlations between units need at least {FEWEST_ROWS}"
        )
    mean = np.asarray(recording.mean(site), np.float64)
    deviation = np.sqrt(np.asarray(recording.variance(site), np.float64))
    broken = ~(np.isfinite(mean) & np.isfinite(deviation))
    if broken.any():
        raise DataError(
            f"rois: unit {int(np.argmax(broken))} of {site!r} has values that are not finite "
            f"({int(broken.sum())} such units)"
        )
    described = recording.architecture.site(site)
    n_error = described.n_units - described.n_features if described.has_error else 0
    own = slice(len(mean) - n_error)
    live = deviation[own] > CONSTANT * np.abs(mean[own])
    zero = (deviation[own] == 0) & (mean[own] == 0)
    dead = {"always zero": zero, "constant": ~zero & ~live}
    reasons = {why: tuple(np.flatnonzero(which).tolist()) for why, which in dead.items() if which.any()}
    return SiteUnits(np.flatnonzero(live), len(mean), reasons, n_error)
