"""Read buffers of activations or attributions: chunk by chunk, by slices, and as tables of their sites and items.

`compgraph.data.buffer_writer` writes them and `compgraph.data.buffer_layout` says what they look like.
Reading needs no torch. Nothing is read before the seal was checked; a chunk that was damaged later is an
error, never numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from compgraph import store
from compgraph.architecture import Architecture
from compgraph.data.buffer_layout import LAYOUT, QUANTITIES, decode
from compgraph.errors import DataError, StoreError
from compgraph.formats import other_format
from compgraph.memory import require_memory

if TYPE_CHECKING:
    import pandas as pd

_AGAIN = "delete the buffer and record it again"


def open_buffer(manifest_path: str | Path) -> ActivationBuffer:
    """Open a buffer after checking that it is whole.

    Parameters
    ----------
    manifest_path : path
        Its manifest (``….json``).

    Raises
    ------
    StoreError
        If it is missing, torn, damaged, of another kind or of another version.
    """
    result = store.open(manifest_path, lazy=True)
    if result.kind not in QUANTITIES:
        kinds = " or ".join(map(repr, QUANTITIES))
        raise StoreError(f"{manifest_path} holds a result of kind {result.kind!r}; expected {kinds}")
    return ActivationBuffer(result)


class ActivationBuffer:
    """Recorded activations or attributions: an array [rows, units] per site, rows aligned over sites.

    Made by `open_buffer`.

    Attributes
    ----------
    result : Result
        The sealed result: path, digest, provenance.
    attributes : dict
        What the store says about itself: everything needed to make it again.
    architecture : Architecture
        The network's sites.
    quantity : str
        What a number is: `activation` or `attribution`.
    n_rows : int
        Number of rows: recorded tokens, or images.
    dtype : str
        Precision on disk. Reading gives float32.
    chunk_rows : int
        Rows of a chunk; the last one may have fewer.
    """

    def __init__(self, result: store.Result) -> None:
        self.result = result
        # The small files decide how everything else is understood, so they are read in full now.
        result.check(*(name for name in result.manifest["files"] if name.endswith(("zarr.json", ".parquet"))))
        import zarr

        group: Any = zarr.open_group(result.path, mode="r", zarr_format=3, use_consolidated=False)
        self._group = group
        self._opened: dict[str, Any] = {}
        self.attributes: dict[str, Any] = dict(group.attrs.asdict())
        if self.attributes.get("layout") != LAYOUT:
            raise StoreError(other_format(result.path, "buffer", self.attributes.get("layout"), LAYOUT, _AGAIN))
        self.architecture = Architecture.from_dict(self.attributes["architecture"])
        self.quantity: str = QUANTITIES[result.kind]
        self.n_rows: int = self.attributes["rows"]
        self.dtype: str = self.attributes["dtype"]
        self.chunk_rows: int = self.attributes["chunk_rows"]
        self._names: list[str] = [entry["name"] for entry in self.attributes["sites"]]
        self._check_sizes()

    def _check_sizes(self) -> None:
        """Refuse rows that the files cannot hold, and chunks that do not fit into memory."""
        rows, step = self.n_rows, self.chunk_rows
        if not (isinstance(rows, int) and isinstance(step, int) and rows >= 0 and step > 0):
            raise StoreError(f"{self.result.path} claims {rows!r} rows in chunks of {step!r}: {_AGAIN}")
        chunks, files = -(-self.n_rows // self.chunk_rows), len(self.result.manifest["files"])
        if chunks > files:
            raise StoreError(f"{self.result.path} claims {chunks} chunks of rows and has {files} files: {_AGAIN}")
        for name in self._names:
            shape, chunk = self._array(name).shape, self._array(name).chunks
            if shape[0] != self.n_rows or chunk[0] != min(self.chunk_rows, max(self.n_rows, 1)):
                raise StoreError(f"{self.result.path} does not hold the rows at {name} that it claims: {_AGAIN}")
            require_memory(self.result.path, 4 * math.prod(chunk))

    def __repr__(self) -> str:
        size = f"{self.n_rows:,} rows at {len(self._names)} sites"
        return f"ActivationBuffer({size}, {self.dtype}, {self.result.path})"

    @property
    def digest(self) -> str:
        """Digest of the whole content."""
        return self.result.digest

    @property
    def n_chunks(self) -> int:
        """Number of chunks in which the rows are kept."""
        return -(-self.n_rows // self.chunk_rows)

    @cached_property
    def sites(self) -> pd.DataFrame:
        """One row a site, in the order of computation: name, kind, level, sizes, whether it is compressed."""
        import pandas as pd

        files = self.result.manifest["files"]
        rows = []
        for entry in self.attributes["sites"]:
            site = self.architecture.site(entry["name"])
            size = sum(f["size"] for name, f in files.items() if name.startswith(f"units/{site.name}/c/"))
            rows.append(
                {
                    "site": site.name,
                    "kind": site.kind,
                    "level": site.level,
                    "n_units": site.n_units,
                    "n_heads": site.n_heads,
                    "compressed": entry["compressed"],
                    "bytes": size,
                }
            )
        return pd.DataFrame(rows)

    @cached_property
    def items(self) -> pd.DataFrame:
        """One row a recorded row: item (its number), id, task, split, position (index in the padded token
        array), token (-1 for images)."""
        import pandas as pd

        item, position, token = self._rows.T
        table = store.read_table(self.result.file("items.parquet")).iloc[item].reset_index(drop=True)
        places = pd.DataFrame({"position": position, "token": token})
        return pd.concat([pd.DataFrame({"item": item}), table, places], axis=1)

    @property
    def item(self) -> NDArray[np.int32]:
        """The item of each row, int32 [rows], in ascending order: the column of that name of `items`, alone."""
        return self._rows[:, 0]

    def units(self, site: str) -> int:
        """Number of units of a site."""
        return int(self._array(site).shape[1])

    def mean(self, site: str) -> NDArray[np.float64]:
        """Mean [units] over all rows."""
        return self._statistics(site)[0]

    def variance(self, site: str) -> NDArray[np.float64]:
        """Population variance [units] over all rows."""
        return self._statistics(site)[1]

    def read(self, site: str, rows: slice | None = None) -> NDArray[np.float32]:
        """Read rows of one site.

        Parameters
        ----------
        site : str
            Its name.
        rows : slice, optional
            Of step 1; all by default.

        Returns
        -------
        array of float32 [rows, units]

        Raises
        ------
        DataError
            If the site was not recorded.
        StoreError
            If a chunk is damaged or missing.
        """
        start, stop, step = (rows or slice(None)).indices(self.n_rows)
        if step != 1:
            raise ValueError(f"rows are read in order: a slice with step {step} is not possible")
        values = np.empty((max(stop - start, 0), self.units(site)), np.float32)
        for chunk in range(start // self.chunk_rows, -(-stop // self.chunk_rows) if stop > start else 0):
            begin = max(start, chunk * self.chunk_rows)
            end = min(stop, (chunk + 1) * self.chunk_rows)
            values[begin - start : end - start] = self._chunk(site, chunk, begin, end)
        return values

    def chunks(self, sites: str | Iterable[str] | None = None) -> Iterator[dict[str, NDArray[np.float32]]]:
        """Go through all rows once.

        Parameters
        ----------
        sites : str or iterable of str, optional
            Names of sites; all by default.

        Yields
        ------
        dict
            Site -> array of float32 [rows, units] of the same rows; `n_chunks` times, in order.

        Raises
        ------
        DataError
            If a site was not recorded.
        StoreError
            If a chunk is damaged or missing.
        """
        names = self._names if sites is None else [sites] if isinstance(sites, str) else list(sites)
        for name in names:
            self._array(name)
        for chunk in range(self.n_chunks):
            begin, end = chunk * self.chunk_rows, min((chunk + 1) * self.chunk_rows, self.n_rows)
            yield {name: self._chunk(name, chunk, begin, end) for name in names}

    def _array(self, site: str) -> Any:
        if site not in self._names:
            known = ", ".join(self._names)
            raise DataError(f"site {site!r} was not recorded in {self.result.path}; it has {known}")
        return self._open(f"units/{site}")

    def _open(self, name: str) -> Any:
        if name not in self._opened:
            self._opened[name] = self._group[name]
        return self._opened[name]

    def _chunk(self, site: str, chunk: int, begin: int, end: int) -> NDArray[np.float32]:
        array = self._array(site)
        return decode(self._checked(array, slice(begin, end), f"units/{site}", f"c/{chunk}/0"), self.dtype)

    def _statistics(self, site: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean [units] and variance [units] of one site."""
        array = self._array(site)
        before = sum(self.units(name) for name in self._names[: self._names.index(site)])
        mean, variance = self._merged[:, before : before + array.shape[1]]
        return mean, variance

    @cached_property
    def _merged(self) -> NDArray[np.float64]:
        return self._checked(self._open("statistics"), slice(None), "statistics", "c/0/0")

    @cached_property
    def _rows(self) -> NDArray[np.int32]:
        """Item, position and token [rows, 3]."""
        array = self._open("rows")
        parts = []
        for chunk, begin in enumerate(range(0, self.n_rows, array.chunks[0])):
            rows = slice(begin, min(begin + array.chunks[0], self.n_rows))
            parts.append(self._checked(array, rows, "rows", f"c/{chunk}/0"))
        return np.concatenate(parts)

    def _checked(self, array: Any, rows: slice, name: str, chunk: str) -> NDArray[Any]:
        """Read rows that lie in one chunk. Zarr takes a missing chunk for fill values, so look first."""
        file = self.result.path / name / chunk
        if not file.is_file():
            raise StoreError(f"chunk {chunk} of array {name} of {self.result.path} is missing: {_AGAIN}")
        try:
            return np.asarray(array[rows])
        except (ValueError, RuntimeError, OSError) as error:
            where = f"chunk {chunk} of array {name} of {self.result.path}"
            raise StoreError(f"{where} is damaged: {_AGAIN}") from error
