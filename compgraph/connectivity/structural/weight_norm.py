"""Norms of the weights between the parts of neighbouring sites of a chain (CNN, MLP), free of scale.

A ReLU network does not change when the weights into a hidden unit are multiplied by a > 0 and the weights
out of it are divided by a, so a bare norm of weights means nothing. Give every unit the scale of the squared
path norm (Neyshabur, Salakhutdinov & Srebro, Path-SGD, 2015), from the input forwards,

    s_j^2 = sum over i of w_ji^2 s_i^2,      s = 1 at the input,

which takes on exactly the factor a. The share of unit i in unit j, w_ji^2 s_i^2 / s_j^2, is then the same for
all networks that differ by such a rescaling; over i it sums to 1. (It is the share of j's variance that comes
through i if the input were white noise and the units linear.) The weight of the edge from part A to part B is

    sqrt( mean over j in B of sum over i in A of w_ji^2 s_i^2 / s_j^2 )

the Frobenius norm of the block of rescaled weights over the root of the number of target units: between 0 and
1, with squares that sum to 1 over the parts of the source site. A unit behind a pooling has the mean square
over its window. Biases are left out: they are not connections. With other activations than ReLU the numbers
are defined, but the symmetry is not there to be respected.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 (the name every torch user knows)
from torch import Tensor

from compgraph.errors import ModelError
from compgraph.graph import ComputationalGraph
from compgraph.models.layers import POOLS, Layer, Stage
from compgraph.models.sequential import Reader, Sequential
from compgraph.partition import DEAD, Partition

BATCH_UNITS = 2**22
"""Units in flight at once while parts are sent through a convolution."""


def compute(net: Sequential, partition: Partition, *, seed: int = 0) -> ComputationalGraph:
    """Scale-free weight norms between the parts of neighbouring sites.

    Parameters
    ----------
    net
        A sequential network.
    partition
        The nodes. Sites that it leaves out have no nodes, and carry the scales on.
    seed
        Nothing is drawn; taken for the common signature of structural methods.

    Returns
    -------
    ComputationalGraph
        Directed, kind `structural`, edges in the canonical order; weights in [0, 1]. Attributes: `method`,
        and `units_without_input` (site -> number of units with no weight into them, whose shares are 0).

    Raises
    ------
    ModelError
        If the network is not sequential.
    GraphError
        If the partition is of another network.
    """
    if net.kind != "sequential":
        raise ModelError(
            f"weight-norm is for sequential networks, not for a {net.kind} ({net.family}); use 'composition'"
        )
    partition.check(net)
    scale = torch.ones(net.architecture.site("input").n_units, dtype=torch.float64)
    shares: dict[str, npt.NDArray[np.float64]] = {}
    orphans: dict[str, int] = {}
    for stage in net.stages:
        reader = _squared(net.reader(stage.site))
        total = _through(reader, stage, scale[None])[0]
        if unreached := int((total == 0).sum()):
            orphans[stage.site] = unreached
        if stage.site in partition.labels and stage.source in partition.labels:
            shares[stage.site] = _part_shares(reader, stage, scale, total, partition)
        scale = total
    weight = [np.sqrt(shares[site]).ravel() for site in partition.sites if site in shares]
    return ComputationalGraph.from_architecture(
        net,
        partition,
        np.concatenate([np.zeros(0), *weight]),
        kind="structural",
        attributes={"method": "weight-norm", "units_without_input": orphans},
    )


def _part_shares(
    reader: Reader, stage: Stage, scale: Tensor, total: Tensor, partition: Partition
) -> npt.NDArray[np.float64]:
    """Mean share of each source part in the units of each target part, float64 [targets, sources]."""
    target = torch.from_numpy(partition.labels[stage.site].astype(np.int64))
    live = target != DEAD
    sizes = torch.from_numpy(partition.part_sizes(stage.site)).clamp(min=1)
    inverse = torch.where(total > 0, 1 / total, torch.zeros_like(total))
    shares = torch.zeros(partition.n_parts(stage.site), partition.n_parts(stage.source), dtype=torch.float64)
    for first, masks in _part_masks(partition, stage.source):
        ratio = _through(reader, stage, masks * scale) * inverse
        summed = torch.zeros(len(masks), len(shares), dtype=torch.float64)
        summed.index_add_(1, target[live], ratio[:, live])
        shares[:, first : first + len(masks)] = (summed / sizes).T
    return shares.clamp(0, 1).numpy()


def _part_masks(partition: Partition, site: str) -> Iterator[tuple[int, Tensor]]:
    """The parts of a site as rows of 0 and 1, float64 [parts, units], in batches with their first label."""
    labels = torch.from_numpy(partition.labels[site].astype(np.int64))
    batch = max(1, BATCH_UNITS // max(len(labels), 1))
    for first in range(0, partition.n_parts(site), batch):
        parts = torch.arange(first, min(first + batch, partition.n_parts(site)))
        yield first, (labels[None] == parts[:, None]).double()


def _through(reader: Reader, stage: Stage, squares: Tensor) -> Tensor:
    """Squared scales [batch, n_source] through one stage: [batch, n_units]."""
    values = reader(squares, bias=False)
    for layer in stage.tail:
        if layer["type"] in POOLS:
            values = _mean_pool(layer, values)
    return values.flatten(1)


def _mean_pool(layer: Layer, values: Tensor) -> Tensor:
    """Mean over each window, whichever of its values the pooling takes."""
    padding = tuple(layer.get("padding", (0, 0)))
    return F.avg_pool2d(values, layer["kernel"], layer["stride"], padding, count_include_pad=False)


def _squared(reader: Reader) -> Reader:
    """The same map with squared weights, in float64 on the CPU."""
    moved = reader.to(torch.device("cpu"), torch.float64)
    return replace(moved, weight=moved.weight.detach() ** 2, bias=None)
