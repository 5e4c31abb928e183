"""Record a network's activations into a buffer, in one pass over the data.

Memory is that of one chunk, whatever the number of examples. A chunk's moments are written after the chunk of
every site: an interrupted buffer goes on from the first chunk that lacks them or whose checksum is wrong, and
ends up with the bytes that an undisturbed run gives.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compgraph import store
from compgraph.data.buffer_layout import KIND, Pairs, Positions, Side, estimate_bytes
from compgraph.data.buffer_plan import Block, Plan, data_digest, explain_loss, first_item, make_plan, recorded
from compgraph.data.moments import Moments
from compgraph.models.network import Network
from compgraph.progress import progress as show_progress
from compgraph.provenance import Provenance, code_digest, json_digest

_TORCH = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
#: Without it a chunk of fill values is left out. It is not kept with an array; whoever opens one says it
#: anew.
_CONFIG: Any = {"write_empty_chunks": True}


def write_buffer(
    net: Network,
    pairs: Pairs,
    draft_path: Path,
    *,
    sites: str | Iterable[str] = "*",
    positions: Positions = "all",
    dtype: str = "float16",
    batch_size: int = 64,
    side: Side = "clean",
    compress: Iterable[str] = (),
    chunk_bytes: int = 16 << 20,
    progress: str = "activations",
) -> dict[str, Any]:
    """Write the activations of `net` on `pairs` into a Zarr store, or finish an interrupted one.

    Parameters
    ----------
    net : Network
        The network; run without gradients.
    pairs : PromptPairs or ImagePairs
        The inputs.
    draft_path : path
        The store to write: the path of a draft of `compgraph.store.create`, opened with ``resume=True`` if it
        is to survive a kill. An interrupted store there is continued if it was begun with the same network,
        inputs and parameters, else replaced.
    sites : str or iterable of str
        Names or patterns of sites (see `compgraph.data.buffer_layout.select_sites`).
    positions : {"all", "last", "scored"} or sequence of int
        Which tokens to record (see `compgraph.data.buffer_layout.select_rows`).
    dtype : {"float16", "bfloat16", "float32"}
        Precision on disk.
    batch_size : int
        Examples in a forward pass.
    side : {"clean", "corrupted"}
        Which input of each pair.
    compress : iterable of str
        Names or patterns of sites to compress (zstd): worth it for sparse units only.
    chunk_bytes : int
        Size of the widest site's chunks.
    progress : str
        What the progress display says.

    Returns
    -------
    dict
        A summary for the manifest: rows, items, units of every site, dtype, positions, side.

    Raises
    ------
    DataError
        For unknown sites, positions or dtypes, and for activations that are not finite or too large for
        `dtype`.
    StoreError
        If the disk is too small.
    """
    path = Path(draft_path)
    plan = make_plan(net, pairs, sites, positions, dtype, batch_size, side, tuple(compress), chunk_bytes)
    writer = _Writer(path, plan, pairs)
    first = writer.resume()
    if first is None:
        needed = estimate_bytes(net.architecture, plan.rows, [site.name for site in plan.sites], dtype)
        store.require_space(path, needed, f"the activation buffer {path.name.removesuffix('.partial')}")
        writer.begin()
        first = 0
    kind = "images" if plan.values.ndim > 2 else "prompts"
    with show_progress(progress, pairs.n, kind) as shown:
        done = first_item(plan, first)
        shown.skip(done)
        with _Behind(writer.add) as write:
            for block in recorded(net, plan, first):
                write(block)
                shown.advance(block.items_done - done)
                done = block.items_done
        writer.finish()
    return {
        "rows": plan.rows,
        "items": pairs.n,
        "units": {site.name: site.n_units for site in plan.sites},
        "dtype": dtype,
        "positions": plan.attributes["positions"],
        "side": side,
    }


def save_buffer(
    net: Network, pairs: Pairs, manifest_path: str | Path, *, resume: bool = True, **options: Any
) -> store.Result:
    """Write a sealed buffer: `write_buffer` inside `compgraph.store.create`.

    Parameters
    ----------
    net, pairs
        As for `write_buffer`.
    manifest_path : path
        The manifest, ``….json``; the store lies beside it as ``….zarr``.
    resume : bool
        Continue an interrupted attempt, and leave one to continue.
    **options
        Of `write_buffer`.
    """
    path = Path(manifest_path)
    inputs = {"model": net.digest, "pairs": data_digest(pairs, options.get("side", "clean"))}
    made = Provenance("activations", _plain_options(options), None, inputs, code_digest([__name__]))
    with store.create(path, KIND, f"{path.stem}.zarr", made, resume=resume) as draft:
        draft.summary = write_buffer(net, pairs, draft.path, **options)
    return store.open(path, KIND)


def _plain_options(options: dict[str, Any]) -> dict[str, Any]:
    return {
        name: list(v) if isinstance(v, (tuple, set)) else v
        for name, v in options.items()
        if name != "progress"
    }


class _Writer:
    """The store of one buffer, and the chunk that is being filled."""

    def __init__(self, path: Path, plan: Plan, pairs: Pairs) -> None:
        self.path, self.plan, self.pairs = path, plan, pairs
        self.signature = json_digest(plan.attributes)
        self.offsets = np.cumsum([0, *(site.n_units for site in plan.sites)])
        self.chunk = 0
        self.filled = 0
        self.pending = {
            site.name: torch.empty(plan.step, site.n_units, dtype=_TORCH[plan.encoding.name])
            for site in plan.sites
        }
        self.scratch = _Scratch(max(site.n_units for site in plan.sites))
        self.moments = self._no_moments()  # of the rows that are pending
        self.arrays: dict[str, Any] = {}

    def resume(self) -> int | None:
        """Return the first chunk to write of an interrupted store, None if it cannot be continued."""
        import zarr

        options: dict[str, Any] = {"mode": "r+", "zarr_format": 3, "config": _CONFIG}
        try:
            group = zarr.open_group(self.path, mode="r+", zarr_format=3)
            names = [*self._unit_names(), "moments"]
            arrays = {name: zarr.open_array(self.path / name, **options) for name in names}
        except (OSError, KeyError, ValueError, TypeError):
            return None  # nothing there, or begun and killed before its arrays were there
        if group.attrs.get("signature") != self.signature:
            return None
        for litter in self.path.rglob("*.partial"):  # a chunk whose writing was interrupted
            litter.unlink()
        self.group, self.arrays = group, arrays
        for chunk in range(self.plan.n_chunks):
            keys = [f"moments/c/{chunk}/0/0"] + [f"{name}/c/{chunk}/0" for name in self._unit_names()]
            if not all(_chunk_is_whole(self.path / key) for key in keys):
                break
        else:
            chunk = self.plan.n_chunks
        self.chunk = chunk
        return chunk

    def _unit_names(self) -> list[str]:
        return [f"units/{site.name}" for site in self.plan.sites]

    def begin(self) -> None:
        """Lay out an empty store. The attributes come last: without them it is no store to continue."""
        import pandas as pd
        import zarr

        plan, pairs = self.plan, self.pairs
        if self.path.exists():
            shutil.rmtree(self.path) if self.path.is_dir() else self.path.unlink()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.group = zarr.create_group(self.path)
        for entry in plan.attributes["sites"]:
            shape = (plan.rows, entry["n_units"])
            attributes = {"encoding": plan.encoding.name}
            self._create(
                f"units/{entry['name']}",
                shape,
                (plan.step, shape[1]),
                plan.encoding.stored,
                ("row", "unit"),
                fill=plan.encoding.fill,
                compressed=entry["compressed"],
                attributes=attributes,
            )
        total = int(self.offsets[-1])
        names = ("chunk", "mean_and_squares", "units_of_all_sites")
        self._create("moments", (plan.n_chunks, 2, total), (1, 2, total), "float64", names)
        token = plan.values[plan.item, plan.position] if plan.values.ndim == 2 else np.full(plan.rows, -1)
        rows = np.stack([plan.item, plan.position, token], axis=1).astype(np.int32)
        columns = ("row", "item_position_token")
        self._create("rows", rows.shape, (min(plan.rows, 1 << 20), 3), "int32", columns, fill=-1)[:] = rows
        items = {"id": pairs.ids, "task": pairs.task, "split": pairs.split}
        table = pd.DataFrame(
            {name: np.asarray(column).astype(str) for name, column in items.items()}, dtype=object
        )
        store.write_table(table, self.path / "items.parquet")
        self.group.attrs.put(plan.attributes | {"signature": self.signature})

    def _create(
        self,
        name: str,
        shape: tuple[int, ...],
        chunks: tuple[int, ...],
        dtype: str,
        dimensions: tuple[str, ...],
        *,
        fill: Any = float("nan"),
        compressed: bool = False,
        attributes: dict[str, Any] | None = None,
    ) -> Any:
        import zarr
        from zarr.codecs import Crc32cCodec, ZstdCodec

        # The checksum comes last, over the bytes on disk: the same check serves compressed chunks.
        codecs = ([ZstdCodec(level=3)] if compressed else []) + [Crc32cCodec()]
        self.arrays[name] = zarr.create_array(
            store=self.path / name,
            shape=shape,
            chunks=chunks,
            dtype=dtype,
            compressors=codecs,
            fill_value=fill,
            dimension_names=dimensions,
            attributes=attributes or {},
            config=_CONFIG,
            overwrite=name == "statistics",  # written by an attempt that did not get to the seal
        )
        return self.arrays[name]

    def add(self, block: Block) -> None:
        """Append a block of rows; write each chunk that it fills."""
        taken = 0
        while taken < block.count:
            size = self.plan.span(self.chunk).stop - self.plan.span(self.chunk).start
            part = slice(taken, taken + min(block.count - taken, size - self.filled))
            into = slice(self.filled, self.filled + part.stop - part.start)
            for site in self.plan.sites:
                found = self.scratch.keep(block.units[site.name][part], self.pending[site.name][into])
                if not np.isfinite(found.mean).all():
                    explain_loss(block, site.name, self.plan, self.pairs)
                self.moments[site.name] = self.moments[site.name].merge(found)
            taken, self.filled = part.stop, into.stop
            if self.filled == size:
                self._write_chunk(size)

    def _write_chunk(self, size: int) -> None:
        for site in self.plan.sites:
            pending = self.pending[site.name][:size]
            bits = pending.view(torch.int16) if pending.dtype == torch.bfloat16 else pending
            stored = bits.numpy().view(self.plan.encoding.stored)
            self.arrays[f"units/{site.name}"][self.plan.span(self.chunk)] = stored
        found = [self.moments[site.name] for site in self.plan.sites]
        mean_and_squares = [
            np.concatenate([m.mean for m in found]),
            np.concatenate([m.squares for m in found]),
        ]
        self.arrays["moments"][self.chunk] = np.stack(mean_and_squares)
        self.chunk, self.filled, self.moments = self.chunk + 1, 0, self._no_moments()

    def _no_moments(self) -> dict[str, Moments]:
        return {site.name: Moments.none(site.n_units) for site in self.plan.sites}

    def finish(self) -> None:
        """Merge the moments of all chunks into the mean and the variance."""
        total = Moments.none(int(self.offsets[-1]))
        for chunk in range(self.plan.n_chunks):
            span = self.plan.span(chunk)
            mean, squares = self.arrays["moments"][chunk]
            total = total.merge(Moments(span.stop - span.start, mean, squares))
        statistics = np.stack([total.mean, total.variance])
        names = ("mean_and_variance", "units_of_all_sites")
        self._create("statistics", statistics.shape, statistics.shape, "float64", names)[:] = statistics


class _Scratch:
    """Room for a block of rows on its way to float64, small enough to stay in the cache."""

    ELEMENTS = 1 << 16

    def __init__(self, widest: int) -> None:
        self.single = torch.empty(max(self.ELEMENTS, widest))
        self.double = torch.empty(max(self.ELEMENTS, widest), dtype=torch.float64)

    def keep(self, rows: Tensor, stored: Tensor) -> Moments:
        """Copy rows [rows, units] to where they are stored, and return the moments of what is stored there.

        Of what is stored and not of what came, so that whoever reads it finds the same mean; not finite if a
        value was not, or was too large.
        """
        width = rows.shape[1]
        step = max(1, self.ELEMENTS // width)
        total = Moments.none(width)
        for start in range(0, len(rows), step):
            part = stored[start : start + step]
            part.copy_(rows[start : start + step])
            size = part.numel()
            if part.dtype != torch.float32:  # from 16 bits straight to 64 is slow
                part = self.single[:size].view(part.shape).copy_(part)
            double = self.double[:size].view(part.shape).copy_(part)
            total = total.merge(Moments.of_block(double.numpy()))
        return total


class _Behind:
    """Does work in a thread behind the caller, in order, at most one piece ahead of it.

    The next forward pass runs while the rows of the last one are checked, converted, summed and written. An
    error there is raised at the next call, or at the end of the ``with``.
    """

    def __init__(self, work: Callable[[Block], None]) -> None:
        self._work = work
        self._pool = ThreadPoolExecutor(1)
        self._last: Future[None] | None = None

    def __enter__(self) -> _Behind:
        return self

    def __call__(self, block: Block) -> None:
        if self._last is not None:
            self._last.result()
        self._last = self._pool.submit(self._work, block)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown(wait=True)
        if kind is None and self._last is not None:
            self._last.result()


def _chunk_is_whole(path: Path) -> bool:
    """Compare the four bytes at the end of a chunk with the CRC-32C of the rest."""
    import google_crc32c

    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return False
    return len(data) > 4 and google_crc32c.value(data[:-4]) == int.from_bytes(data[-4:], "little")
