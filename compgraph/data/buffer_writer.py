"""Record a network's activations, or other numbers per unit, into a buffer, in one pass over the data.

Memory is that of two batches, whatever the number of examples. A chunk's moments are written after the chunk of
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

from compgraph import store
from compgraph.data.buffer_chunks import CompressingSink, RawSink, Recorder, Sink, chunk_is_whole
from compgraph.data.buffer_layout import KIND, QUANTITIES, Pairs, Positions, Side, estimate_bytes
from compgraph.data.buffer_plan import (
    Block,
    Plan,
    Source,
    activations_of,
    data_digest,
    explain_loss,
    first_item,
    make_plan,
    recorded,
)
from compgraph.data.buffers import ActivationBuffer, open_buffer
from compgraph.data.moments import Moments
from compgraph.models.network import Network
from compgraph.progress import progress as show_progress
from compgraph.provenance import Provenance, code_digest, json_digest

#: Without it a chunk of fill values is left out. It is not kept with an array; whoever opens one says it anew.
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
    plan = make_plan(net, pairs, sites, positions, dtype, batch_size, side, tuple(compress), chunk_bytes)
    return fill_buffer(net, pairs, Path(draft_path), plan, activations_of(net, plan), progress=progress)


def fill_buffer(net: Network, pairs: Pairs, path: Path, plan: Plan, source: Source, *, progress: str) -> dict[str, Any]:
    """Write a planned buffer from any source of numbers, or finish an interrupted one (see `write_buffer`).

    Parameters
    ----------
    plan : Plan
        Its attributes hold everything that the numbers depend on: an interrupted store with the same ones is
        continued.
    source : callable
        See `compgraph.data.buffer_plan.Source`.

    Returns
    -------
    dict
        A summary for the manifest.
    """
    writer = _Writer(path, plan, pairs)
    first = writer.resume()
    if first is None:
        needed = estimate_bytes(net.architecture, plan.rows, [site.name for site in plan.sites], plan.encoding.name)
        what = f"the {plan.attributes.get('quantity', QUANTITIES[KIND])} buffer {path.name.removesuffix('.partial')}"
        store.require_space(path, needed, what)
        writer.begin()
        first = 0
    kind = "images" if plan.values.ndim > 2 else "prompts"
    with show_progress(progress, pairs.n, kind) as shown:
        done = first_item(plan, first)
        shown.skip(done)
        writer.open_sinks()
        try:
            with _Behind(writer.add) as write:
                for block in recorded(plan, source, first):
                    write(block)
                    shown.advance(block.items_done - done)
                    done = block.items_done
        finally:
            writer.abandon()
        writer.finish()
    return {
        "rows": plan.rows,
        "items": pairs.n,
        "units": {site.name: site.n_units for site in plan.sites},
        "dtype": plan.encoding.name,
        "positions": plan.attributes["positions"],
        "side": plan.attributes["side"],
    }


def record_activations(
    net: Network, pairs: Pairs, manifest_path: str | Path, *, resume: bool = True, **options: Any
) -> ActivationBuffer:
    """Record a sealed buffer and open it: `write_buffer` inside `compgraph.store.create`.

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
    inputs = {"model": net.digest, "data": data_digest(pairs, options.get("side", "clean"))}
    made = Provenance("activations", _plain_options(options), None, inputs, code_digest([__name__]))
    with store.create(path, KIND, f"{path.stem}.zarr", made, resume=resume) as draft:
        draft.summary = write_buffer(net, pairs, draft.path, **options)
    return open_buffer(path)


def _plain_options(options: dict[str, Any]) -> dict[str, Any]:
    return {name: list(v) if isinstance(v, (tuple, set)) else v for name, v in options.items() if name != "progress"}


class _Writer:
    """The store of one buffer, and the chunk that is being filled."""

    def __init__(self, path: Path, plan: Plan, pairs: Pairs) -> None:
        self.path, self.plan, self.pairs = path, plan, pairs
        self.signature = json_digest(plan.attributes)
        self.offsets = np.cumsum([0, *(site.n_units for site in plan.sites)])
        self.chunk = 0  # the one being filled
        self.filled = 0  # its rows so far
        self.recorder = Recorder(plan.encoding, max(site.n_units for site in plan.sites))
        self.sinks: dict[str, Sink] = {}
        self.moments = self._no_moments()  # of the chunk being filled
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
            if not all(chunk_is_whole(self.path / key) for key in keys):
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
        self.group.create_group("units")
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
        table = pd.DataFrame({name: np.asarray(column).astype(str) for name, column in items.items()}, dtype=object)
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

    def open_sinks(self) -> None:
        for entry in self.plan.attributes["sites"]:
            name = f"units/{entry['name']}"
            shape = (self.plan.step, entry["n_units"])
            raw = RawSink(self.path / name, shape, self.plan.encoding)
            self.sinks[entry["name"]] = CompressingSink(self.arrays[name]) if entry["compressed"] else raw

    def add(self, block: Block) -> None:
        """Append a block of rows; close each chunk that it fills."""
        taken = 0
        while taken < block.count:
            size = self.plan.span(self.chunk).stop - self.plan.span(self.chunk).start
            part = slice(taken, min(block.count, taken + size - self.filled))
            for name, sink in self.sinks.items():
                with np.errstate(invalid="ignore", over="ignore"):  # explained below
                    found = self.recorder.record(block.units[name][part], sink)
                if not np.isfinite(found.mean).all():
                    explain_loss(block, name, self.plan, self.pairs)
                self.moments[name] = self.moments[name].merge(found)
            self.filled += part.stop - part.start
            taken = part.stop
            if self.filled == size:
                self._close_chunk()

    def _close_chunk(self) -> None:
        for sink in self.sinks.values():
            sink.close_chunk(self.chunk)
        found = [self.moments[site.name] for site in self.plan.sites]
        joined = [np.concatenate([m.mean for m in found]), np.concatenate([m.squares for m in found])]
        self.arrays["moments"][self.chunk] = np.stack(joined)  # last: it says that the chunk is there
        self.chunk, self.filled, self.moments = self.chunk + 1, 0, self._no_moments()

    def abandon(self) -> None:
        """Let go of an unfinished chunk."""
        for sink in self.sinks.values():
            sink.abandon()

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
