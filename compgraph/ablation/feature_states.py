"""Which streams the features of a site read, token by token, each distinct one once.

A feature that keeps some sources reads at most tokens the baseline stream, since few of its sources are active there.
Where exactly one of them is, the stream is the same for every feature that keeps that source: what the site computes
from it is worked out once and read by all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from compgraph.ablation.plan import Ints
from compgraph.ablation.unit_plan import Sparse


@dataclass
class States:
    """Distinct streams of some rows, and the rows that read them.

    Attributes
    ----------
    token, row
        Of every state, its token, and one of the rows that read it there.
    bounds, units
        State k adds units[bounds[k] : bounds[k + 1]] to the stream that it starts from.
    reader_bounds, readers
        Rows readers[reader_bounds[k] : reader_bounds[k + 1]] read state k.
    """

    token: Ints
    row: Ints
    bounds: Ints
    units: Ints
    reader_bounds: Ints
    readers: Ints

    def __len__(self) -> int:
        return len(self.token)


def states_of(rows: Sparse, chosen: Ints, changes: Tensor) -> States:
    """States of some rows.

    Parameters
    ----------
    chosen
        Numbers of the rows.
    changes
        [units, tokens].
    """
    n_tokens = changes.shape[1]
    row, token, unit = _entries(rows, chosen, changes)
    order = np.lexsort((unit, row * n_tokens + token))
    row, token, unit = row[order], token[order], unit[order]
    new = np.flatnonzero(np.diff(row * n_tokens + token, prepend=-1))
    counts = np.diff(np.append(new, len(row)))
    single = counts == 1
    key = np.where(single, unit[new] * n_tokens + token[new], -1)
    # A pair of row and token with several units is a state of its own; numbers below zero tell these apart.
    key[~single] = -1 - np.arange(int((~single).sum()))
    _, first, state = np.unique(key, return_index=True, return_inverse=True)
    sizes = counts[first]
    bounds = np.cumsum([0, *sizes])
    place = np.repeat(new[first] - bounds[:-1], sizes) + np.arange(bounds[-1])
    by_state = np.argsort(state.reshape(-1), kind="stable")
    reader_bounds = np.cumsum([0, *np.bincount(state.reshape(-1), minlength=len(first))])
    return States(token[new[first]], row[new[first]], bounds, unit[place], reader_bounds, row[new[by_state]])


def changed(rows: Sparse, changes: Tensor) -> Ints:
    """Of every row, how many changes of its units there are, summed over tokens."""
    per_unit = changes.count_nonzero(1).cpu().numpy()
    total = np.concatenate([[0], np.cumsum(per_unit[rows.units])])
    return total[rows.bounds[1:]] - total[rows.bounds[:-1]]


def _entries(rows: Sparse, chosen: Ints, changes: Tensor) -> tuple[Ints, Ints, Ints]:
    """Row, token and unit of every change of a kept unit."""
    sizes = rows.counts[chosen]
    units = rows.units[_ranges(rows.bounds[chosen], sizes)]
    used, which = np.unique(units, return_inverse=True)
    at = np.nonzero((changes[used.tolist()] != 0).cpu().numpy())
    per_unit = np.bincount(at[0], minlength=len(used))
    first = np.cumsum(per_unit) - per_unit
    counts = per_unit[which.reshape(-1)]
    token = at[1][_ranges(first[which.reshape(-1)], counts)]
    return np.repeat(np.repeat(chosen, sizes), counts), token, np.repeat(units, counts)


def _ranges(first: Ints, sizes: Ints) -> Ints:
    """first[0], first[0] + 1, ... (sizes[0] numbers), first[1], ..."""
    ends = np.cumsum(sizes)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(first - (ends - sizes), sizes) + np.arange(total)
