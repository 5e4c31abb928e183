"""Refusing before the start what cannot fit into memory."""

from __future__ import annotations

from compgraph.errors import DataError
from compgraph.memory import available_memory as _available

BYTES_PER_PAIR = 200
"""Five float64 copies of the square of sums at the end, and the columns of the edges, per pair of nodes."""


BYTES_PER_EDGE = 120
"""Columns of an edge of a graph that has not all of them, and what it takes to compute them."""


def check_memory(n_nodes: int, available: int | None = None) -> None:
    """Refuse a complete graph of n nodes that needs more memory than there is.

    Raises
    ------
    DataError
        With the estimate and what to do.
    """
    advice = (
        "use a coarser partition, fewer sites at a time (`sites`), or pearson with `keep`, which works in blocks of "
        "two sites"
    )
    check_bytes(n_nodes * (n_nodes - 1) // 2 * BYTES_PER_PAIR, f"all pairs of {n_nodes} nodes need", advice, available)


def check_bytes(needed: int, what: str, advice: str, available: int | None = None) -> None:
    """Refuse something that needs more bytes than there are (`available`; None: what the system says).

    Raises
    ------
    DataError
        With the estimate and what to do.
    """
    free = _available() if available is None else available
    if free is not None and needed > free:
        raise DataError(f"functional: {what} about {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free; {advice}")
