"""Rows of numbers at one site, streamed from an activation buffer or an array, in the space of a dictionary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from compgraph.dictionaries.attached import width_of
from compgraph.errors import DataError
from compgraph.models.transformer import Transformer

Array = npt.NDArray[Any]
POOL_BYTES = 256 << 20
"""Rows that are shuffled together take at most this much memory; a chunk of a buffer is the least."""


@dataclass(frozen=True, eq=False)
class SiteRows:
    """What a dictionary of a site describes, chunk by chunk.

    Parameters
    ----------
    data
        Array [rows, units] of the site's own units, or an activation buffer that holds the site.
    net
        The network they were recorded from.
    site, space
        Where, and as what: `hidden`, the units themselves, or `write`, what they write to the stream.
    keep
        bool [rows], which rows to use; None: all.
    purpose
        What for, in errors.

    Raises
    ------
    DataError
        Data of another width, a buffer of another model, or another number of marks than rows.
    ModelError
        A site that can have no dictionary.
    """

    data: Any
    net: Transformer
    site: str
    space: str = "hidden"
    keep: npt.NDArray[np.bool_] | None = None
    purpose: str = "dictionary"

    def __post_init__(self) -> None:
        width_of(self.net, self.site, self.space)
        n_units = self.net.architecture.site(self.site).n_units
        shape = (self.n_recorded, self.data.units(self.site)) if self._is_buffer else np.shape(self.data)
        if len(shape) != 2 or shape[1] != n_units:
            raise DataError(
                f"{self.purpose} of {self.site}: the data have shape {shape}; they must be [rows, {n_units}]"
            )
        if self._is_buffer:
            check_model(self.data, self.net.digest)
        if self.keep is not None and len(self.keep) != self.n_recorded:
            raise DataError(
                f"{self.purpose} of {self.site}: {len(self.keep)} marks for {self.n_recorded} rows of data"
            )

    @property
    def _is_buffer(self) -> bool:
        return hasattr(self.data, "chunks")

    @property
    def n_recorded(self) -> int:
        """Rows of the data, used or not."""
        return int(self.data.n_rows) if self._is_buffer else len(self.data)

    @property
    def n_rows(self) -> int:
        """Rows that are used."""
        return self.n_recorded if self.keep is None else int(self.keep.sum())

    @property
    def width(self) -> int:
        """Coordinates of a row."""
        return width_of(self.net, self.site, self.space)

    @property
    def n_chunks(self) -> int:
        """Chunks in which the rows are read."""
        return int(self.data.n_chunks) if self._is_buffer else -(-len(self.data) // self._step)

    @property
    def _step(self) -> int:
        if self._is_buffer:
            return int(self.data.chunk_rows)
        return max(1, POOL_BYTES // (4 * self.width))

    def chunk(self, number: int) -> Array:
        """The used rows of one chunk [rows, width], float32 or float64.

        Raises
        ------
        DataError
            Values that are not finite.
        """
        rows = slice(number * self._step, min((number + 1) * self._step, self.n_recorded))
        values = self.data.read(self.site, rows) if self._is_buffer else np.asarray(self.data[rows])
        if self.keep is not None:
            values = values[self.keep[rows]]
        if self.space == "write":
            values = self._written(values)
        values = np.ascontiguousarray(values)
        # The ends are not finite where any value is not: one pass, and no mask as long as the data.
        if values.size and not all(bool(end.isfinite()) for end in torch.from_numpy(values).aminmax()):
            raise DataError(f"{self.purpose} of {self.site}: the data hold values that are not finite")
        return values

    def __iter__(self) -> Iterator[Array]:
        return (self.chunk(number) for number in range(self.n_chunks))

    def _written(self, values: Array) -> Array:
        with torch.no_grad():
            units = torch.from_numpy(np.ascontiguousarray(values)).to(self.net.dtype).to(self.net.device)
            written = self.net.write(self.site, units).cpu()
        return (written if written.dtype == torch.float64 else written.float()).numpy()

    def pools(self, rng: np.random.Generator) -> Iterator[list[int]]:
        """Numbers of the chunks that are shuffled together, in random order, for one pass."""
        together = max(1, POOL_BYTES // (4 * self.width * self._step))
        order = rng.permutation(self.n_chunks)
        for start in range(0, len(order), together):
            yield [int(number) for number in order[start : start + together]]

    def sample(self, n: int, seed: int) -> Array:
        """At most n rows, drawn without replacement, in the order of the data; float64 [rows, width]."""
        chosen = np.ones(self.n_rows, bool)
        if n < self.n_rows:
            chosen[:] = False
            chosen[np.random.default_rng(seed).choice(self.n_rows, n, replace=False)] = True
        parts, start = [], 0
        for values in self:
            parts.append(values[chosen[start : start + len(values)]].astype(np.float64))
            start += len(values)
        return np.concatenate(parts) if parts else np.zeros((0, self.width))


def check_model(buffer: Any, digest: str) -> None:
    """Refuse a buffer of another model.

    Raises
    ------
    DataError
        Naming both digests.
    """
    known = getattr(buffer, "attributes", {}).get("network", {}).get("digest")
    if known and digest and known != digest:
        raise DataError(f"{buffer.result.path} was recorded from the model {known}, and this is {digest}")
