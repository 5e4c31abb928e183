"""What each node or block contributes to every single example: attributions with one sign for all methods.

Attribution methods differ in sign, and metrics in which way is better. Here a positive number always *supports* the
network's doing well: taking the node away makes the metric worse.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from compgraph.attribution.scores import Attributed, attributed_part, scores_by_item
from compgraph.catalogue import ATTRIBUTIONS
from compgraph.errors import DataError, GraphError
from compgraph.graph import ComputationalGraph
from compgraph.metrics import lower_is_better
from compgraph.partition import DEAD, Partition

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Sign = Literal["abs", "support", "against"]
SIGNS: tuple[Sign, ...] = ("abs", "support", "against")
NONE = -1
"""Label of nodes in no block."""


class Labelled(Protocol):
    """Labels of a graph's nodes: `Communities`, `BlockModel`."""

    @property
    def names(self) -> Sequence[str]: ...

    @property
    def labels(self) -> NDArray[Any]: ...


@dataclass(frozen=True)
class NamedLabels:
    """Labels as they were read from a table: int [n_nodes], -1 for nodes in no block."""

    names: Sequence[str]
    labels: NDArray[Any]


def joined(graph: ComputationalGraph, blocks: Labelled) -> Partition:
    """Regions: units whose nodes are in the same block, site by site; units in none are dead.

    Parameters
    ----------
    graph
        Whose nodes the blocks join.
    blocks
        `BlockModel`, `Communities` or `NamedLabels`.

    Returns
    -------
    Partition
        Of the sites of the graph that have a node in a block. A block that spans several sites is a region of each.

    Raises
    ------
    GraphError
        A graph without a partition; no node in any block.
    """
    if graph.partition is None:
        raise GraphError(f"regions from blocks need a graph over units of a network; this {graph.kind} graph is not")
    fine = graph.partition
    of_node = node_blocks(fine, blocks)
    labels = {}
    for site, parts in fine.labels.items():
        own = np.where(parts == DEAD, NONE, of_node[fine.node_slice(site)][parts])
        known = np.unique(own[own != NONE])
        if len(known):
            labels[site] = np.where(own == NONE, DEAD, np.searchsorted(known, own))
    return Partition.from_labels(labels, kind="roi")


def node_blocks(partition: Partition, blocks: Labelled | ArrayLike | None) -> Labels:
    """The block of every node of a partition.

    Parameters
    ----------
    blocks
        `BlockModel` or `Communities`, whose labels go by node name (nodes they do not name are in no block, names of
        other nodes are ignored); or int [n_nodes], -1 for nodes in no block; or None: every node is a block.

    Returns
    -------
    int64 [n_nodes]

    Raises
    ------
    GraphError
        Another number of labels, labels below -1, or no node in any block.
    """
    if blocks is None:
        return np.arange(partition.n_nodes)
    if hasattr(blocks, "names") and hasattr(blocks, "labels"):
        by_name = dict(zip(blocks.names, np.asarray(blocks.labels).tolist(), strict=True))
        labels = np.array([by_name.get(name, NONE) for name in partition.node_names], np.int64)
    else:
        labels = np.asarray(blocks)
        if labels.shape != (partition.n_nodes,) or labels.dtype.kind not in "iu":
            raise GraphError(
                f"blocks: {labels.dtype} of shape {list(labels.shape)} were given; "
                f"one whole number for each of the {partition.n_nodes} nodes is needed"
            )
        labels = labels.astype(np.int64)
    if labels.min(initial=NONE) < NONE:
        raise GraphError(f"blocks: label {labels.min()} is not valid; labels are 0, 1, … or -1 for no block")
    if (labels == NONE).all():
        raise GraphError(f"blocks: none of the {partition.n_nodes} nodes is in a block; at least one must be")
    return labels


def direction(attributions: Any) -> int:
    """1 where a positive attribution supports (see above), -1 where a negative one does.

    Attributions that compare with a baseline estimate the change when a unit is ablated, `activation-x-gradient` what
    its value adds (`compgraph.attribution.methods`).

    Raises
    ------
    DataError
        It does not say by which method and of which metric it was made.
    """
    said = getattr(attributions, "attributes", {}).get("attribution")
    if not said:
        raise DataError("these are no attributions; make some with node_attributions or record_attributions")
    of_removal = ATTRIBUTIONS[said["method"]].takes_baseline
    return (-1 if of_removal else 1) * (-1 if lower_is_better(said["metric"]) else 1)


def node_profiles(attributions: Attributed, partition: Partition) -> Iterator[Floats]:
    """Support of every node for every example, [examples, n_nodes] of a few examples at a time, in their order.

    Summed over a node's units and the recorded positions; 0 at sites without attributions.

    Raises
    ------
    DataError, GraphError
        As `node_scores` and `direction`.
    """
    sign = direction(attributions)
    columns = attributed_nodes(attributions, partition)
    for sums in scores_by_item(attributions, partition):
        whole = np.zeros((len(sums), partition.n_nodes))
        whole[:, columns] = sign * sums
        yield whole


def attributed_nodes(attributions: Attributed, partition: Partition) -> Labels:
    """Numbers of the nodes whose site has attributions."""
    sites = attributed_part(attributions, partition).sites
    ranges = [partition.node_slice(site) for site in sites]
    return np.concatenate([np.arange(nodes.start, nodes.stop) for nodes in ranges])


def magnitude(support: Floats, sign: Sign) -> Floats:
    """Numbers >= 0 from supports of nodes: their size, or only what supports, or only what works against.

    Raises
    ------
    DataError
        Unknown word.
    """
    if sign not in SIGNS:
        raise DataError(f"sign {sign!r} is not known; valid are {', '.join(SIGNS)}")
    if sign == "abs":
        return np.abs(support)
    return np.maximum(support if sign == "support" else -support, 0)


def block_profiles(attributions: Attributed, partition: Partition, labels: Labels, sign: Sign = "abs") -> Floats:
    """What each block contributes to every example: magnitudes of its nodes, added up.

    Nodes are taken by themselves: within a node, units and positions of opposite sign cancel; between nodes nothing
    does.

    Returns
    -------
    float64 [examples, labels.max() + 1]
        One column a block; of examples by blocks, not by nodes or units.
    """
    n_blocks = int(labels.max()) + 1
    inside = np.flatnonzero(labels != NONE)
    # Sums over blocks as a product with the membership would need n_nodes × n_blocks; sorting needs neither.
    order = inside[np.argsort(labels[inside], kind="stable")]
    found, starts = np.unique(labels[order], return_index=True)
    rows = []
    for support in node_profiles(attributions, partition):
        sums = np.zeros((len(support), n_blocks))
        sums[:, found] = np.add.reduceat(magnitude(support[:, order], sign), starts, axis=1)
        rows.append(sums)
    return np.concatenate(rows)


def tasks_of(attributions: Attributed, tasks: Sequence[str] | NDArray[Any]) -> NDArray[np.str_]:
    """The task of every attributed example, from those of all examples of the data.

    Raises
    ------
    DataError
        Fewer tasks than examples.
    """
    items = np.unique(np.asarray(attributions.item))
    if len(tasks) <= items[-1]:
        raise DataError(f"tasks: {len(tasks)} were given, but attributions are of example {items[-1]}; give all tasks")
    return np.asarray(tasks, dtype=np.str_)[items]
