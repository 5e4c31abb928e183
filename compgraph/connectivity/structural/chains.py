"""Squared weights of chains (CNN, MLP) in units that rescaling does not change, and graphs of them.

A ReLU network does not change when the weights into a hidden unit are multiplied by a > 0 and the weights out of it
are divided by a, so a bare norm of weights means nothing. Give every unit the scale of the squared path norm
(Neyshabur, Salakhutdinov & Srebro, Path-SGD, 2015), from the input forwards,

    s_j² = sum over i of w_ji² s_i²,      s = 1 at the input,

which takes on exactly the factor a: w_ji s_i / s_j is the same for all networks that differ by such a rescaling. A
unit behind a pooling has the mean square over its window. Biases are left out: they are not connections. Batch norms
are folded into the weights when a network is made.

Null: the matrix of a layer's rescaled weights w_ji s_i (of a convolution its kernels, s_i² averaged over a channel)
keeps its shape and singular values, and its rows are turned at random in the space of what they read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 (the name every torch user knows)
from torch import Tensor

from compgraph.connectivity.structural.edges import Columns, with_columns
from compgraph.connectivity.structural.null import Draws
from compgraph.errors import GraphError, ModelError
from compgraph.graph import ComputationalGraph
from compgraph.models.layers import POOLS, Stage
from compgraph.models.layers import Layer as Description
from compgraph.models.sequential import Reader, Sequential
from compgraph.partition import DEAD, Partition

BATCH_UNITS = 2**22
"""Units in flight at once while parts are sent through a convolution."""


@dataclass(frozen=True)
class SquaredStage:
    """A stage of a chain as a map of squared scales.

    Attributes
    ----------
    stage
        Its description.
    reader
        Its weights squared, float64.
    scale
        s² of the source's units, float64 [n_source].
    """

    stage: Stage
    reader: Reader
    scale: Tensor

    def __call__(self, squares: Tensor) -> Tensor:
        """Squared scales [batch, n_source] through reader and pooling: [batch, n_units]."""
        values = self.reader(squares, bias=False)
        for layer in self.stage.tail:
            if layer["type"] in POOLS:
                values = _mean_pool(layer, values)
        return values.flatten(1)

    @property
    def total(self) -> Tensor:
        """s² of its own units, float64 [n_units]."""
        return self(self.scale[None])[0]

    def back(self, squares: Tensor) -> Tensor:
        """The adjoint: [n_units] -> [n_source]."""
        start = torch.zeros(1, len(self.scale), dtype=torch.float64, requires_grad=True)
        (out,) = torch.autograd.grad(self(start), start, squares[None])
        return out[0]


TargetWeights = Callable[[SquaredStage], Tensor]
"""What a unit's squared scale counts by, [n_units]: the sum over a part's units is the squared weight of an edge."""


def squared_stages(net: Sequential) -> list[SquaredStage]:
    """All stages of a chain, with the scales of what they read."""
    scale = torch.ones(net.architecture.site("input").n_units, dtype=torch.float64)
    found = []
    for stage in net.stages:
        found.append(SquaredStage(stage, _squared(net.reader(stage.site)), scale))
        scale = found[-1].total
    return found


def check(net: Sequential, partition: Partition, method: str, rotated: int) -> None:
    """Refuse other networks and partitions, and a null of one draw."""
    if net.kind != "sequential":
        raise ModelError(f"{method} is for sequential networks, not for a {net.kind} ({net.family}); use 'composition'")
    partition.check(net)
    if rotated < 0 or rotated == 1:
        raise GraphError(f"{method}: rotated is {rotated}; it must be 0, or at least 2 for a variance")


def chain_graph(
    net: Sequential,
    partition: Partition,
    stages: list[SquaredStage],
    weights: Mapping[str, TargetWeights],
    *,
    rotated: int,
    seed: int,
    attributes: Mapping[str, Any],
) -> ComputationalGraph:
    """The graph whose squared weights are sums of rescaled squares.

    Parameters
    ----------
    weights
        Of the units of each site.
    rotated, seed
        Draws of the null.
    attributes
        Of the graph; the number of units without input is added where there are any.
    """
    pieces: dict[str, Columns] = {}
    orphans: dict[str, int] = {}
    for number, one in enumerate(stages):
        site = one.stage.site
        if unreached := int((one.total == 0).sum()):
            orphans[site] = unreached
        if site in partition.labels and one.stage.source in partition.labels:
            pieces[site] = _columns(net, one, weights[site], partition, rotated, [seed, number])
    names = ("weight", "z", "p") if rotated else ("weight",)
    order = [site for site in partition.sites if site in pieces]
    columns = {name: np.concatenate([np.zeros(0), *(pieces[site][name].ravel() for site in order)]) for name in names}
    graph = ComputationalGraph.from_architecture(net, partition, kind="structural")
    return with_columns(graph, columns, {**attributes, "units_without_input": orphans})


def _columns(
    net: Sequential, one: SquaredStage, weights: TargetWeights, partition: Partition, rotated: int, seed: list[int]
) -> Columns:
    """Weights and, if rotations are drawn, z and p of the edges into a site [targets, sources]."""
    squared = part_sums(one, weights(one), partition)
    columns: Columns = {"weight": np.sqrt(squared)}
    if rotated:
        draws = Draws(squared)
        for draw in range(rotated):
            turned = _turned(net.reader(one.stage.site), one, np.random.default_rng([*seed, draw]))
            draws.add(part_sums(turned, weights(turned), partition))
        moments = draws.moments()
        columns |= {"z": moments.z(squared), "p": moments.upper(squared)}
    return columns


def part_sums(one: SquaredStage, weights: Tensor, partition: Partition) -> npt.NDArray[np.float64]:
    """Sum over the units j of each target part, by their weights, of what comes from each source part: squared scales,
    float64 [targets, sources]."""
    site, source = one.stage.site, one.stage.source
    target = torch.from_numpy(partition.labels[site].astype(np.int64))
    live = target != DEAD
    sums = torch.zeros(partition.n_parts(site), partition.n_parts(source), dtype=torch.float64)
    for first, masks in _part_masks(partition, source):
        values = one(masks * one.scale) * weights
        summed = torch.zeros(len(masks), len(sums), dtype=torch.float64)
        summed.index_add_(1, target[live], values[:, live])
        sums[:, first : first + len(masks)] = summed.T
    return sums.clamp(0, 1).numpy()


def _part_masks(partition: Partition, site: str) -> Iterator[tuple[int, Tensor]]:
    """The parts of a site as rows of 0 and 1, float64 [parts, units], in batches with their first label."""
    labels = torch.from_numpy(partition.labels[site].astype(np.int64))
    batch = max(1, BATCH_UNITS // max(len(labels), 1))
    for first in range(0, partition.n_parts(site), batch):
        parts = torch.arange(first, min(first + batch, partition.n_parts(site)))
        yield first, (labels[None] == parts[:, None]).double()


def _mean_pool(layer: Description, values: Tensor) -> Tensor:
    """Mean over each window, whichever of its values the pooling takes."""
    padding = tuple(layer.get("padding", (0, 0)))
    return F.avg_pool2d(values, layer["kernel"], layer["stride"], padding, count_include_pad=False)


def _squared(reader: Reader) -> Reader:
    """The same map with squared weights, in float64 on the CPU."""
    moved = reader.to(torch.device("cpu"), torch.float64)
    return replace(moved, weight=moved.weight.detach() ** 2, bias=None)


def _turned(reader: Reader, one: SquaredStage, rng: np.random.Generator) -> SquaredStage:
    """The stage with the rows of its rescaled weights turned at random, group by group of a convolution."""
    weight = reader.weight.detach().cpu().double()
    scale = one.scale if reader.kind == "linear" else one.scale.reshape(reader.in_shape[0], -1).mean(1)
    columns = scale.sqrt().reshape(reader.groups, -1).repeat_interleave(len(weight) // reader.groups, 0)
    columns = columns.reshape(*columns.shape, *[1] * (weight.dim() - 2))
    rescaled = (weight * columns).unflatten(0, (reader.groups, -1)).flatten(2)  # [groups, rows, fan-in]
    rows = torch.stack([_turn_rows(group, rng) for group in rescaled]).reshape(weight.shape)
    back = torch.where(columns > 0, rows / columns, 0.0)
    return replace(one, reader=replace(one.reader, weight=back**2))


def _turn_rows(matrix: Tensor, rng: np.random.Generator) -> Tensor:
    """A matrix with the same singular values and left directions, its right ones uniform."""
    factor = torch.linalg.qr(matrix.T, mode="r").R.T  # [rows, rank]
    drawn = rng.standard_normal((matrix.shape[1], factor.shape[1]))
    frame, upper = np.linalg.qr(drawn)
    return factor @ torch.from_numpy(frame * np.sign(np.diag(upper))).T
