"""Where nodes lie: layers as rows, few crossings inside them.

Thousands of nodes and tens of thousands of edges must be placed in a moment, so rows are ordered by weighted
barycentres (Sugiyama, Tagawa and Toda 1981) without the place-holders of `compgraph.figures.layout`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SWEEPS = 16
STRONGEST = 200_000
"""Edges that decide the order; the others are too weak to be seen."""
LEAST_PER_ROW = 24
WIDE = 2.5
"""Width over height of the drawing that a crowded level is broken into rows for."""


def place_nodes(
    level: NDArray[np.integer],
    site: NDArray[np.object_],
    source: NDArray[np.integer],
    target: NDArray[np.integer],
    weight: NDArray[np.floating],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Positions of the nodes of a layered graph.

    Parameters
    ----------
    level, site
        Level (any order-preserving numbers) and site of each node, [n]. Nodes of one site stay together.
    source, target, weight
        Edges, [E]; only |weight| counts.

    Returns
    -------
    x
        float [n], 0 (left) to 1 (right).
    row
        int [n], 0 at the bottom. A level with more nodes than fit takes several rows.

    Notes
    -----
    Sites of one level stand side by side in the order of their first node. Ties keep the order of the nodes, so
    the same graph always gets the same picture.
    """
    n = len(level)
    size = np.abs(np.asarray(weight, dtype=np.float64))
    strong = np.argsort(-size, kind="stable")[:STRONGEST]
    ends, size = (np.asarray(source)[strong], np.asarray(target)[strong]), size[strong]
    block = _blocks(level, site)
    x = _spread(np.arange(n, dtype=np.float64), level, block)
    upward = np.asarray(level)[ends[0]] < np.asarray(level)[ends[1]]
    up = np.where(upward, ends[1], ends[0]), np.where(upward, ends[0], ends[1])
    for sweep in range(SWEEPS):
        reader, read = up if sweep % 2 == 0 else up[::-1]
        x = _spread(_barycentres(x, reader, read, size), level, block)
    return x, _rows(x, level)


def _blocks(level: NDArray[np.integer], site: NDArray[np.object_]) -> NDArray[np.int64]:
    """Number of the node's site among those of its level, by first appearance."""
    seen: dict[tuple[int, str], int] = {}
    counts: dict[int, int] = {}
    out = np.zeros(len(level), dtype=np.int64)
    for node, key in enumerate(zip(map(int, level), map(str, site), strict=True)):
        if key not in seen:
            seen[key] = counts.get(key[0], 0)
            counts[key[0]] = seen[key] + 1
        out[node] = seen[key]
    return out


def _barycentres(
    x: NDArray[np.float64], reader: NDArray[np.integer], read: NDArray[np.integer], size: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean position of what each node is joined to on one side, by weight; its own where there is nothing."""
    total = np.bincount(reader, size, len(x))
    mean = np.bincount(reader, size * x[read], len(x))
    return np.where(total > 0, mean / np.where(total > 0, total, 1.0), x)


def _spread(
    wish: NDArray[np.float64], level: NDArray[np.integer], block: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Even places inside each level, in the order of the sites and then of the wishes."""
    order = np.lexsort((np.arange(len(wish)), wish, block, level))
    _, start, count = np.unique(np.asarray(level)[order], return_index=True, return_counts=True)
    rank = np.arange(len(wish)) - np.repeat(start, count)
    x = np.empty(len(wish))
    x[order] = (rank + 0.5) / np.repeat(count, count)
    return x


def _rows(x: NDArray[np.float64], level: NDArray[np.integer]) -> NDArray[np.int64]:
    """Levels in ascending order; neighbours of a crowded one take turns in its rows."""
    most = max(LEAST_PER_ROW, int(np.ceil(np.sqrt(WIDE * len(x)))))
    row = np.zeros(len(x), dtype=np.int64)
    first = 0
    for value in np.unique(level):
        members = np.flatnonzero(np.asarray(level) == value)
        parts = -(-len(members) // most)
        rank = np.empty(len(members), dtype=np.int64)
        rank[np.argsort(x[members], kind="stable")] = np.arange(len(members))
        row[members] = first + rank % parts
        first += parts
    return row
