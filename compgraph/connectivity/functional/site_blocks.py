"""Products of units between sites, block by block: what comparisons of whole nodes need, without the unit matrix."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations_with_replacement

import numpy as np

from compgraph.connectivity.functional.setting import Prepared
from compgraph.connectivity.functional.signals import Matrix, Signals
from compgraph.errors import DataError
from compgraph.memory import available_memory

BUDGET = 2 * 10**9
"""Most bytes that the blocks of one pass may take."""


def centres(signals: Signals) -> Matrix:
    """Mean of every signal over the rows that count; nothing is read where that is known to be 0."""
    if signals.rows is None and not signals.steps:
        return np.zeros(len(signals.nodes))
    total = np.zeros(len(signals.nodes))
    for _, block in signals.blocks():
        total += block.sum(axis=0)
    means: Matrix = total / signals.n_rows
    return means


def site_products(prepared: Prepared, mean: Matrix | None = None) -> Iterator[tuple[str, str, Matrix]]:
    """For each pair of sites a <= b the centred products of their signals, float64 [signals of a, signals of b].

    As many pairs at once as fit into memory; one pass over the data for each such lot. `mean` is that of the signals,
    found in a pass of its own if not given.

    Raises
    ------
    DataError
        A single pair does not fit.
    """
    signals = prepared.signals
    mean = centres(signals) if mean is None else mean
    columns, first = {}, 0
    for site, plan in signals.plans.items():
        columns[site] = slice(first, first + len(plan.nodes))
        first += len(plan.nodes)
    sizes = {site: cut.stop - cut.start for site, cut in columns.items()}
    for lot in _lots(sizes):
        sums = {(a, b): np.zeros((sizes[a], sizes[b])) for a, b in lot}
        for _, block in signals.blocks():
            centred = block - mean
            for a, b in lot:
                sums[a, b] += centred[:, columns[a]].T @ centred[:, columns[b]]
        for a, b in lot:
            yield a, b, sums.pop((a, b))


def _lots(sizes: dict[str, int]) -> list[list[tuple[str, str]]]:
    free = available_memory()
    budget = BUDGET if free is None else min(BUDGET, free // 2)
    lots: list[list[tuple[str, str]]] = []
    room = 0
    for a, b in combinations_with_replacement(sizes, 2):
        needed = sizes[a] * sizes[b] * 8
        if needed > max(budget, 1):
            raise DataError(
                f"functional: the products of {sizes[a]} units of {a!r} with {sizes[b]} of {b!r} take "
                f"{needed / 1e9:.1f} GB, and {budget / 1e9:.1f} GB may be used; compare fewer units"
            )
        if not lots or needed > room:
            lots.append([])
            room = budget
        lots[-1].append((a, b))
        room -= needed
    return lots


def node_starts(prepared: Prepared, site: str) -> tuple[np.ndarray, np.ndarray]:
    """Nodes of a site, and where the units of each start among the site's columns."""
    return np.unique(prepared.signals.plans[site].nodes, return_index=True)
