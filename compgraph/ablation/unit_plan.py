"""What has to be computed to run one circuit whose nodes are mostly single units: worked out before any data.

Destinations read rows of kept edges. Rows that are equal share a stream. A row that keeps more than half of what it
could read is written as everything but the rest. Long rows, and those that many units read through, get their stream
formed; short ones never do: what they read is a product with the sparse masked reader, and the scale of their norm
comes from the Gram matrix of the writers that they keep (`compgraph.ablation.unit_runner`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from torch import Tensor

from compgraph.ablation.plan import Bools, Ints, Tables


@dataclass
class Row:
    """A stream to be formed: units added to the baseline stream (`sign` 1), or taken from that of all changes (-1);
    `readers`: the columns of the site's reader that read it."""

    units: Ints
    sign: int
    readers: Ints


@dataclass
class Sparse:
    """Rows of one sign whose streams are not formed: row k has units[bounds[k] : bounds[k + 1]].

    `masked` holds the masked readers once they are made, by name of the reader.
    """

    sign: int
    units: Ints
    bounds: Ints
    readers: list[Ints]
    masked: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.readers)

    @property
    def counts(self) -> Ints:
        """Units of each row."""
        return np.diff(self.bounds)


@dataclass
class Reads:
    """What the readers of one channel (units or heads of a site) read."""

    formed: list[Row]
    sparse: list[Sparse]

    @property
    def readers(self) -> Ints:
        """Columns that some row reads."""
        own = [row.readers for row in self.formed] + [one for rows in self.sparse for one in rows.readers]
        return np.concatenate([np.zeros(0, np.int64), *own])


def reads(
    kept: Bools, readers: Sequence[Ints], live: Bools, units_of: Mapping[int, Ints], d_model: int, *, exact: bool
) -> Reads:
    """Divide the rows of a channel among the ways to read them.

    Parameters
    ----------
    kept
        bool [parts, nodes]: kept edges.
    readers
        Of every part, its columns of the reader; parts without any are left out.
    live
        bool [nodes]: sources that the site can read and whose write may differ from the baseline.
    units_of
        Node -> numbers of its units among those of all sources.
    exact
        Whether the scale of every row's norm is wanted.
    """
    chosen = np.array([p for p, own in enumerate(readers) if len(own)], np.int64)
    if len(chosen) == 0:
        return Reads([], [])
    rows, which = _distinct(kept[chosen] & live)
    order, ends = np.argsort(which, kind="stable"), np.cumsum(np.bincount(which))
    formed: list[Row] = []
    short: dict[int, list[Row]] = {1: [], -1: []}
    for row, first, last in zip(rows, [0, *ends[:-1].tolist()], ends.tolist(), strict=True):
        own = np.concatenate([readers[p] for p in chosen[order[first:last]]])
        one = _row(row, live, units_of, own)
        # Forming costs d_model products a unit, and as many a column read; not forming, one a unit and column and,
        # for the norm, one a pair of units.
        k, columns = len(one.units), len(own)
        dear = k * (columns + (k if exact else 0)) > d_model * (k + columns)
        (formed if dear else short[one.sign]).append(one)
    return Reads(formed, [_sparse(rows, sign) for sign, rows in short.items() if rows])


def _distinct(rows: Bools) -> tuple[Bools, Ints]:
    """Distinct rows, and the number of each row among them."""
    numbers: dict[bytes, int] = {}
    packed = np.packbits(rows, axis=1)
    which = np.array([numbers.setdefault(row.tobytes(), len(numbers)) for row in packed], np.int64)
    first = np.unique(which, return_index=True)[1]
    return rows[first], which


def _row(row: Bools, live: Bools, units_of: Mapping[int, Ints], readers: Ints) -> Row:
    rest = live & ~row
    sign = 1 if row.sum() <= rest.sum() else -1
    nodes = np.flatnonzero(row if sign == 1 else rest)
    units = np.concatenate([units_of[int(n)] for n in nodes]) if len(nodes) else np.zeros(0, np.int64)
    return Row(np.sort(units), sign, readers)


def _sparse(rows: list[Row], sign: int) -> Sparse:
    """Rows in order of length, so that neighbours can be padded to one length."""
    rows = sorted(rows, key=lambda row: len(row.units))
    bounds = np.cumsum([0, *(len(row.units) for row in rows)])
    return Sparse(sign, np.concatenate([row.units for row in rows]), bounds, [row.readers for row in rows])


@dataclass
class UnitSite:
    """What one site computes: per channel its reads, and its nodes that change, bool [parts]."""

    name: str
    reads: list[Reads]
    patterns: list[Reads]
    live: Bools
    through: Bools


@dataclass
class UnitPlan:
    """What one circuit computes; `embed`: which parts of the token embedding it reads, bool [parts]."""

    embed: Bools
    sites: list[UnitSite]
    logits: Reads


def live_nodes(
    kept: Tables, sites: Sequence[tuple[str, slice, bool]], needed: Bools, n_embed: int, consistent: bool
) -> npt.NDArray[np.bool_]:
    """Nodes that are needed and may differ from the baseline, bool [nodes].

    Parameters
    ----------
    sites
        (name, nodes, tied) of attention and MLP sites and of patterns, in order: a pattern before its site.
    needed
        Nodes with a kept path to the logits.
    """
    live = np.zeros_like(needed)
    live[:n_embed] = needed[:n_embed]
    for name, nodes, tied in sites:
        moved = (kept[name] & live).any((0, 2)) | (not consistent)
        if tied:
            moved[:] = moved.any()
        live[nodes] = moved & needed[nodes]
    return live
