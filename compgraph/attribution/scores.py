"""Scores of nodes: attributions summed over a node's units."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from compgraph.architecture import Architecture
from compgraph.data.buffer_layout import ATTRIBUTIONS, QUANTITIES
from compgraph.data.moments import Moments
from compgraph.errors import DataError
from compgraph.partition import DEAD, Partition

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]


class Attributed(Protocol):
    """What is read: a buffer of attributions, or attributions in memory."""

    architecture: Architecture
    quantity: str

    @property
    def sites(self) -> Any: ...

    @property
    def item(self) -> NDArray[Any]: ...

    def chunks(self, sites: Iterable[str]) -> Iterator[Mapping[str, NDArray[Any]]]: ...


def node_scores(attributions: Attributed, partition: Partition) -> pd.DataFrame:
    """Attribution of every node: the sum over its units and the recorded positions, averaged over examples.

    For `attribution-patching` of all positions these are the sums of the nodes' outgoing edges under `eap`
    (`ComputationalGraph.node_scores`), exactly, where a site's write is linear in its units: everywhere but behind a
    post-norm (Gemma 2) and at whole MLPs with an output bias under baseline zero, which ablates that bias too.

    Parameters
    ----------
    attributions
        Of `node_attributions` or `record_attributions` (`compgraph.open_buffer`).
    partition
        The nodes; those of sites without attributions are left out.

    Returns
    -------
    DataFrame
        One row a node: name, site, label, size, level, score, stderr (of the mean over examples).

    Raises
    ------
    DataError
        Activations instead of attributions, or none of the partition's sites is among them.
    GraphError
        A partition of another network.

    Notes
    -----
    One pass; memory is that of a chunk, whatever the number of examples.
    """
    import pandas as pd

    part = attributed_part(attributions, partition)
    total = Moments.none(part.n_nodes)
    for sums in _per_item(attributions, part):
        total = total.merge(Moments.of(sums))
    table = pd.DataFrame(part.nodes(attributions.architecture))
    variance = total.squares / max(total.count - 1, 1)  # the estimate for the population, as for edges
    return table.assign(score=total.mean, stderr=np.sqrt(variance / total.count))


def scores_by_item(attributions: Attributed, partition: Partition) -> Iterator[Floats]:
    """The sums whose mean `node_scores` gives: [examples, nodes] of a few examples at a time, in their order.

    Nodes are those of `attributed_part(attributions, partition)`.

    Raises
    ------
    DataError, GraphError
        As `node_scores`.
    """
    yield from _per_item(attributions, attributed_part(attributions, partition))


def attributed_part(attributions: Attributed, partition: Partition) -> Partition:
    """The partition at the sites that have attributions.

    Raises
    ------
    DataError, GraphError
        As `node_scores`.
    """
    if attributions.quantity != QUANTITIES[ATTRIBUTIONS]:
        raise DataError(f"node scores are sums of attributions, and this buffer holds a unit's {attributions.quantity}")
    partition.check(attributions.architecture)
    found = set(attributions.sites["site"])
    names = [site for site in partition.sites if site in found]
    if not names:
        listed = ", ".join(attributions.sites["site"])
        raise DataError(f"node scores: none of the partition's sites has attributions; there are {listed}")
    return partition.restrict(names)


def _per_item(attributions: Attributed, partition: Partition) -> Iterator[Floats]:
    """Sums [items, nodes] over the rows of whole items; an item that goes on in the next chunk waits for it."""
    row, open_item, carried = 0, -1, np.zeros(partition.n_nodes)
    item = attributions.item
    for chunk in attributions.chunks(partition.sites):
        nodes = np.concatenate([sums_by_part(values, partition, site) for site, values in chunk.items()], axis=1)
        here = item[row : row + len(nodes)]
        row += len(nodes)
        starts = np.flatnonzero(np.diff(here, prepend=-1))
        sums = np.add.reduceat(nodes, starts, axis=0)
        if here[0] == open_item:
            sums[0] += carried
        elif open_item >= 0:
            yield carried[None]
        open_item, carried = int(here[-1]), sums[-1].copy()
        if len(sums) > 1:
            yield sums[:-1]
    yield carried[None]


def sums_by_part(values: NDArray[Any], partition: Partition, site: str) -> Floats:
    """Sums over the units of each part of a site; dead units belong to none.

    Parameters
    ----------
    values
        float [rows, units of the site].
    partition, site
        Whose parts.

    Returns
    -------
    float64 [rows, parts]
    """
    labels = partition.labels[site]
    units = np.flatnonzero(labels != DEAD)
    units = units[np.argsort(labels[units], kind="stable")]
    parts, starts = np.unique(labels[units], return_index=True)
    out = np.zeros((len(values), partition.n_parts(site)))
    if len(units):
        out[:, parts] = np.add.reduceat(values[:, units].astype(np.float64), starts, axis=1)
    return out
