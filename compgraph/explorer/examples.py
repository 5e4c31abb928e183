"""The inputs that each node responds to most, from a buffer of activations or attributions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compgraph.attribution.scores import sums_by_part
from compgraph.errors import DataError
from compgraph.partition import Partition

if TYPE_CHECKING:
    from compgraph.data.buffers import ActivationBuffer

MOST_ITEMS = 2_000
MOST_VALUES = 20_000_000
"""Rows times nodes that are held at once: 80 MB."""


@dataclass(frozen=True)
class Example:
    """What one node does on one item.

    Attributes
    ----------
    item
        Number of the item in its dataset.
    peak
        Largest value by magnitude, with its sign.
    position
        Positions that were recorded (tokens; 0 for images), int [p].
    value
        The node's value at each, float [p].
    place
        Where in an image the strongest unit of the node lies: (x, y), 0 to 1 from the upper left; empty where units
        have no place.
    """

    item: int
    peak: float
    position: NDArray[np.int64]
    value: NDArray[np.float64]
    place: tuple[float, ...] = ()


@dataclass(frozen=True)
class Examples:
    """Examples of every node, strongest first.

    Attributes
    ----------
    quantity
        What a value is, in words.
    nodes
        Name of a node -> its examples. Nodes at sites that were not recorded are missing.
    n_items
        How many items were looked at, from the first.
    """

    quantity: str
    nodes: Mapping[str, tuple[Example, ...]]
    n_items: int


def top_examples(buffer: ActivationBuffer, partition: Partition, *, count: int = 5) -> Examples:
    """The items on which each node's value is largest by magnitude, with its value at every recorded position.

    The value of a node is the sum over its units of attributions, the activation itself of a node of one unit, and
    the root mean square over its units of other activations.

    Parameters
    ----------
    buffer
        Activations or attributions (`compgraph.open_buffer`).
    partition
        The nodes.
    count
        Items a node, at least 1.

    Raises
    ------
    DataError
        If the buffer has none of the partition's sites, or `count` is not positive.
    GraphError
        A partition of another network.

    Notes
    -----
    Only the first items are looked at (at most 2,000, fewer where nodes are many; `n_items` says how many). Of items
    with equal peaks the earlier ones are taken; items on which a node is silent are left out.
    """
    if count < 1:
        raise DataError(f"examples: count must be at least 1, not {count}")
    partition.check(buffer.architecture)
    recorded = set(buffer.sites["site"])
    sites = [site for site in partition.sites if site in recorded]
    if not sites:
        raise DataError(f"examples: the buffer has none of the partition's sites; it has {', '.join(sorted(recorded))}")
    part = partition.restrict(sites)
    start, n_rows = _rows(buffer, part)
    values = _values(buffer, part, n_rows)
    peaks = np.maximum.reduceat(np.abs(values), start, axis=0)
    position, item = buffer.items["position"].to_numpy()[:n_rows], buffer.item
    ends = np.append(start[1:], n_rows)
    place = _Places(buffer, part, n_rows)
    found = {}
    for node, (name, column) in enumerate(zip(part.node_names, peaks.T, strict=True)):
        examples = []
        for number in np.argsort(-column, kind="stable")[:count]:
            rows = slice(int(start[number]), int(ends[number]))
            value = values[rows, node].astype(np.float64)
            best = int(np.argmax(np.abs(value)))
            if value[best] != 0:
                where = place.of(node, rows.start + best)
                examples.append(Example(int(item[rows.start]), float(value[best]), position[rows], value, where))
        found[name] = tuple(examples)
    return Examples(_quantity(buffer), found, len(start))


def _quantity(buffer: ActivationBuffer) -> str:
    if buffer.quantity == "activation":
        return "activation (root mean square over the units of a node)"
    made = buffer.attributes.get("attribution", {})
    return f"attribution of {made['metric']}" if "metric" in made else "attribution"


def _rows(buffer: ActivationBuffer, part: Partition) -> tuple[NDArray[np.int64], int]:
    """First row of each item that is looked at, and the number of rows."""
    start = np.flatnonzero(np.diff(buffer.item, prepend=-1))
    ends = np.append(start[1:], buffer.n_rows)
    room = max(1, int(np.searchsorted(ends, MOST_VALUES // max(part.n_nodes, 1), side="right")))
    kept = min(MOST_ITEMS, room, len(start))
    return start[:kept], int(ends[kept - 1])


def _values(buffer: ActivationBuffer, part: Partition, n_rows: int) -> NDArray[np.float32]:
    """Value of each node in the first rows, float32 [rows, nodes]."""
    out = np.empty((n_rows, part.n_nodes), dtype=np.float32)
    row = 0
    for chunk in buffer.chunks(part.sites):
        here = min(buffer.chunk_rows, n_rows - row)
        if here <= 0:
            break
        for site, units in chunk.items():
            summed = sums_by_part(units[:here], part, site)
            if buffer.quantity == "activation":
                sizes = part.part_sizes(site)
                squares = sums_by_part(np.square(units[:here]), part, site)
                summed = np.where(sizes == 1, summed, np.sqrt(squares / np.maximum(sizes, 1)))
            out[row : row + here, part.node_slice(site)] = summed
        row += here
    return out


class _Places:
    """Where in an image the strongest unit of a node lies."""

    def __init__(self, buffer: ActivationBuffer, part: Partition, n_rows: int) -> None:
        self._site: dict[int, str] = {}
        self._shape = {site: buffer.architecture.site(site).shape for site in part.sites}
        for site in part.sites:
            nodes = part.node_slice(site)
            self._site |= dict.fromkeys(range(nodes.start, nodes.stop), site)
        self._units = {
            site: buffer.read(site, slice(0, n_rows)) for site, shape in self._shape.items() if len(shape) == 3
        }
        self._part = part

    def of(self, node: int, row: int) -> tuple[float, ...]:
        """Relative (x, y) from the upper left; empty at sites without the shape of an image."""
        site = self._site[node]
        if site not in self._units:
            return ()
        _, height, width = self._shape[site]
        mine = np.flatnonzero(self._part.node_index(site) == node)
        unit = int(mine[np.argmax(np.abs(self._units[site][row, mine]))]) % (height * width)
        return (unit % width + 0.5) / width, (unit // width + 0.5) / height
