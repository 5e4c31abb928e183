"""Orders of blocks in which the flows of an alluvial diagram cross little."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

Counts = npt.NDArray[np.int64]
Order = list[list[int]]


def few_crossings(flows: pd.DataFrame, n_steps: int, sweeps: int = 8) -> Order:
    """An order of the blocks at each place in which few flows cross.

    Barycentre sweeps (Sugiyama, Tagawa & Toda 1981), each followed by exchanges of neighbours as long as one helps.

    Parameters
    ----------
    flows
        As of `AlignedBlocks`.
    n_steps
        Places in the sequence.
    sweeps
        Passes forth and back; the order with the fewest crossings is kept, the one by number among equals.

    Returns
    -------
    list of lists
        Blocks from bottom to top, for each place.
    """
    present = [
        sorted({*flows.loc[flows["a"] == at, "block_a"], *flows.loc[flows["b"] == at, "block_b"]})
        for at in range(n_steps)
    ]
    tables = _tables(flows, present)
    order = [np.arange(len(blocks)) for blocks in present]
    best, fewest = list(order), _total(tables, order)
    for sweep in range(sweeps if fewest else 0):
        _exchange(tables, order)
        found = _total(tables, order)
        if found < fewest:
            best, fewest = list(order), found
        forth = sweep % 2 == 0
        for at in range(1, n_steps) if forth else range(n_steps - 2, -1, -1):
            order[at] = _by_neighbour(tables, order, at, forth)
    return [[blocks[k] for k in found] for blocks, found in zip(present, best, strict=True)]


def crossings(flows: pd.DataFrame, order: Sequence[Sequence[int]]) -> int:
    """Pairs of nodes whose flows cross when the blocks are stacked in this order, bottom to top at each place."""
    return _total(_tables(flows, order), [np.arange(len(blocks)) for blocks in order])


def _tables(flows: pd.DataFrame, blocks: Sequence[Sequence[int]]) -> list[Counts]:
    """Nodes that flow between the blocks of each place and of the next, int64 [blocks, blocks]."""
    tables = []
    for at in range(len(blocks) - 1):
        rows = flows[flows["a"] == at]
        table = np.zeros((len(blocks[at]), len(blocks[at + 1])), np.int64)
        here, there = ({block: k for k, block in enumerate(blocks[place])} for place in (at, at + 1))
        for a, b, n in zip(rows["block_a"], rows["block_b"], rows["n"], strict=True):
            table[here[a], there[b]] = n
        tables.append(table)
    return tables


def _total(tables: Sequence[Counts], order: Sequence[Counts]) -> int:
    total = 0
    for at, table in enumerate(tables):
        crossed = _crossed(table[np.ix_(order[at], order[at + 1])])
        total += int(np.triu(crossed, 1).sum())
    return total


def _crossed(table: Counts) -> Counts:
    """[u, v]: crossings between the flows of two rows where u lies below v, the columns being in order."""
    below = np.cumsum(table, axis=1) - table
    crossed: Counts = table @ below.T
    return crossed


def _exchange(tables: Sequence[Counts], order: list[Counts]) -> None:
    """Neighbouring blocks of a place change places as long as that removes crossings; in place."""
    better = True
    while better:
        better = False
        for at in range(len(order)):
            crossed = np.zeros((len(order[at]), len(order[at])), np.int64)
            if at + 1 < len(order):
                crossed += _crossed(tables[at][:, order[at + 1]])
            if at:
                crossed += _crossed(tables[at - 1][order[at - 1]].T)
            own = order[at].copy()
            for low in range(len(own) - 1):
                u, v = own[low], own[low + 1]
                if crossed[v, u] < crossed[u, v]:
                    own[low], own[low + 1] = v, u
                    better = True
            order[at] = own


def _by_neighbour(tables: Sequence[Counts], order: Sequence[Counts], at: int, forth: bool) -> Counts:
    """Blocks of a place by the mean place of the nodes that they share with the neighbour on one side."""
    shared = tables[at - 1][order[at - 1]].T if forth else tables[at][:, order[at + 1]]
    sizes = shared.sum(axis=0)
    middles = np.cumsum(sizes) - sizes / 2
    return np.argsort((shared @ middles) / np.maximum(1, shared.sum(axis=1)), kind="stable")
