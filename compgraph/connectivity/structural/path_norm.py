"""The share of a chain's path norm that passes through an edge.

The squared path norm of a network sums, over all paths from an input unit to an output unit, the products of the
squared weights on the path (Neyshabur, Tomioka & Srebro 2015, "Norm-Based Capacity Control in Neural Networks", with
p = 2). Of it passes from unit i to unit j, with s as in `chains` and t_j² the sum over paths from j to the outputs,

    φ_ji = s_i² w_ji² t_j² / (sum over all paths)

The weight of an edge from part A to part B is the root of the sum of φ over their units. Squares sum to 1 over the
edges between two sites. Rescaling of hidden ReLU units changes no path, hence nothing. Poolings average squares over
their windows, as for `weight-norm`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from compgraph.connectivity.structural.chains import TargetWeights, chain_graph, check, squared_stages
from compgraph.connectivity.structural.squared_stage import SquaredStage
from compgraph.graph import ComputationalGraph
from compgraph.models.sequential import Sequential
from compgraph.partition import Partition


def compute(
    net: Sequential, partition: Partition, *, rotated: int = 20, permuted: int = 0, seed: int = 0
) -> ComputationalGraph:
    """Roots of the shares of the squared path norm.

    Parameters
    ----------
    net, partition, rotated, permuted, seed
        As for `weight-norm`. Rotations turn the weights of one layer at a time, permutations move those of all.

    Returns
    -------
    ComputationalGraph
        As of `weight-norm`; attribute `path_norm`, the root of the sum over all paths.

    Raises
    ------
    ModelError
        If the network is not sequential.
    GraphError
        If the partition is of another network; fewer than 0 draws, or a single one.
    DataError
        If the edges do not fit into memory.
    """
    check(net, partition, "path-norm", rotated, permuted)
    stages = squared_stages(net)
    norm = float(stages[-1].total.sum().sqrt())
    return chain_graph(
        net,
        partition,
        stages,
        _weigh,
        rotated=rotated,
        permuted=permuted,
        seed=seed,
        attributes={"method": "path-norm", "path_norm": norm},
    )


def _weigh(stages: Sequence[SquaredStage]) -> Mapping[str, TargetWeights]:
    """By the paths from there to the outputs."""
    found: dict[str, TargetWeights] = {}
    onward = torch.ones_like(stages[-1].total)
    for one in reversed(stages):
        found[one.stage.site] = partial(_weights, onward=onward)
        onward = one.back(onward)
    return found


def _weights(one: SquaredStage, *, onward: Tensor) -> Tensor:
    """t_j² over the sum of all paths through the stage."""
    whole = one.total @ onward
    return onward / whole if whole > 0 else torch.zeros_like(onward)
