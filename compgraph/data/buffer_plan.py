"""What a buffer will hold, decided before the first forward pass, and the passes that fill it.

Where the numbers come from is a `Source`: from a forward pass here (`activations_of`), from gradients elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compgraph.architecture import Site
from compgraph.data.buffer_layout import (
    LAYOUT,
    Encoding,
    IntArray,
    Pairs,
    Positions,
    Side,
    chunk_rows,
    encoding,
    last_positions,
    select_rows,
    select_sites,
)
from compgraph.errors import DataError
from compgraph.models.network import Network
from compgraph.provenance import json_digest

Source = Callable[[slice], Mapping[str, Tensor]]
"""Gives the numbers to record for the items of a slice: site -> [items, time, n_units], for images [items, n_units]."""


@dataclass(frozen=True)
class Plan:
    """Everything that is decided before the first forward pass."""

    sites: tuple[Site, ...]
    item: IntArray  # [rows]
    position: IntArray  # [rows]
    values: NDArray[Any]  # the inputs of the recorded side
    mask: NDArray[np.bool_] | None
    scored: IntArray | None  # [n] the one position whose logits are computed, where all are not needed
    encoding: Encoding
    batch_size: int
    step: int  # rows of a chunk
    attributes: dict[str, Any]

    @property
    def rows(self) -> int:
        return len(self.item)

    @property
    def n_chunks(self) -> int:
        return -(-self.rows // self.step)

    def span(self, chunk: int) -> slice:
        return slice(chunk * self.step, min((chunk + 1) * self.step, self.rows))


def make_plan(
    net: Network,
    pairs: Pairs,
    sites: str | Iterable[str],
    positions: Positions,
    dtype: str,
    batch_size: int,
    side: Side,
    compress: Sequence[str],
    chunk_bytes: int,
    about: Mapping[str, Any] | None = None,
) -> Plan:
    """Decide on sites, rows and chunks; `about` holds further attributes, all that other numbers depend on."""
    if batch_size < 1:
        raise DataError(f"batch_size is {batch_size}; it must be at least 1")
    values = _side(pairs, side)
    chosen = select_sites(net.architecture, sites)
    compressed = {site.name for site in select_sites(net.architecture, compress)} if compress else set()
    item, position = select_rows(pairs, positions)
    step = chunk_rows(chosen, len(item), dtype, chunk_bytes)
    attributes = {
        "layout": LAYOUT,
        "network": {"digest": net.digest, "dtype": str(net.dtype).removeprefix("torch.")},
        "architecture": net.architecture.to_dict(),
        "data": {"digest": data_digest(pairs, side), "items": pairs.n, "shape": list(values.shape)},
        "sites": [
            {"name": site.name, "n_units": site.n_units, "compressed": site.name in compressed} for site in chosen
        ],
        "positions": positions if isinstance(positions, str) else [int(number) for number in positions],
        "side": side,
        "dtype": dtype,
        "batch_size": batch_size,
        "chunk_rows": step,
        "rows": len(item),
        **(about or {}),
    }
    mask, scored = pairs.mask, None
    if values.ndim == 2:
        everywhere = np.ones(values.shape, bool) if mask is None else np.asarray(mask, bool)
        one_each = len(item) == pairs.n and bool((np.diff(item) == 1).all())
        if one_each:
            scored = position
        elif "logits" not in {site.name for site in chosen}:
            scored = last_positions(everywhere)  # logits are not wanted: one position is the cheapest
    return Plan(chosen, item, position, values, mask, scored, encoding(dtype), batch_size, step, attributes)


def _side(pairs: Pairs, side: Side) -> NDArray[Any]:
    if side not in ("clean", "corrupted"):
        raise DataError(f"side {side!r} is not 'clean' or 'corrupted'")
    values = pairs.clean if side == "clean" else pairs.corrupted
    if values is None:
        raise DataError("side 'corrupted' needs counterfactuals, and these items have none")
    return values


def data_digest(pairs: Pairs, side: Side, also: Sequence[str] = ()) -> str:
    """Digest of everything about the data that a buffer of activations, or of further fields, depends on."""
    digests = {}
    arrays = {"values": _side(pairs, side), "mask": pairs.mask, "positions": pairs.positions}
    arrays |= {name: getattr(pairs, name, None) for name in also}
    words = {"ids": pairs.ids, "task": pairs.task, "split": pairs.split}
    arrays |= {name: np.asarray(column).astype(str) for name, column in words.items()}
    for name, array in arrays.items():
        if array is not None:
            array = np.ascontiguousarray(array)
            digests[name] = [str(array.dtype), list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
    return json_digest(digests)


def first_item(plan: Plan, chunk: int) -> int:
    """Return the first item of the batch with a chunk's first row (the number of items after the last)."""
    if chunk >= plan.n_chunks:
        return len(plan.values)
    return int(plan.item[chunk * plan.step]) // plan.batch_size * plan.batch_size


@dataclass(frozen=True)
class Block:
    """Recorded rows of one batch: site -> [count, n_units] on the CPU, from row `first` on."""

    units: dict[str, Tensor]
    first: int
    count: int
    items_done: int


def recorded(plan: Plan, source: Source, chunk: int) -> Iterator[Block]:
    """Go through the items batch by batch and yield the recorded rows, from the first row of a chunk on."""
    names = [site.name for site in plan.sites]
    row = chunk * plan.step
    for start in range(first_item(plan, chunk), len(plan.values), plan.batch_size):
        stop = min(start + plan.batch_size, len(plan.values))
        last = int(np.searchsorted(plan.item, stop))
        units = source(slice(start, stop))
        taken = {name: _take(units[name], plan, slice(row, last), start) for name in names}
        yield Block(taken, row, last - row, stop)
        row = last


def activations_of(net: Network, plan: Plan) -> Source:
    """Gives the units of a forward pass."""
    names = [site.name for site in plan.sites]
    return lambda batch: _forward(net, plan, batch, names)


def _forward(net: Network, plan: Plan, batch: slice, names: Sequence[str]) -> dict[str, Tensor]:
    values = torch.from_numpy(np.ascontiguousarray(plan.values[batch]))
    if values.is_floating_point():
        values = values.to(net.dtype)
    mask = None if plan.mask is None else torch.from_numpy(np.ascontiguousarray(plan.mask[batch]))
    scored = None if plan.scored is None else torch.from_numpy(plan.scored[batch]).to(net.device)
    with torch.no_grad():
        run = net.run(
            values.to(net.device),
            None if mask is None else mask.to(net.device),
            capture=names,
            positions=scored,
        )
    return run.units


def _take(units: Tensor, plan: Plan, rows: slice, start: int) -> Tensor:
    """Return the recorded rows of a batch's units [b, t, n] or [b, n] as [rows, n], on the CPU."""
    local, position = plan.item[rows] - start, plan.position[rows]
    if units.ndim == 3:
        if len(local) == units.shape[0] * units.shape[1]:
            units = units.flatten(0, 1)
        else:
            index = torch.from_numpy(local).to(units.device), torch.from_numpy(position).to(units.device)
            units = units[index]
    elif len(local) != len(units):
        units = units[torch.from_numpy(local).to(units.device)]
    return units.detach().cpu()


def explain_loss(block: Block, site: str, plan: Plan, pairs: Pairs) -> NoReturn:
    """Raise the DataError for a site with values that are not finite, or not once they are stored."""
    finite = torch.isfinite(block.units[site]).all(1)
    if not bool(finite.all()):
        row = block.first + int((~finite).int().argmax())
        where = f"token {plan.position[row]} of item" if plan.values.ndim == 2 else "item"
        raise DataError(
            f"site {site} has a value that is not finite at {where} {str(pairs.ids[plan.item[row]])!r}: "
            "check the network's weights and precision"
        )
    largest = float(block.units[site].abs().max())
    other = "float32 or bfloat16" if plan.encoding.name == "float16" else "float32"
    raise DataError(f"site {site} reaches {largest:.4g}, too large for {plan.encoding.name}: record it as {other}")
