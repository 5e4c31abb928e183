"""Squared weights of chains (CNN, MLP) in units that rescaling does not change, and graphs of them.

A ReLU network does not change when the weights into a hidden unit are multiplied by a > 0 and the weights out of it
are divided by a, so a bare norm of weights means nothing. Give every unit the scale of the squared path norm
(Neyshabur, Salakhutdinov & Srebro, Path-SGD, 2015), from the input forwards,

    s_j² = sum over i of w_ji² s_i²,      s = 1 at the input,

which takes on exactly the factor a: w_ji s_i / s_j is the same for all networks that differ by such a rescaling. A
unit behind a pooling has the mean square over its window. Biases are left out: they are not connections. Batch norms
are folded into the weights when a network is made.

The null is that of `chain_null`, or on request that of `chain_permutation`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from compgraph.connectivity.structural.chain_null import Rows, judged, rescaled_rows, scales_of, spectra_of, with_rows
from compgraph.connectivity.structural.chain_permutation import permutation_null
from compgraph.connectivity.structural.edges import Columns, check_size, with_columns
from compgraph.connectivity.structural.null import Draws
from compgraph.connectivity.structural.squared_stage import SquaredStage
from compgraph.errors import GraphError, ModelError
from compgraph.graph import ComputationalGraph
from compgraph.models.sequential import Reader, Sequential
from compgraph.partition import DEAD, Partition

BATCH_UNITS = 2**22
"""Units in flight at once while parts are sent through a convolution."""


TargetWeights = Callable[[SquaredStage], Tensor]
"""What a unit's squared scale counts by, [n_units]: the sum over a part's units is the squared weight of an edge."""

Weigh = Callable[[Sequence[SquaredStage]], Mapping[str, TargetWeights]]
"""Site -> what its units count by, in the network of these stages."""


def squared_stages(net: Sequential) -> list[SquaredStage]:
    """All stages of a chain, with the scales of what they read."""
    scale = torch.ones(net.architecture.site("input").n_units, dtype=torch.float64)
    found = []
    for stage in net.stages:
        found.append(SquaredStage(stage, _squared(net.reader(stage.site)), scale))
        scale = found[-1].total
    return found


def check(net: Sequential, partition: Partition, method: str, rotated: int, permuted: int) -> None:
    """Refuse other networks and partitions, and a null of one draw."""
    if net.kind != "sequential":
        raise ModelError(f"{method} is for sequential networks, not for a {net.kind} ({net.family}); use 'composition'")
    partition.check(net)
    check_size(net, partition, "use channels, or a coarser partition")
    for name, draws in (("rotated", rotated), ("permuted", permuted)):
        if draws < 0 or draws == 1:
            raise GraphError(f"{method}: {name} is {draws}; it must be 0, or at least 2 for a variance")


def chain_graph(
    net: Sequential,
    partition: Partition,
    stages: list[SquaredStage],
    weigh: Weigh,
    *,
    rotated: int,
    permuted: int,
    seed: int,
    attributes: Mapping[str, Any],
) -> ComputationalGraph:
    """The graph whose squared weights are sums of rescaled squares.

    Parameters
    ----------
    weigh
        What units count by.
    rotated, permuted, seed
        Draws of the null, and which it is (`permuted` goes first).
    attributes
        Of the graph; the null and, where there are any, the number of units without input are added.
    """
    orphans = {one.stage.site: int((one.total == 0).sum()) for one in stages}
    if permuted:
        pieces = permutation_null(stages, lambda some: _squares(some, weigh, partition), partition, permuted, seed)
    else:
        pieces = _rotation_null(net, stages, weigh(stages), partition, rotated, seed)
    null = {"null": "permutation" if permuted else "rotation"} if permuted or rotated else {}
    names = ("weight", "z", "p") if null else ("weight",)
    order = [site for site in partition.sites if site in pieces]
    columns = {name: np.concatenate([np.zeros(0), *(pieces[site][name].ravel() for site in order)]) for name in names}
    graph = ComputationalGraph.from_architecture(net, partition, kind="structural")
    unreached = {site: n for site, n in orphans.items() if n}
    return with_columns(graph, columns, {**attributes, **null, "units_without_input": unreached})


def _joined(stages: Sequence[SquaredStage], partition: Partition) -> list[int]:
    """Numbers of the stages whose ends both have nodes."""
    known = partition.labels
    return [k for k, one in enumerate(stages) if one.stage.site in known and one.stage.source in known]


def _squares(stages: Sequence[SquaredStage], weigh: Weigh, partition: Partition) -> dict[str, npt.NDArray[np.float64]]:
    """Site -> squared weights of the edges into it [targets, sources]."""
    weights = weigh(stages)
    some = [stages[number] for number in _joined(stages, partition)]
    return {one.stage.site: part_sums(one, weights[one.stage.site](one), partition) for one in some}


def _rotation_null(
    net: Sequential,
    stages: list[SquaredStage],
    weights: Mapping[str, TargetWeights],
    partition: Partition,
    rotated: int,
    seed: int,
) -> dict[str, Columns]:
    """Site -> weights and, if rotations are drawn, z and p of the edges into it."""
    pieces = {}
    for number in _joined(stages, partition):
        one = stages[number]
        below = rescaled_rows(net.reader(stages[number - 1].stage.site), stages[number - 1]) if number else None
        pieces[one.stage.site] = _columns(net, one, below, weights[one.stage.site], partition, rotated, [seed, number])
    return pieces


def _columns(
    net: Sequential,
    one: SquaredStage,
    below: Rows | None,
    weights: TargetWeights,
    partition: Partition,
    rotated: int,
    seed: list[int],
) -> Columns:
    """Weights and, if rotations are drawn, z and p of the edges into a site [targets, sources]."""
    squared = part_sums(one, weights(one), partition)
    columns: Columns = {"weight": np.sqrt(squared)}
    if not rotated:
        return columns
    rows = rescaled_rows(net.reader(one.stage.site), one)
    if spectra := spectra_of(rows, one, weights(one), partition):
        level = with_rows(one, rows, rows.level())
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = squared / part_sums(level, weights(level), partition)
        z, p = judged(shares, *spectra, rows.dimension, scales_of(below, one, partition))
        return columns | {"z": z, "p": p}
    draws = Draws(squared)
    for draw in range(rotated):
        turned = with_rows(one, rows, rows.turned(np.random.default_rng([*seed, draw])))
        draws.add(part_sums(turned, weights(turned), partition))
    moments = draws.moments()
    return columns | {"z": moments.z(squared), "p": moments.upper(squared)}


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


def _squared(reader: Reader) -> Reader:
    """The same map with squared weights, in float64 on the CPU."""
    moved = reader.to(torch.device("cpu"), torch.float64)
    return replace(moved, weight=moved.weight.detach() ** 2, bias=None)
