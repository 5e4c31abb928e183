"""Data divided into parts of whole items, each read without the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from compgraph.architecture import Architecture
from compgraph.connectivity.functional.recordings import Pool
from compgraph.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


class Readable(Protocol):
    """A buffer that any rows can be read of (`ActivationBuffer`)."""

    architecture: Architecture
    n_rows: int
    chunk_rows: int
    items: Any
    sites: Any

    def read(self, site: str, rows: slice | None = None) -> npt.NDArray[Any]:
        """Rows of one site."""
        ...

    def mean(self, site: str) -> npt.NDArray[Any]:
        """Mean of each unit over all rows."""
        ...

    def variance(self, site: str) -> npt.NDArray[Any]:
        """Variance of each unit over all rows."""
        ...


class Stretch:
    """Rows of a buffer, read like a buffer; means and variances are those of the whole buffer.

    Parameters
    ----------
    buffer
        The buffer.
    start, stop
        The first row, and the one after the last.
    """

    def __init__(self, buffer: Readable, start: int, stop: int) -> None:
        self.buffer, self.start, self.stop = buffer, start, stop
        self.architecture, self.n_rows = buffer.architecture, stop - start
        self.quantity = getattr(buffer, "quantity", "activation")

    @property
    def sites(self) -> Any:
        """Table of the recorded sites."""
        return self.buffer.sites

    @cached_property
    def items(self) -> pd.DataFrame:
        """What is known of each row."""
        found: pd.DataFrame = self.buffer.items.iloc[self.start : self.stop]
        return found.reset_index(drop=True)

    @property
    def n_chunks(self) -> int:
        """Chunks of the buffer that hold some of the rows."""
        return len(self._bounds) - 1

    @cached_property
    def _bounds(self) -> list[int]:
        size = self.buffer.chunk_rows
        inside = range((self.start // size + 1) * size, self.stop, size)
        return [self.start, *inside, self.stop]

    def chunks(self, sites: Iterable[str]) -> Iterator[Mapping[str, npt.NDArray[Any]]]:
        """The rows in order, a chunk of the buffer at a time."""
        names = list(sites)
        for begin, end in pairwise(self._bounds):
            yield {name: self.buffer.read(name, slice(begin, end)) for name in names}

    def mean(self, site: str) -> npt.NDArray[Any]:
        """Mean of each unit over all rows of the buffer."""
        return self.buffer.mean(site)

    def variance(self, site: str) -> npt.NDArray[Any]:
        """Variance of each unit over all rows of the buffer."""
        return self.buffer.variance(site)


def divided(buffers: Readable | Sequence[Readable], number: int, of: int) -> list[Stretch]:
    """Part `number` (from 0) of the rows of some buffers divided into `of` about equal parts of whole items.

    Raises
    ------
    DataError
        There is no such part, or no item for it.
    """
    if not 0 <= number < of:
        raise DataError(f"functional: there is no part {number} of {of}; parts are numbered from 0")
    pool = Pool.of(buffers)  # type: ignore[arg-type]
    item = pool.column("item")
    begin, end = (_start_of_item(item, pool.n_rows * k // of) for k in (number, number + 1))
    if begin == end:
        raise DataError(
            f"functional: part {number} of {of} has no item: there are {len(np.unique(item))} in {pool.n_rows} rows; "
            "take fewer parts"
        )
    found, first = [], 0
    for buffer in pool.buffers:
        low, high = max(begin - first, 0), min(end - first, buffer.n_rows)
        if low < high:
            found.append(Stretch(buffer, low, high))  # type: ignore[arg-type]
        first += buffer.n_rows
    return found


def _start_of_item(item: npt.NDArray[np.int64], row: int) -> int:
    """The first row of the item that a row belongs to; the number of rows behind the last."""
    return len(item) if row >= len(item) else int(np.searchsorted(item, item[row]))
