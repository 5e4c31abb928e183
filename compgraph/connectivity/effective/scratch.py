"""Matrices that grow by rows: in memory while they fit, then in files of a scratch folder."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from torch import Tensor

from compgraph.disk import explained

ROW_MEMORY = 2**30
"""Bytes of rows that are kept in memory; beyond them all rows go to disk."""


class RowStore:
    """Named matrices to which rows are appended and from which ranges of rows are read.

    Files are read, not mapped: pages of a mapping would count as this process's memory. They lie in the system's
    temporary folder (`TMPDIR`) and go with the store; use it as a context manager.

    Parameters
    ----------
    memory
        Bytes to keep in memory (`ROW_MEMORY` where None).
    """

    def __init__(self, memory: int | None = None) -> None:
        self.memory = ROW_MEMORY if memory is None else memory
        self.used = 0
        self.kept: dict[str, list[Tensor]] = {}
        self.shape: dict[str, tuple[int, int]] = {}
        self.dtype: dict[str, torch.dtype] = {}
        self.folder: tempfile.TemporaryDirectory[str] | None = None
        self.files: dict[str, Path] = {}

    def __enter__(self) -> RowStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forget all rows and remove the files."""
        self.kept.clear()
        self.files.clear()
        if self.folder is not None:
            self.folder.cleanup()

    @property
    def on_disk(self) -> bool:
        """Whether the rows outgrew the memory."""
        return self.folder is not None

    def append(self, name: str, rows: Tensor) -> None:
        """Add rows [n, width] (float32 or float64) to a matrix; the first ones make it.

        Raises
        ------
        StoreError
            The disk is full.
        """
        rows = rows.detach().cpu().contiguous()
        length, width = self.shape.get(name, (0, rows.shape[1]))
        self.shape[name], self.dtype[name] = (length + len(rows), width), rows.dtype
        self.used += rows.numel() * rows.element_size()
        if self.folder is None:
            self.kept.setdefault(name, []).append(rows)
            if self.used > self.memory:
                self._spill()
        else:
            self._write(name, rows)

    def _spill(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="compgraph-rows-")
        for name in list(self.kept):
            for rows in self.kept.pop(name):
                self._write(name, rows)

    def _write(self, name: str, rows: Tensor) -> None:
        assert self.folder is not None
        path = self.files.setdefault(name, Path(self.folder.name, f"{len(self.files)}.rows"))
        with explained(path), path.open("ab") as file:
            file.write(rows.numpy().data)

    def length(self, name: str) -> int:
        """Number of rows of a matrix."""
        return self.shape[name][0]

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Rows [stop - start, width]; not to be written to."""
        if self.folder is None:
            if len(self.kept[name]) > 1:  # joined once, when reading begins
                self.kept[name] = [torch.cat(self.kept[name])]
            return self.kept[name][0][start:stop]
        width, dtype = self.shape[name][1], self.dtype[name]
        with self.files[name].open("rb") as file:
            file.seek(start * width * dtype.itemsize)
            kind = np.float32 if dtype == torch.float32 else np.float64
            flat = np.fromfile(file, kind, (stop - start) * width)
        return torch.from_numpy(flat).reshape(stop - start, width)
