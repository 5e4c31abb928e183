"""One or several buffers of one network, read as if they were one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from compgraph.architecture import Architecture
from compgraph.connectivity.functional.streaming import Sums
from compgraph.data.moments import Moments
from compgraph.errors import DataError
from compgraph.granularity import listed
from compgraph.partition import Partition

if TYPE_CHECKING:
    import pandas as pd


class Recording(Protocol):
    """What is read of a buffer (`ActivationBuffer`, `NodeAttributions`)."""

    architecture: Architecture

    @property
    def n_chunks(self) -> int:
        """Number of pieces in which `chunks` hands out the rows."""
        ...

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        ...

    @property
    def sites(self) -> Any:
        """Table with a row per recorded site and its name in the column `site`."""
        ...

    @property
    def items(self) -> Any:
        """Table with a row per row: `item` (ascending), `position`, and whatever else is known of it."""
        ...

    def chunks(self, sites: Iterable[str]) -> Iterator[Mapping[str, npt.NDArray[Any]]]:
        """Rows in order: site -> [rows, n_units], the same rows for every site."""
        ...

    def mean(self, site: str) -> npt.NDArray[np.floating[Any]]:
        """Mean of each unit over all rows."""
        ...

    def variance(self, site: str) -> npt.NDArray[np.floating[Any]]:
        """Variance of each unit over all rows."""
        ...


class KeptSums(Protocol):
    """Sums over rows that are no longer at hand (`compgraph.connectivity.functional.parts`)."""

    def matching(self, prepared: Any, standardise: bool, transform: Any) -> Sums:
        """The sums, if they are of these signals."""
        ...


@dataclass(frozen=True)
class Pool:
    """Buffers of one network, one after another.

    Parameters
    ----------
    buffers
        At least one.

    Raises
    ------
    DataError
        None, or buffers that disagree in the units of a site or in what a number is.
    """

    buffers: tuple[Recording, ...]

    def __post_init__(self) -> None:
        if not self.buffers:
            raise DataError("functional: there is no buffer; at least one is needed")
        first = _units(self.buffers[0])
        for number, buffer in enumerate(self.buffers[1:], start=1):
            for site, n_units in _units(buffer).items():
                if first.get(site, n_units) != n_units:
                    raise DataError(
                        f"functional: buffers disagree: site {site!r} has {first[site]} units in buffer 0 and "
                        f"{n_units} in buffer {number}; only buffers of one network can be pooled"
                    )
        kinds = [getattr(buffer, "quantity", "activation") for buffer in self.buffers]
        if len(set(kinds)) > 1:
            raise DataError(f"functional: buffers disagree: they hold {listed(kinds)}; pool one kind only")

    @classmethod
    def of(cls, buffers: Recording | Sequence[Recording]) -> Pool:
        """A pool of one buffer or of several."""
        return cls(tuple(buffers) if isinstance(buffers, Sequence) else (buffers,))

    @property
    def architecture(self) -> Architecture:
        """Of the network."""
        return self.buffers[0].architecture

    @property
    def n_rows(self) -> int:
        """Rows of all buffers."""
        return sum(buffer.n_rows for buffer in self.buffers)

    @property
    def n_chunks(self) -> int:
        """Chunks of all buffers."""
        return sum(buffer.n_chunks for buffer in self.buffers)

    @property
    def recorded(self) -> list[str]:
        """Sites that every buffer has, in the order of the first."""
        others = [set(buffer.sites["site"]) for buffer in self.buffers[1:]]
        return [str(site) for site in self.buffers[0].sites["site"] if all(site in other for other in others)]

    @property
    def sums(self) -> KeptSums | None:
        """What was gathered before, where the pool is made of that instead of rows."""
        return getattr(self.buffers[0], "kept", None)

    def moments(self, site: str) -> Moments:
        """Moments of a site's units over all rows, from what the buffers keep; nothing is read."""
        total: Moments | None = None
        for buffer in self.buffers:
            mean = np.asarray(buffer.mean(site), dtype=np.float64)
            variance = np.asarray(buffer.variance(site), dtype=np.float64)
            part = Moments(buffer.n_rows, mean, variance * buffer.n_rows)
            total = part if total is None else total.merge(part)
        assert total is not None
        return total

    def chunks(self, sites: Sequence[str]) -> Iterator[Mapping[str, npt.NDArray[Any]]]:
        """Rows of all buffers in order."""
        for buffer in self.buffers:
            yield from buffer.chunks(sites)

    @cached_property
    def rows(self) -> pd.DataFrame:
        """A row per row: `item` (numbered through all buffers), `position`, `buffer` and what else all of them know."""
        import pandas as pd

        tables, first = [], 0
        for number, buffer in enumerate(self.buffers):
            table = buffer.items.reset_index(drop=True)
            table = table.assign(item=table["item"].to_numpy(np.int64) + first, buffer=number)
            first = int(table["item"].max()) + 1 if len(table) else first
            tables.append(table)
        return pd.concat(tables, ignore_index=True, join="inner")

    def column(self, name: str) -> npt.NDArray[Any]:
        """A column of `rows`; `token-frequency` is the logarithm of how often the row's token occurs in them.

        Raises
        ------
        DataError
            There is no such column.
        """
        if name == "token-frequency" and "token" in self.rows:
            _, inverse, counts = np.unique(self.rows["token"].to_numpy(), return_inverse=True, return_counts=True)
            return np.log(counts[inverse])
        if name not in self.rows:
            known = [*self.rows.columns, *(["token-frequency"] if "token" in self.rows else [])]
            raise DataError(f"functional: {name!r} is not a column of the buffer's rows; they have {listed(known)}")
        return self.rows[name].to_numpy()


def _units(buffer: Recording) -> dict[str, int]:
    return {str(site): buffer.architecture.site(str(site)).n_units for site in buffer.sites["site"]}


def chosen_sites(pool: Pool, partition: Partition, sites: Sequence[str] | None) -> list[str]:
    """Sites to use, in the order of the partition: those asked for (names or patterns), or all that the buffers have.

    Raises
    ------
    DataError
        If a site that was asked for, or every site of the partition, was not recorded.
    GraphError
        If the partition is of another model, or a site that was asked for is not in it.
    """
    partition.check(pool.architecture)
    recorded = pool.recorded
    if sites is None:
        found = [site for site in partition.sites if site in recorded]
        if not found:
            raise DataError(
                f"functional: the buffer has {listed(recorded)}, none of the partition's sites "
                f"{listed(partition.sites)}; add some of them to `activations.sites`"
            )
        return found
    wanted: list[str] = []
    for site in sites:
        matching = [name for name in partition.sites if name in recorded and fnmatchcase(name, site)]
        # One list of patterns serves networks of several kinds; a name is meant.
        pattern = bool(set("*?[") & set(site))
        if not matching and not pattern and site not in recorded:
            raise DataError(
                f"functional: site {site!r} was not recorded; add it to `activations.sites` (the buffer has "
                f"{listed(recorded)})"
            )
        wanted += matching if matching or pattern else [site]
    if not wanted:
        raise DataError(
            f"functional: {listed(sites)} match no recorded site of the partition; the buffer has {listed(recorded)}: "
            "add some of them to `activations.sites`"
        )
    return list(partition.restrict(wanted).sites)
