"""Chunks of a buffer being filled: block by block from the cache to the file, and their moments."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import google_crc32c
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compgraph.data.buffer_layout import Encoding
from compgraph.data.moments import Moments

_TORCH = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class Sink(Protocol):
    """Takes the rows of one site, chunk after chunk."""

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows [rows, units] of the stored type to the chunk."""
        ...

    def close_chunk(self, number: int) -> None:
        """The rows added since the last call are chunk `number`."""
        ...

    def abandon(self) -> None:
        """Let go of a chunk that will not be finished."""
        ...


class RawSink:
    """Writes chunks as Zarr keeps them without compression: the rows as they are, then their CRC-32C.

    Row by row instead of through Zarr, which wants a whole chunk in memory and copies it twice. A chunk has
    its name once it is whole.
    """

    def __init__(self, array: Path, shape: tuple[int, int], encoding: Encoding) -> None:
        self.array, self.shape = array, shape
        self.padding = np.full((1, shape[1]), encoding.fill, encoding.stored)
        self.file: BinaryIO | None = None
        self.rows = self.crc = 0

    @property
    def _unfinished(self) -> Path:
        return self.array / "c" / "chunk.partial"

    def append(self, rows: NDArray[Any]) -> None:
        if self.file is None:
            self._unfinished.parent.mkdir(exist_ok=True)
            self.file = self._unfinished.open("wb", buffering=0)
            self.rows = self.crc = 0
        data = np.ascontiguousarray(rows).view()
        data.flags.writeable = False  # the checksum takes nothing else without a copy
        self.crc = google_crc32c.extend(self.crc, data)
        _write(self.file, data)
        self.rows += len(rows)

    def close_chunk(self, number: int) -> None:
        assert self.file is not None
        for _ in range(self.shape[0] - self.rows):  # the last chunk is kept at full size
            self.append(self.padding)
        _write(self.file, np.array([self.crc], "<u4"))
        self.abandon()
        folder = self.array / "c" / str(number)
        folder.mkdir(exist_ok=True)
        os.replace(self._unfinished, folder / "0")

    def abandon(self) -> None:
        if self.file is not None:
            self.file.close()
            self.file = None


def _write(file: BinaryIO, data: NDArray[Any]) -> None:
    """Write all of it: an unbuffered file may take less at a time (2 GB at most)."""
    rest = data.data.cast("B")
    while len(rest):
        rest = rest[file.write(rest) :]


class CompressingSink:
    """Gathers a chunk in memory and lets Zarr compress and write it."""

    def __init__(self, array: Any) -> None:
        self.array = array
        self.parts: list[NDArray[Any]] = []

    def append(self, rows: NDArray[Any]) -> None:
        self.parts.append(rows.copy())

    def close_chunk(self, number: int) -> None:
        rows = np.concatenate(self.parts)
        start = number * self.array.chunks[0]
        self.array[start : start + len(rows)] = rows
        self.abandon()

    def abandon(self) -> None:
        self.parts = []


class Recorder:
    """Converts rows to the stored type, hands them to a sink and sums their moments, block by block."""

    ELEMENTS = 1 << 18  # a block stays in the cache
    GROUP = 64

    def __init__(self, encoding: Encoding, widest: int) -> None:
        size = max(self.ELEMENTS, self.GROUP * widest)
        self.stored = torch.empty(size, dtype=_TORCH[encoding.name])
        self.single = torch.empty(size)
        self.type = encoding.stored

    def record(self, rows: Tensor, sink: Sink) -> Moments:
        """Pass rows [rows, units] to a sink and return the moments of what is stored.

        Of what is stored and not of what came, so that whoever reads it finds the same mean; not finite if a
        value was not, or was too large. Groups of 64 rows are summed in float32 and merged in float64, which
        costs half of float64 alone and errs by about 1e-8.
        """
        width = rows.shape[1]
        step = max(1, self.ELEMENTS // (width * self.GROUP)) * self.GROUP
        total = Moments.none(width)
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            part = self.stored[: part.numel()].view(part.shape).copy_(part)
            bits = part.view(torch.int16) if part.dtype == torch.bfloat16 else part
            sink.append(bits.numpy().view(self.type))
            full = len(part) // self.GROUP * self.GROUP
            if full:
                total = total.merge(self._grouped(part[:full]))
            if full < len(part):
                total = total.merge(Moments.of(part[full:].float().numpy()))
        return total

    def _grouped(self, rows: Tensor) -> Moments:
        values = self.single[: rows.numel()].view(rows.shape).copy_(rows)
        values = values.view(self.GROUP, -1)  # a group is every so many rows, which sums them side by side
        mean = values.mean(0)
        squares = values.sub_(mean).square_().sum(0)
        shape = (-1, rows.shape[1])
        return Moments.of_groups(self.GROUP, mean.view(shape).numpy(), squares.view(shape).numpy())


def chunk_is_whole(path: Path) -> bool:
    """Compare the four bytes at the end of a chunk with the CRC-32C of the rest."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return False
    return len(data) > 4 and google_crc32c.value(data[:-4]) == int.from_bytes(data[-4:], "little")
