"""One signal per node: the mean of its units' standardised activations.

With z_i = (x_i - mean_i) / sd_i over the rows of the buffers, node n with live units U_n has the signal

    s_n = (1 / |U_n|) sum over i in U_n of z_i

so that the covariance of two nodes is the mean correlation between their units: a quadratic form of the unit
correlations, computed without ever forming the unit-by-unit matrix. Means and variances come with the buffers,
so that one pass suffices. A node of one unit has that unit as its signal.

Units that do not vary carry no information about co-variation; they are left out of their node's mean, and a
node of which nothing is left is left out of the graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from compgraph.connectivity.functional.recordings import Pool
from compgraph.connectivity.functional.streaming import Tails, blocks
from compgraph.errors import DataError
from compgraph.partition import DEAD, Partition
from compgraph.progress import track

CONSTANT = 1e-9
"""A unit is constant if its standard deviation is at most this share of its mean's magnitude."""

BLOCK_ROWS = 1024

PIECE, PIECE_ROWS = 2**16, 32
"""Numbers of a site that are worked on at once, if these are not too few rows."""

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SiteSignals:
    """How one site's units become its nodes' signals.

    Attributes
    ----------
    units
        Units that count, sorted by part; None for all of them in their order.
    starts
        Where each node's units start in `units`; None if every node has one unit.
    mean, weight
        Per unit in that order: subtracted, then multiplied.
    spread
        Standard deviation of each unit after that.
    nodes
        Number of each node among the partition's nodes, int64.
    constant
        Units of live parts that do not vary.
    """

    units: npt.NDArray[np.int64] | None
    starts: npt.NDArray[np.int64] | None
    mean: Matrix
    weight: Matrix
    spread: Matrix
    nodes: npt.NDArray[np.int64]
    constant: npt.NDArray[np.int64]

    @property
    def scale(self) -> Matrix:
        """Largest standard deviation among each node's units [n_nodes], as far as they are weighted alike."""
        if self.starts is None:
            return self.spread
        size = np.diff(self.starts, append=len(self.spread))
        largest: Matrix = np.maximum.reduceat(self.spread, self.starts) * size
        return largest

    def unit_values(self, chunk: npt.NDArray[Any]) -> Matrix:
        """Centred and weighted units [rows, n_live] of activations [rows, n_units]."""
        # np.take, because indexing columns with an array is five times as slow.
        values = chunk if self.units is None else np.take(chunk, self.units, axis=1)
        signal = values.astype(np.float64)
        signal -= self.mean
        signal *= self.weight
        return signal

    def node_values(self, units: Matrix) -> Matrix:
        """Signals [rows, n_nodes] of what `unit_values` gives."""
        return units if self.starts is None else np.add.reduceat(units, self.starts, axis=1)


def site_signals(pool: Pool, partition: Partition, site: str, standardise: bool = True) -> SiteSignals:
    """Plan of one site.

    Parameters
    ----------
    standardise
        Divide units by their standard deviation; else a node's signal is the plain mean of its units.

    Raises
    ------
    DataError
        If activations are not finite.
    """
    moments = pool.moments(site)
    mean, variance = moments.mean, moments.variance
    labels = partition.labels[site]
    wrong = ~(np.isfinite(mean) & np.isfinite(variance))
    if wrong.any():
        raise DataError(
            f"functional: {int(wrong.sum())} units of site {site!r} were recorded with values that are not "
            f"finite (the first is unit {int(np.argmax(wrong))})"
        )
    deviation = np.sqrt(variance)
    live = labels != DEAD
    varies = live & (deviation > CONSTANT * np.abs(mean))
    units = np.flatnonzero(varies)
    units = units[np.argsort(labels[units], kind="stable")]
    parts, starts, counts = np.unique(labels[units], return_index=True, return_counts=True)
    size = np.repeat(counts, counts)
    in_order = len(units) == len(labels) and np.array_equal(units, np.arange(len(labels)))
    weight = 1 / (deviation[units] * size) if standardise else 1 / size
    return SiteSignals(
        units=None if in_order else units,
        starts=None if (counts == 1).all() else starts,
        mean=mean[units],
        weight=weight,
        spread=deviation[units] * weight,
        nodes=partition.node_slice(site).start + parts.astype(np.int64),
        constant=np.flatnonzero(live & ~varies),
    )


class Step(Protocol):
    """Something done to all signals before they are compared."""

    def __call__(self, values: Matrix, rows: npt.NDArray[np.int64]) -> Matrix:
        """Signals [len(rows), n] of signals; `rows` says which rows of the pool these are."""
        ...


@dataclass(frozen=True)
class Signals:
    """The signals of all nodes over the rows that count, streamed in blocks.

    Attributes
    ----------
    pool
        The buffers.
    plans
        Site -> its plan.
    rows
        Numbers of the rows that count, int64 ascending; None for all.
    steps
        What is done to the signals, in order.
    """

    pool: Pool
    plans: Mapping[str, SiteSignals]
    rows: npt.NDArray[np.int64] | None = None
    steps: tuple[Step, ...] = ()

    @property
    def n_rows(self) -> int:
        """Number of rows that count."""
        return self.pool.n_rows if self.rows is None else len(self.rows)

    @property
    def row_numbers(self) -> npt.NDArray[np.int64]:
        """Number in the pool of each row that counts."""
        return np.arange(self.pool.n_rows) if self.rows is None else self.rows

    @property
    def scale(self) -> Matrix:
        """Standard deviation that a signal would have if its units did not cancel [n]."""
        return np.concatenate([plan.scale for plan in self.plans.values()])

    @property
    def nodes(self) -> npt.NDArray[np.int64]:
        """Number among the partition's nodes of each signal."""
        return np.concatenate([plan.nodes for plan in self.plans.values()])

    def then(self, step: Step) -> Signals:
        """With one more step."""
        return replace(self, steps=(*self.steps, step))

    def blocks(self, size: int = BLOCK_ROWS, tails: Mapping[str, Tails] | None = None) -> Iterator[tuple[int, Matrix]]:
        """Where a block starts among the rows that count, and its signals, float64 [rows, n]; once through the data.

        A block is overwritten by the next.
        """
        numbers, start = self.row_numbers, 0
        for block in blocks(self._chunks(tails), size):
            values = block
            for step in self.steps:
                values = step(values, numbers[start : start + len(block)])
            yield start, values
            start += len(block)

    def _chunks(self, tails: Mapping[str, Tails] | None) -> Iterator[Matrix]:
        done = 0
        passes = track(self.pool.chunks(list(self.plans)), "functional connectivity", self.pool.n_chunks, "chunks")
        for chunk in passes:
            n = len(next(iter(chunk.values())))
            keep = self.kept(done, n)
            done += n
            if keep is not None:
                chunk = {site: chunk[site][keep] for site in self.plans}
            yield from self._pieces(chunk, tails)

    def _pieces(self, chunk: Mapping[str, npt.NDArray[Any]], tails: Mapping[str, Tails] | None) -> Iterator[Matrix]:
        """Signals of a chunk, so few rows at a time that a site stays in the cache while it is worked on."""
        n, widest = len(next(iter(chunk.values()))), max(len(plan.mean) for plan in self.plans.values())
        step = max(PIECE_ROWS, PIECE // max(widest, 1))
        for start in range(0, n, step):
            parts = []
            for site, plan in self.plans.items():
                units = plan.unit_values(chunk[site][start : start + step])
                if tails is not None:
                    tails[site].add(units)
                parts.append(plan.node_values(units))
            yield parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def kept(self, done: int, n: int) -> npt.NDArray[np.int64] | None:
        """Which of n rows, of which `done` came before, count; None for all."""
        if self.rows is None:
            return None
        low, high = np.searchsorted(self.rows, [done, done + n])
        return self.rows[low:high] - done

    def all(self) -> Matrix:
        """All rows at once: float64 [rows, n]."""
        return np.concatenate([values.copy() for _, values in self.blocks()])


def live_partition(partition: Partition, sites: Sequence[str], plans: Mapping[str, SiteSignals]) -> Partition:
    """The partition on these sites, where units that do not vary are dead and say so."""
    part = partition.restrict(sites)
    labels, reasons, empty = dict(part.labels), dict(part.reasons), dict(part.empty)
    for site, plan in plans.items():
        if len(plan.constant) == 0:
            continue
        values = np.array(labels[site])
        values[plan.constant] = DEAD
        labels[site] = values
        reasons[site] = dict(reasons.get(site, {})) | {"constant": tuple(int(k) for k in plan.constant)}
        left = np.bincount(values[values != DEAD], minlength=part.n_parts(site))
        empty[site] = tuple(name for name, count in zip(part.names[site], left, strict=True) if count == 0)
    return Partition(labels, part.names, part.kind, reasons, empty)
