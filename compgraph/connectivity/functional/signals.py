"""One signal per node: the mean of its units' standardised activations.

With z_i = (x_i - mean_i) / sd_i over the rows of the buffer, node n with live units U_n has the signal

    s_n = (1 / |U_n|) sum over i in U_n of z_i

so that the covariance of two nodes is the mean correlation between their units: a quadratic form of the unit
correlations, computed without ever forming the unit-by-unit matrix. Means and variances come with the buffer,
so that one pass suffices. A node of one unit has that unit as its signal.

Units that do not vary carry no information about co-variation; they are left out of their node's mean, and a
node of which nothing is left is left out of the graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from compgraph.architecture import Architecture
from compgraph.errors import DataError
from compgraph.granularity import listed
from compgraph.partition import DEAD, Partition
from compgraph.progress import track

CONSTANT = 1e-9
"""A unit is constant if its standard deviation is at most this share of its mean's magnitude."""


class Recording(Protocol):
    """What is read of an activation buffer (`compgraph.data.buffers.ActivationBuffer`)."""

    architecture: Architecture
    n_rows: int
    n_chunks: int

    @property
    def sites(self) -> Any:
        """Table with a row per recorded site and its name in the column `site`."""
        ...

    def chunks(self, sites: Iterable[str]) -> Iterator[Mapping[str, npt.NDArray[Any]]]:
        """Rows in order: site -> [rows, n_units], the same rows for every site."""
        ...

    def mean(self, site: str) -> npt.NDArray[np.floating[Any]]:
        """Mean of each unit over all rows."""
        ...

    def variance(self, site: str) -> npt.NDArray[np.floating[Any]]:
        """Variance of each unit over all rows."""
        ...


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
    nodes
        Number of each node among the partition's nodes, int64.
    n_constant
        How many units of live parts do not vary.
    """

    units: npt.NDArray[np.int64] | None
    starts: npt.NDArray[np.int64] | None
    mean: npt.NDArray[np.float64]
    weight: npt.NDArray[np.float64]
    nodes: npt.NDArray[np.int64]
    n_constant: int

    def __call__(self, chunk: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Signals [rows, n_nodes] of activations [rows, n_units]."""
        # np.take, because indexing columns with an array is five times as slow.
        values = chunk if self.units is None else np.take(chunk, self.units, axis=1)
        signal = values.astype(np.float64)
        signal -= self.mean
        signal *= self.weight
        return signal if self.starts is None else np.add.reduceat(signal, self.starts, axis=1)


def site_signals(buffer: Recording, partition: Partition, site: str) -> SiteSignals:
    """Plan of one site.

    Raises
    ------
    DataError
        If activations are not finite.
    """
    mean = np.asarray(buffer.mean(site), dtype=np.float64)
    variance = np.asarray(buffer.variance(site), dtype=np.float64)
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
    return SiteSignals(
        units=None if in_order else units,
        starts=None if (counts == 1).all() else starts,
        mean=mean[units],
        weight=1 / (deviation[units] * size),
        nodes=partition.node_slice(site).start + parts.astype(np.int64),
        n_constant=int((live & ~varies).sum()),
    )


def chosen_sites(buffer: Recording, partition: Partition, sites: Sequence[str] | None) -> list[str]:
    """Sites to use, in the order of the partition: those asked for, or all that the buffer has.

    Raises
    ------
    DataError
        If a site that was asked for, or every site of the partition, was not recorded.
    GraphError
        If the partition is of another model, or a site that was asked for is not in it.
    """
    partition.check(buffer.architecture)
    recorded = [str(name) for name in buffer.sites["site"]]
    if sites is None:
        found = [site for site in partition.sites if site in recorded]
        if not found:
            raise DataError(
                f"functional: the buffer has {listed(recorded)}, none of the partition's sites "
                f"{listed(partition.sites)}; add some of them to `activations.sites`"
            )
        return found
    for site in sites:
        if site not in recorded:
            raise DataError(
                f"functional: site {site!r} was not recorded; add it to `activations.sites` (the buffer has "
                f"{listed(recorded)})"
            )
    return list(partition.restrict(sites).sites)


def node_signals(buffer: Recording, plans: Mapping[str, SiteSignals]) -> Iterator[npt.NDArray[np.float64]]:
    """Signals of all nodes, chunk by chunk: float64 [rows, n_nodes], nodes in the order of `plans`."""
    passes = track(buffer.chunks(list(plans)), "functional connectivity", buffer.n_chunks, "chunks")
    for chunk in passes:
        yield np.concatenate([plan(chunk[site]) for site, plan in plans.items()], axis=1)
