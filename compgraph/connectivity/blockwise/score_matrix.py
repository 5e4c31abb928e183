"""All scores of a graph too large for memory, in a file: one array for every two sites and channel.

A sealed result (`compgraph.store`): `x.json`, and `x.zarr` with the arrays `<target site>/<channel>/<source site>`
[targets, sources] (`all` where a site does not read by channels; patterns are at sites of their own,
`attn.3.pattern`) and the folder `partition`, which names the nodes. Zarr format 3, a checksum behind every chunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from compgraph import store
from compgraph.connectivity.blockwise.block import Block
from compgraph.errors import DataError, StoreError
from compgraph.partition import Partition
from compgraph.provenance import Provenance

KIND = "score-matrix"
DTYPES = ("float32", "float16")
INSIDE = "matrix"
"""Folder of all scores in the payload of a graph."""


@dataclass(frozen=True)
class ScoreMatrix:
    """Where all scores shall go.

    Parameters
    ----------
    path
        The manifest, `….json`; the store lies beside it as `….zarr`.
    dtype
        `float32` or `float16` (half the size, three digits, zero below 6e-8).
    """

    path: str | Path
    dtype: str = "float32"

    @contextmanager
    def sealed(self, plan: MatrixPlan, made: Provenance) -> Iterator[MatrixWriter]:
        """A result being written; it is sealed when the body ends well.

        Raises
        ------
        DataError
            A dtype that is not one of the two.
        StoreError
            The disk is too small or cannot be written.
        """
        self._check()
        path = Path(self.path)
        with store.create(path, KIND, f"{path.stem}.zarr", made) as draft:
            writer = MatrixWriter(draft.path, self.dtype, plan)
            yield writer
            draft.summary.update(n_scores=writer.n_scores, dtype=self.dtype, n_nodes=plan.partition.n_nodes)

    def _check(self) -> None:
        if self.dtype not in DTYPES:
            raise DataError(f"matrix: dtype {self.dtype!r} is not one of {', '.join(DTYPES)}")


@dataclass(frozen=True)
class MatrixInside(ScoreMatrix):
    """All scores in a folder of a result that is being written and that seals them: `path` is that folder."""

    @contextmanager
    def sealed(self, plan: MatrixPlan, made: Provenance) -> Iterator[MatrixWriter]:
        """The arrays, being written; whoever writes the result says how it was made."""
        self._check()
        path = Path(self.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        yield MatrixWriter(path, self.dtype, plan)


@dataclass(frozen=True)
class MatrixPlan:
    """What a matrix holds.

    Attributes
    ----------
    partition
        The nodes, patterns among them.
    channels
        Of the graph.
    arrays
        Name (`array_name`) of every array that is not empty -> its shape and that of its chunks.
    """

    partition: Partition
    channels: tuple[str, ...]
    arrays: Mapping[str, tuple[tuple[int, int], tuple[int, int]]]


class MatrixWriter:
    """The arrays of a store that is being written.

    Parameters
    ----------
    path
        Of the store, which is made.
    dtype
        On disk.
    plan
        Sites, channels and blocks: a chunk is a block.
    """

    def __init__(self, path: Path, dtype: str, plan: MatrixPlan) -> None:
        import zarr

        self.path, self.dtype = path, np.dtype(dtype)
        self.arrays: dict[str, Any] = {}
        self.n_scores = sum(int(np.prod(shape)) for shape, _ in plan.arrays.values())
        store.require_space(path, self.n_scores * self.dtype.itemsize, "the matrix of all scores")
        zarr.create_group(path, attributes={"dtype": dtype, "channels": list(plan.channels)})
        for name, (shape, chunks) in plan.arrays.items():
            self._create(name, shape, chunks)
        plan.partition.save(path / "partition")

    def _create(self, name: str, shape: tuple[int, int], chunks: tuple[int, int]) -> None:
        import zarr
        from zarr.codecs import Crc32cCodec

        self.arrays[name] = zarr.create_array(
            store=self.path / name,
            shape=shape,
            chunks=chunks,
            dtype=self.dtype.name,
            compressors=[Crc32cCodec()],
            fill_value=float("nan"),
            dimension_names=("target", "source"),
            config={"write_empty_chunks": True},
        )

    def add(self, block: Block) -> None:
        """Write a block.

        Raises
        ------
        DataError
            A score too large for float16.
        """
        with np.errstate(over="ignore"):
            values = block.scores.cpu().numpy().astype(self.dtype)
        if not np.isfinite(values).all() and bool(torch.isfinite(block.scores).all()):
            edges = f"{block.source} -> {block.site}"
            raise DataError(f"matrix: a score of {edges} is too large for {self.dtype}; use float32")
        row, column = block.into, block.out_of
        array = self.arrays[array_name(block.site, block.channel, block.source)]
        array[row : row + len(values), column : column + values.shape[1]] = values


class StoredScores:
    """A sealed matrix of scores.

    Attributes
    ----------
    result
        The sealed result.
    folder
        Of the arrays inside its payload, with a slash; empty if they are all of it.
    partition
        The nodes; patterns are nodes too.
    """

    def __init__(self, result: store.Result, folder: str = "") -> None:
        self.result, self.folder = result, folder
        self.partition = Partition.load(result.path / folder / "partition")

    def between(self, target: str, source: str, channel: str = "") -> npt.NDArray[np.float32]:
        """Scores of the edges from the nodes of one site to those of another [targets, sources].

        Raises
        ------
        StoreError
            There are no such edges.
        """
        import zarr

        name = self.folder + array_name(target, channel, source)
        if f"{name}/zarr.json" not in self.result.manifest["files"]:
            via = f" by channel {channel!r}" if channel else ""
            raise StoreError(f"{self.result.manifest_path} holds no scores of edges {source} -> {target}{via}")
        self.result.check(*(file for file in self.result.manifest["files"] if file.startswith(f"{name}/")))
        found: Any = zarr.open_array(self.result.path / name, mode="r", zarr_format=3)
        return np.asarray(found[:], np.float32)


def open_score_matrix(path: str | Path) -> StoredScores:
    """Open what `matrix=` wrote, or what `matrix` of a config keeps beside a graph: by the manifest of either.

    Raises
    ------
    StoreError
        There is no whole matrix of scores.
    """
    result = store.open(path, lazy=True)
    if result.kind != "graph":
        return StoredScores(store.open(path, KIND, lazy=True))
    if f"{INSIDE}/zarr.json" not in result.manifest["files"]:
        raise StoreError(f"{path} holds a graph without the matrix of all scores; set its entry's matrix: float32")
    return StoredScores(result, f"{INSIDE}/")


def array_name(target: str, channel: str, source: str) -> str:
    return f"{target}/{channel or 'all'}/{source}"
