"""What the blocks of a graph are to each other, read from how strongly every two are joined."""

from __future__ import annotations

import numpy as np

from compgraph.communities.pairs import Floats

ONE, ASSORTATIVE, DISASSORTATIVE, CORE, ORDERED, MIXED = (
    "one block",
    "assortative",
    "disassortative",
    "core-periphery",
    "ordered",
    "mixed",
)

ONE_WAY = 0.5
"""Share of the ties between blocks that must go one way for blocks to be in an order."""

FORWARD = 0.9
"""Share of what goes one way that must go along the order."""


def pattern(ties: Floats, directed: bool) -> str:
    """Name of the pattern of blocks.

    Parameters
    ----------
    ties
        How strongly each block is joined to each, float64 [K, K]; NaN where no pair of nodes could tell.
    directed
        Whether row to column differs from column to row.

    Returns
    -------
    str
        `one block`; `ordered`: most ties between blocks go one way, along one order; `assortative`: every block is
        joined to itself most; `disassortative`: to itself least; `core-periphery`: blocks can be put in an order in
        which ties get weaker along every row and column; else `mixed`. With two blocks of an undirected graph, the
        first of the last four that fits is decided by which of the three ties is the one in between.
    """
    if len(ties) < 2:
        return ONE
    if directed and _is_ordered(ties):
        return ORDERED
    both = (np.where(np.isnan(ties), ties.T, ties) + np.where(np.isnan(ties.T), ties, ties.T)) / 2
    others = np.where(np.eye(len(ties), dtype=bool), np.nan, both)
    inside = both.diagonal()
    known = np.isfinite(inside) & np.isfinite(others).any(axis=1)
    if not known.any():
        return MIXED
    if (inside[known] > np.nanmax(others[known], axis=1)).all():
        return ASSORTATIVE
    if (inside[known] < np.nanmin(others[known], axis=1)).all():
        return DISASSORTATIVE
    return CORE if _is_core(both) else MIXED


def _is_ordered(ties: Floats) -> bool:
    between = np.where(np.eye(len(ties), dtype=bool), 0.0, np.nan_to_num(ties))
    net = between - between.T
    if (between < 0).any() or between.sum() == 0:
        return False
    order = np.argsort(_levels(between), kind="stable")
    along = np.triu(net[np.ix_(order, order)], 1)
    one_way = np.abs(along).sum()
    return bool(one_way >= ONE_WAY * between.sum() and np.maximum(along, 0).sum() >= FORWARD * one_way)


def _levels(flow: Floats) -> Floats:
    """Trophic levels of blocks from the flow between them, float64 [K] (MacKay et al. 2020)."""
    both = flow + flow.T
    laplacian = np.diag(both.sum(axis=1)) - both
    found: Floats = np.linalg.pinv(laplacian) @ (flow.sum(axis=0) - flow.sum(axis=1))
    return found


def _is_core(ties: Floats) -> bool:
    known = np.isfinite(ties)
    mean = np.where(known, ties, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    order = np.argsort(-mean, kind="stable")
    sorted_ties = ties[np.ix_(order, order)]
    steps = np.diff(sorted_ties, axis=1)
    return bool((steps[np.isfinite(steps)] <= 0).all())
