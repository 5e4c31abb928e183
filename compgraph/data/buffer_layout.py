"""What a buffer looks like on disk: names, encodings, and which sites and rows are recorded.

A buffer holds a number per row and unit: an activation, or an attribution (the attribute `quantity` says which).
One Zarr store (format 3) holds::

    units/<site>    [rows, units]  the numbers, in chunks of `chunk_rows` rows and full width
    moments         [chunks, 2, units of all sites]  mean and sum of squared deviations of each chunk
    statistics      [2, units of all sites]  mean and population variance, merged from the moments
    rows            [rows, 3]  item, position and token of each row
    items.parquet   one row an item: id, task, split

The units of all sites are in the order of the attribute `sites`. Every chunk ends in a CRC-32C; the group's
attributes say how the buffer was made.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from compgraph.architecture import Architecture, Site
from compgraph.errors import DataError

#: Version of this layout, kept in the attributes.
LAYOUT = 1
#: Kind of the result, as its manifest says it, and what a buffer of that kind holds per row and unit.
KIND = "activations"
ATTRIBUTIONS = "attributions"
QUANTITIES = {KIND: "activation", ATTRIBUTIONS: "attribution"}

Positions = Literal["all", "last", "scored"] | Sequence[int]
Side = Literal["clean", "corrupted"]
IntArray = NDArray[np.int64]


class Pairs(Protocol):
    """What is asked of `PromptPairs` and `ImagePairs`."""

    clean: NDArray[Any]
    corrupted: NDArray[Any] | None
    mask: NDArray[np.bool_] | None
    positions: NDArray[np.int64] | None
    ids: NDArray[np.str_]
    task: NDArray[np.str_]
    split: NDArray[np.str_]

    @property
    def n(self) -> int: ...


@dataclass(frozen=True)
class Encoding:
    """How a number is kept: `stored` is the array's type, `fill` what stands for a row that is not there."""

    name: str
    stored: str
    fill: Any


#: bfloat16 is unknown to Zarr: its bits are kept as uint16. The fill is a not-a-number in every encoding.
ENCODINGS = {
    "float32": Encoding("float32", "float32", float("nan")),
    "float16": Encoding("float16", "float16", float("nan")),
    "bfloat16": Encoding("bfloat16", "uint16", 0x7FC0),
}


def encoding(name: str) -> Encoding:
    """Return the encoding of that name.

    Raises
    ------
    DataError
        If there is none.
    """
    if name not in ENCODINGS:
        raise DataError(f"dtype {name!r} of a buffer is not one of {', '.join(ENCODINGS)}")
    return ENCODINGS[name]


def decode(values: NDArray[Any], name: str) -> NDArray[np.float32]:
    """Return stored values as float32 (exact in every encoding)."""
    if name == "bfloat16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32, copy=False)


def select_sites(architecture: Architecture, patterns: str | Iterable[str]) -> tuple[Site, ...]:
    """Return the sites whose names match any pattern, in the order of computation.

    Parameters
    ----------
    architecture : Architecture
        The network's sites.
    patterns : str or iterable of str
        Names or patterns (``"attn.*"``, ``"*"``). A transformer's ``logits`` have to be named in full:
        patterns leave them out, for a vocabulary at every position is rarely wanted and always large. A
        pattern for a kind of site that this architecture lacks altogether (``"conv.*"`` for a transformer)
        selects nothing, so that one list serves many networks.

    Raises
    ------
    DataError
        If a name or pattern matches nothing else, or if nothing is selected at all.
    """
    patterns = (patterns,) if isinstance(patterns, str) else tuple(patterns)
    kinds = {site.kind for site in architecture.sites}
    chosen = set()
    for pattern in patterns:
        found = {site.name for site in architecture.sites if _matches(architecture, site, pattern)}
        if not found and not (set("*?[") & set(pattern) and pattern.split(".")[0] in OTHER_KINDS - kinds):
            raise DataError(f"no site matches {pattern!r}; {_suggestion(architecture, pattern)}")
        chosen |= found
    if not chosen:
        raise DataError(f"{list(patterns)} select no site; {_suggestion(architecture, '*')}")
    return tuple(site for site in architecture.sites if site.name in chosen)


OTHER_KINDS = {"embed", "attn", "mlp", "resid", "input", "conv", "linear"}


def _matches(architecture: Architecture, site: Site, pattern: str) -> bool:
    if site.name == "logits" and architecture.kind == "transformer":
        return pattern == "logits"
    return fnmatchcase(site.name, pattern)


def _suggestion(architecture: Architecture, pattern: str) -> str:
    names = [site.name for site in architecture.sites]
    near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"sites are {', '.join(names)}"


def select_rows(pairs: Pairs, positions: Positions) -> tuple[IntArray, IntArray]:
    """Return which (item, token) pairs are recorded, by item and then by position.

    Parameters
    ----------
    pairs : PromptPairs or ImagePairs
        The data. An image has one row.
    positions : {"all", "last", "scored"} or sequence of int
        Every real token, the last one, that of ``pairs.positions``, or the tokens of those numbers, counted
        among an item's real tokens from 0, from the end if negative. Padding is never recorded.

    Returns
    -------
    item, position : arrays of int64 [rows]
        `position` is the index in the padded token array.

    Raises
    ------
    DataError
        If the word is unknown, an item is too short for a number, or there are no items.
    """
    if pairs.n == 0:
        raise DataError("there is no item to record: the dataset is empty")
    if isinstance(positions, str) and positions not in ("all", "last", "scored"):
        raise DataError(f"positions {positions!r} is not 'all', 'last', 'scored' or a list of token numbers")
    items = np.arange(pairs.n, dtype=np.int64)
    if pairs.clean.ndim != 2:
        if not isinstance(positions, str):
            raise DataError(f"positions {list(positions)} need tokens, and these items are images")
        return items, np.zeros_like(items)
    mask = np.ones(pairs.clean.shape, bool) if pairs.mask is None else np.asarray(pairs.mask, bool)
    if not mask.any(1).all():
        raise DataError(f"item {str(pairs.ids[int(np.argmin(mask.any(1)))])!r} has no token")
    if isinstance(positions, str) and positions == "all":
        item, position = np.nonzero(mask)
        return item.astype(np.int64), position.astype(np.int64)
    if isinstance(positions, str) and positions == "last":
        return items, last_positions(mask)
    if isinstance(positions, str):
        if pairs.positions is None:
            raise DataError("positions 'scored' need prompts that say which position is scored")
        return items, np.asarray(pairs.positions, np.int64)
    return _numbered(mask, positions, pairs.ids)


def _numbered(mask: NDArray[np.bool_], numbers: Sequence[int], ids: NDArray[np.str_]) -> tuple[IntArray, IntArray]:
    if not numbers:
        raise DataError("positions is an empty list: name at least one token")
    lengths = mask.sum(1)
    wanted = np.asarray(numbers, np.int64)[None, :]
    absolute = np.where(wanted < 0, lengths[:, None] + wanted, wanted)
    wrong = (absolute < 0) | (absolute >= lengths[:, None])
    if wrong.any():
        item, column = np.argwhere(wrong)[0]
        raise DataError(f"item {str(ids[item])!r} has {lengths[item]} tokens, so none of number {numbers[column]}")
    # The k-th real token of each row, in order of position and each once.
    order = np.argsort(~mask, axis=1, kind="stable")
    chosen = np.zeros_like(mask)
    np.put_along_axis(chosen, np.take_along_axis(order, absolute, 1), True, 1)
    item, position = np.nonzero(chosen)
    return item.astype(np.int64), position.astype(np.int64)


def last_positions(mask: NDArray[np.bool_]) -> IntArray:
    """Return the index [n] of each row's last real token."""
    last: IntArray = mask.shape[1] - 1 - np.argmax(mask[:, ::-1], axis=1).astype(np.int64)
    return last


def chunk_rows(
    sites: Sequence[Site], rows: int, dtype: str, chunk_bytes: int = 16 << 20, memory: int = 256 << 20
) -> int:
    """Return the number of rows of a chunk, the same for all sites so that chunks line up.

    The widest site's chunks take at most `chunk_bytes`, and one chunk of all sites together, which is what a reader of
    all of them holds, at most `memory`. Chunks are as equal as they can be: a store keeps the last one at full size.
    """
    item = np.dtype(encoding(dtype).stored).itemsize
    widest = max(site.n_units for site in sites)
    total = sum(site.n_units for site in sites)
    most = max(1, min(chunk_bytes // (widest * item), memory // (total * item)))
    return math.ceil(rows / math.ceil(rows / most))


def estimate_bytes(
    architecture: Architecture, rows: int, sites: str | Iterable[str] = "*", dtype: str = "float16"
) -> int:
    """Return about how many bytes a buffer of `rows` rows takes on disk (uncompressed).

    Parameters
    ----------
    architecture : Architecture
        The network's sites.
    rows : int
        Recorded tokens or images.
    sites : str or iterable of str
        As for `write_buffer`.
    dtype : str
        As for `write_buffer`.

    Raises
    ------
    DataError
        For unknown sites or an unknown dtype.
    """
    chosen = select_sites(architecture, sites)
    step = chunk_rows(chosen, rows, dtype)
    chunks = math.ceil(rows / step)
    units = sum(site.n_units for site in chosen)
    itemsize = np.dtype(encoding(dtype).stored).itemsize
    statistics = 16 * units * (chunks + 1)
    metadata = 2000 * (3 * len(chosen) + 8)
    return chunks * step * units * itemsize + statistics + 12 * rows + metadata
