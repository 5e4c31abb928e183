"""Layered layout after Sugiyama, Tagawa and Toda (1981): rows, few crossings, straight trunks.

Edges that skip rows pass them through place-holders, one per (source, row), so that all edges of one source
share a trunk; inside a trunk every edge has a lane of its own. The order inside rows is found by barycentre
sweeps, keeping the order with the fewest crossings; positions then minimise the squared distance to the
neighbours' mean under the separations that the order and the widths ask for, which is isotonic regression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

LANE_GAP = 0.006
TRUNK_MARGIN = 0.05
PORT_SHARE = 0.85
"""Share of a box's width where lines leave and enter."""
SWEEPS = 24
RELAXATIONS = 120
TRUNK_WEIGHT = 6.0
TRUNK_PULL = 12.0
GAP_MAX = 0.45
STRETCH_MAX = 1.8


@dataclass(frozen=True)
class Layout:
    """Positions in inches, from the lower left corner.

    Attributes
    ----------
    x, row
        Centre and row of each node, float [n] and int [n].
    routes
        Per edge the (x, row) points it passes, from the source to the target.
    crossings
        Crossings of the drawn routes.
    """

    x: NDArray[Any]
    row: NDArray[Any]
    routes: tuple[tuple[tuple[float, int], ...], ...]
    crossings: int


@dataclass
class _Items:
    """Nodes first, then place-holders; `links` are the pieces of edges between consecutive rows."""

    row: NDArray[Any]
    width: NDArray[Any]
    n_nodes: int
    lower: NDArray[Any]
    upper: NDArray[Any]
    chains: list[list[int]]


def split_rows(level: Sequence[int], width: Sequence[float], available: float, gap: float) -> NDArray[Any]:
    """Row of each node: its level, a crowded level being spread over several neighbouring rows.

    Parameters
    ----------
    level
        int [n], any values; rows keep their order.
    width
        Box widths in inches, float [n].
    available
        Inches that the boxes of one row may fill.
    gap
        Inches between two boxes.

    Returns
    -------
    int array [n], rows numbered from 0 without holes.
    """
    levels, widths = np.asarray(level), np.asarray(width, dtype=float)
    rows = np.zeros(len(levels), dtype=int)
    first = 0
    for value in np.unique(levels):
        members = np.flatnonzero(levels == value)
        parts = max(1, int(np.ceil((widths[members] + gap).sum() / available)))
        rows[members] = first + np.arange(len(members)) % parts
        first += parts
    return rows


def layered(
    row: NDArray[Any],
    width: NDArray[Any],
    source: NDArray[Any],
    target: NDArray[Any],
    lane: NDArray[Any],
    *,
    total: float,
    gap: float = 0.06,
) -> Layout:
    """Place nodes and route edges.

    Parameters
    ----------
    row
        Row of each node, int [n], 0 at the bottom.
    width
        Box widths in inches, float [n].
    source, target
        Node indices of the edges, int [e]. Edges inside a row are left to the drawing (two points).
    lane
        Line widths in inches, float [e].
    total
        Width of the drawing in inches.
    gap
        Least distance of two boxes in a row.
    """
    items = _with_trunks(np.asarray(row), np.asarray(width, dtype=float), source, target, lane)
    orders = _initial_orders(items)
    orders, crossings = _sweep(items, orders)
    items.width[items.n_nodes :] += TRUNK_MARGIN
    gap = _roomy_gap(items, orders, total, gap)
    x = _fill(_positions(items, orders, total, gap), items, total)
    return Layout(
        x[: items.n_nodes], items.row[: items.n_nodes], _routes(items, x, lane, source, target), crossings
    )


def _with_trunks(
    row: NDArray[Any], width: NDArray[Any], source: NDArray[Any], target: NDArray[Any], lane: NDArray[Any]
) -> _Items:
    n = len(row)
    rows, widths = list(row), list(width)
    holder: dict[tuple[int, int], int] = {}
    links: dict[tuple[int, int], None] = {}
    chains: list[list[int]] = []
    for s, t, line in zip(source, target, lane, strict=True):
        step = 1 if row[t] >= row[s] else -1
        chain = [int(s)]
        for r in range(int(row[s]) + step, int(row[t]), step):
            key = (int(s), r * 2 + (step > 0))
            if key not in holder:
                holder[key] = len(rows)
                rows.append(r)
                widths.append(0.0)
            widths[holder[key]] += float(line) + LANE_GAP
            chain.append(holder[key])
        chain.append(int(t))
        chains.append(chain)
        for a, b in pairwise(chain):
            if rows[a] != rows[b]:
                links[(a, b) if rows[a] < rows[b] else (b, a)] = None
    pairs = np.array(list(links), dtype=int).reshape(-1, 2)
    return _Items(np.array(rows, dtype=int), np.array(widths), n, pairs[:, 0], pairs[:, 1], chains)


def _initial_orders(items: _Items) -> list[NDArray[Any]]:
    n_rows = int(items.row.max()) + 1 if len(items.row) else 0
    return [np.flatnonzero(items.row == r) for r in range(n_rows)]


def _rank(orders: list[NDArray[Any]], n: int) -> NDArray[Any]:
    rank = np.zeros(n)
    for order in orders:
        # Centred, so that short and long rows line up.
        rank[order] = np.arange(len(order)) - (len(order) - 1) / 2
    return rank


def _sweep(items: _Items, orders: list[NDArray[Any]]) -> tuple[list[NDArray[Any]], int]:
    n = len(items.row)
    best, fewest = [order.copy() for order in orders], _crossings(items, _rank(orders, n))
    for sweep in range(SWEEPS):
        if fewest == 0:
            break
        upwards = sweep % 2 == 0
        near, far = (items.upper, items.lower) if upwards else (items.lower, items.upper)
        for r in range(1, len(orders)) if upwards else range(len(orders) - 2, -1, -1):
            rank = _rank(orders, n)
            here = items.row[near] == r
            total = np.bincount(near[here], weights=rank[far[here]], minlength=n)
            links = np.bincount(near[here], minlength=n)
            wish = np.where(links > 0, total / np.maximum(links, 1), rank)
            orders[r] = orders[r][np.argsort(wish[orders[r]], kind="stable")]
        crossings = _crossings(items, _rank(orders, n))
        if crossings < fewest:
            best, fewest = [order.copy() for order in orders], crossings
    return best, fewest


def _crossings(items: _Items, rank: NDArray[Any]) -> int:
    total = 0
    below = items.row[items.lower]
    for r in np.unique(below):
        a, b = rank[items.lower[below == r]], rank[items.upper[below == r]]
        order = np.lexsort((b, a))
        total += _inversions(b[order])
    return total


def _inversions(values: NDArray[Any]) -> int:
    """Pairs i < j with values[i] > values[j], by merge sort."""
    if len(values) < 2:
        return 0
    middle = len(values) // 2
    left, right = values[:middle], values[middle:]
    across = len(left) * len(right) - int(np.searchsorted(np.sort(left), right, side="right").sum())
    return across + _inversions(left) + _inversions(right)


def _positions(items: _Items, orders: list[NDArray[Any]], total: float, gap: float) -> NDArray[Any]:
    n = len(items.row)
    width = items.width.copy()
    x = np.zeros(n)
    for order in orders:
        held = order[order >= items.n_nodes]
        boxes = float((width[order[order < items.n_nodes]] + gap).sum())
        trunks = float(width[held].sum())
        if trunks and boxes + trunks > total:
            width[held] *= max(0.02, total - boxes) / trunks
        x[order] = _spread(order, width, total, gap, items.n_nodes)
    weight = np.where(np.arange(n) < items.n_nodes, 1.0, TRUNK_WEIGHT)
    for sweep in range(RELAXATIONS):
        for r in range(len(orders)) if sweep % 2 == 0 else range(len(orders) - 1, -1, -1):
            order = orders[r]
            if not len(order):
                continue
            wish = _neighbour_mean(items, x, r)
            x[order] = _separate(wish[order], weight[order], order, width, total, gap, items.n_nodes)
    return x


def _roomy_gap(items: _Items, orders: list[NDArray[Any]], total: float, gap: float) -> float:
    """The gap that lets the most crowded row fill most of the page."""
    room = [
        (0.85 * total - items.width[order].sum()) / max(1, int((order < items.n_nodes).sum()))
        for order in orders
        if len(order)
    ]
    return float(np.clip(min(room, default=gap), gap, GAP_MAX))


def _fill(x: NDArray[Any], items: _Items, total: float) -> NDArray[Any]:
    """Stretch and centre the drawing on the page; distances only grow."""
    if not len(x):
        return x
    left = float((x - items.width / 2).min())
    right = float((x + items.width / 2).max())
    stretch = max(1.0, min(STRETCH_MAX, (total - items.width.max()) / max(1e-9, right - left)))
    stretched = (x - (left + right) / 2) * stretch
    low, high = float((stretched - items.width / 2).min()), float((stretched + items.width / 2).max())
    return np.asarray(stretched - (low + high) / 2 + total / 2)


def _neighbour_mean(items: _Items, x: NDArray[Any], r: int) -> NDArray[Any]:
    n = len(x)
    total, links = np.zeros(n), np.zeros(n)
    for near, far in ((items.lower, items.upper), (items.upper, items.lower)):
        here = items.row[near] == r
        # A straight trunk is worth more than a short last piece.
        pull = np.where((near[here] >= items.n_nodes) & (far[here] >= items.n_nodes), TRUNK_PULL, 1.0)
        total += np.bincount(near[here], weights=pull * x[far[here]], minlength=n)
        links += np.bincount(near[here], weights=pull, minlength=n)
    return np.where(links > 0, total / np.maximum(links, 1e-9), x)


def _gaps(order: NDArray[Any], width: NDArray[Any], gap: float, n_nodes: int) -> NDArray[Any]:
    """Least distance of the centres of consecutive items, float [len(order) - 1]."""
    padded = width[order] + np.where(order < n_nodes, gap, 0.0)
    return np.asarray((padded[:-1] + padded[1:]) / 2)


def _spread(order: NDArray[Any], width: NDArray[Any], total: float, gap: float, n_nodes: int) -> NDArray[Any]:
    if not len(order):
        return np.zeros(0)
    x = np.concatenate([[0.0], np.cumsum(_gaps(order, width, gap, n_nodes))])
    return np.asarray(x - x.mean() + total / 2)


def _separate(
    wish: NDArray[Any],
    weight: NDArray[Any],
    order: NDArray[Any],
    width: NDArray[Any],
    total: float,
    gap: float,
    n_nodes: int,
) -> NDArray[Any]:
    """Nearest positions to `wish` (weighted squares) that keep the order, the widths and the page."""
    offset = np.concatenate([[0.0], np.cumsum(_gaps(order, width, gap, n_nodes))])
    left = width[order[0]] / 2
    right = total - width[order[-1]] / 2
    free = _isotonic(wish - offset, weight)
    return np.asarray(np.clip(free, left, max(left, right - offset[-1])) + offset)


def _isotonic(values: NDArray[Any], weight: NDArray[Any]) -> NDArray[Any]:
    """Pool-adjacent-violators: the non-decreasing sequence nearest to `values` in weighted squares."""
    means: list[float] = []
    weights: list[float] = []
    sizes: list[int] = []
    for value, w in zip(values, weight, strict=True):
        means.append(float(value))
        weights.append(float(w))
        sizes.append(1)
        while len(means) > 1 and means[-2] > means[-1]:
            joint = weights[-2] + weights[-1]
            means[-2] = (means[-2] * weights[-2] + means[-1] * weights[-1]) / joint
            weights[-2] = joint
            sizes[-2] += sizes[-1]
            del means[-1], weights[-1], sizes[-1]
    return np.repeat(means, sizes)


def _routes(
    items: _Items, x: NDArray[Any], lane: NDArray[Any], source: NDArray[Any], target: NDArray[Any]
) -> tuple[tuple[tuple[float, int], ...], ...]:
    """Points of every edge, with a lane of its own inside trunks and at both boxes."""
    shift = _lanes(items, x, lane, source, target)
    routes = []
    for edge, chain in enumerate(items.chains):
        last = len(chain) - 1
        points = []
        for position, item in enumerate(chain):
            key = (item, position == last)
            points.append((float(x[item] + shift[key].get(edge, 0.0)), int(items.row[item])))
        routes.append(tuple(points))
    return tuple(routes)


def _lanes(
    items: _Items, x: NDArray[Any], lane: NDArray[Any], source: NDArray[Any], target: NDArray[Any]
) -> dict[tuple[int, bool], dict[int, float]]:
    """(item, is the edge's end) -> edge -> offset from the item's centre in inches."""
    users: dict[tuple[int, bool], list[int]] = {}
    for edge, chain in enumerate(items.chains):
        for position, item in enumerate(chain):
            users.setdefault((item, position == len(chain) - 1), []).append(edge)
    shift: dict[tuple[int, bool], dict[int, float]] = {}
    for (item, end), edges in users.items():
        if end:
            ordered = sorted(edges, key=lambda e: (x[items.chains[e][-2]], x[source[e]], e))
        else:
            ordered = sorted(edges, key=lambda e: (x[target[e]], -items.row[target[e]], e))
        widths = np.array([lane[e] + LANE_GAP for e in ordered])
        room = items.width[item] * (PORT_SHARE if item < items.n_nodes else 1.0)
        scale = min(1.0, room / widths.sum()) if widths.sum() > 0 else 1.0
        centres = (np.cumsum(widths) - widths / 2 - widths.sum() / 2) * scale
        shift[(item, end)] = dict(zip(ordered, centres.tolist(), strict=True))
    return shift
