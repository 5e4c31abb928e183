"""Signals of units in memory, read like a buffer: plain arrays, weights, and several recordings of the same units."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from compgraph.architecture import Architecture, Site
from compgraph.connectivity.functional.recordings import Recording
from compgraph.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]


class ArrayRecording:
    """Arrays site -> [rows, units], rows aligned over sites, each row an item by itself.

    Parameters
    ----------
    architecture
        Where the sites are; None for one made of these sites alone, which no causal graph can use.
    arrays
        Site -> float [rows, units].
    aligned
        Whether a row means the same at all sites, so that their units can be compared.

    Raises
    ------
    DataError
        An array that is no matrix of numbers.
    """

    quantity = "signal"
    n_chunks = 1

    def __init__(
        self, architecture: Architecture | None, arrays: Mapping[str, npt.ArrayLike], *, aligned: bool = True
    ) -> None:
        self.aligned = aligned
        self.arrays = {site: _matrix(values, site) for site, values in arrays.items()}
        self.architecture = architecture or _bare({site: values.shape[1] for site, values in self.arrays.items()})
        self.n_rows = len(next(iter(self.arrays.values())))

    @property
    def sites(self) -> pd.DataFrame:
        """One row a site."""
        import pandas as pd

        return pd.DataFrame({"site": list(self.arrays)})

    @property
    def items(self) -> pd.DataFrame:
        """One row a row: item, position."""
        import pandas as pd

        return pd.DataFrame({"item": np.arange(self.n_rows), "position": 0})

    def chunks(self, sites: Iterable[str]) -> Iterator[dict[str, Floats]]:
        """All rows at once."""
        yield {site: self.arrays[site] for site in sites}

    def mean(self, site: str) -> Floats:
        """Mean [units] over all rows."""
        with np.errstate(invalid="ignore"):  # infinite values are found, and named, by their mean
            mean: Floats = self.arrays[site].mean(axis=0)
        return mean

    def variance(self, site: str) -> Floats:
        """Population variance [units] over all rows."""
        with np.errstate(invalid="ignore"):
            variance: Floats = self.arrays[site].var(axis=0)
        return variance


class Concatenated:
    """Several recordings of the same units, one after another, each unit standardised within each.

    Rows are scaled so that every recording counts alike, however many rows it has: correlations are the means of those
    of the recordings. A unit that is silent in one of them is zero there.

    Parameters
    ----------
    recordings
        At least one, of one network; only sites that all of them have are used.

    Raises
    ------
    DataError
        Recordings that disagree in the units of a site, or share none.
    """

    quantity = "signal"

    def __init__(self, recordings: Sequence[Recording]) -> None:
        self._recordings = list(recordings)
        self.aligned = all(getattr(one, "aligned", True) for one in recordings)
        self.architecture = recordings[0].architecture
        shared = [set(map(str, one.sites["site"])) for one in recordings]
        self._sites = [str(site) for site in recordings[0].sites["site"] if all(str(site) in s for s in shared)]
        if not self._sites:
            raise DataError("rois: the recordings have no site in common; record the same sites in all of them")
        for number, one in enumerate(recordings[1:], start=1):
            for site in self._sites:
                here, there = (a.site(site).n_units for a in (self.architecture, one.architecture))
                if here != there:
                    raise DataError(
                        f"rois: site {site!r} has {here} units in recording 0 and {there} in recording {number}; "
                        "signals of one network are needed"
                    )
        self.n_rows = sum(one.n_rows for one in recordings)
        self.n_chunks = sum(one.n_chunks for one in recordings)
        self._scales: dict[tuple[int, str], tuple[Floats, Floats]] = {}

    @property
    def sites(self) -> pd.DataFrame:
        """One row a site that all recordings have."""
        import pandas as pd

        return pd.DataFrame({"site": self._sites})

    @cached_property
    def items(self) -> pd.DataFrame:
        """One row a row: item (numbered through all recordings), position."""
        import pandas as pd

        item, position, first = [], [], 0
        for one in self._recordings:
            table = one.items
            item.append(table["item"].to_numpy(np.int64) + first)
            position.append(table["position"].to_numpy(np.int64))
            first = int(item[-1].max(initial=first)) + 1
        return pd.DataFrame({"item": np.concatenate(item), "position": np.concatenate(position)})

    def chunks(self, sites: Iterable[str]) -> Iterator[dict[str, Floats]]:
        """Rows of all recordings in order."""
        names = list(sites)
        for number, one in enumerate(self._recordings):
            for chunk in one.chunks(names):
                yield {site: self._scaled(number, site, chunk[site]) for site in names}

    def mean(self, site: str) -> Floats:
        """Zero: units are centred within each recording."""
        n_units = self.architecture.site(site).n_units
        broken = np.zeros(n_units)
        for one in self._recordings:
            broken += 0 * np.asarray(one.mean(site), np.float64)  # NaN and infinity stay NaN, to be named
        return broken

    def variance(self, site: str) -> Floats:
        """The share of the recordings in which a unit varies."""
        varies = np.zeros(self.architecture.site(site).n_units)
        for number in range(len(self._recordings)):
            varies += self._scale(number, site)[1] > 0
        return varies / len(self._recordings)

    def _scale(self, number: int, site: str) -> tuple[Floats, Floats]:
        """Mean and factor of each unit in one recording."""
        if (number, site) not in self._scales:
            one = self._recordings[number]
            mean = np.asarray(one.mean(site), np.float64)
            deviation = np.sqrt(np.asarray(one.variance(site), np.float64))
            counts = np.sqrt(self.n_rows / (len(self._recordings) * one.n_rows))
            factor = np.divide(counts, deviation, out=np.zeros_like(mean), where=deviation > CONSTANT * np.abs(mean))
            self._scales[number, site] = mean, factor
        return self._scales[number, site]

    def _scaled(self, number: int, site: str, values: npt.NDArray[Any]) -> Floats:
        mean, factor = self._scale(number, site)
        scaled: Floats = (values.astype(np.float64) - mean) * factor
        return scaled


CONSTANT = 1e-9
"""A unit is constant if its standard deviation is at most this share of its mean's magnitude."""


def _matrix(values: npt.ArrayLike, site: str) -> Floats:
    matrix = np.asarray(values)
    if matrix.ndim != 2 or not np.issubdtype(matrix.dtype, np.number):
        raise DataError(
            f"rois: signals of {site!r} must be numbers [rows, units], not {matrix.dtype} of shape {matrix.shape}"
        )
    return matrix.astype(np.float64)


def _bare(sizes: Mapping[str, int]) -> Architecture:
    sites = tuple(Site(name, "linear", level, n) for level, (name, n) in enumerate(sizes.items()))
    return Architecture("sequential", "signals", sites, {})
