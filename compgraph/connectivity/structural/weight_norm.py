"""Norms of the weights between the parts of neighbouring sites of a chain (CNN, MLP), free of scale.

In the scales s of `chains` the share of unit i in unit j, w_ji² s_i² / s_j², is the same for all networks that differ
by a rescaling of hidden units; over i it sums to 1. (It is the share of j's variance that comes through i if the
input were white noise and the units linear.) The weight of the edge from part A to part B is

    sqrt( mean over j in B of sum over i in A of w_ji² s_i² / s_j² )

the Frobenius norm of the block of rescaled weights over the root of the number of target units: between 0 and 1, with
squares that sum to 1 over the parts of the source site. Between channels it is the norm of the kernels of the pair.
With other activations than ReLU the numbers are defined, but the symmetry is not there to be respected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    """Scale-free weight norms between the parts of neighbouring sites.

    Parameters
    ----------
    net
        A sequential network.
    partition
        The nodes. Sites that it leaves out have no nodes, and carry the scales on.
    rotated
        Rotations drawn where the null has no exact moments (`chain_null`): parts that divide channels of a convolution;
        0 for no null.
    permuted
        Permutations of every layer's weights, which then are the null (`chain_permutation`); 0 for rotations.
    seed
        Of these draws.

    Returns
    -------
    ComputationalGraph
        Directed, kind `structural`, edges in the canonical order; weights in [0, 1]. With a null the columns `z` and
        `p` of the squared weight, and `p_adjusted`; NaN where it cannot vary. Attributes: `method`, `null`, and
        `units_without_input` (site -> number of units with no weight into them, whose shares are 0).

    Raises
    ------
    ModelError
        If the network is not sequential.
    GraphError
        If the partition is of another network; fewer than 0 draws, or a single one.
    DataError
        If the edges do not fit into memory.
    """
    check(net, partition, "weight-norm", rotated, permuted)

    def weights(one: SquaredStage) -> Tensor:
        """1 / s_j² over the number of units of j's part."""
        label = torch.from_numpy(partition.labels[one.stage.site].astype("int64"))
        sizes = torch.from_numpy(partition.part_sizes(one.stage.site)).clamp(min=1)
        total = one.total
        return torch.where(total > 0, 1 / total, 0.0) / sizes[label.clamp(min=0)]

    def weigh(stages: Sequence[SquaredStage]) -> Mapping[str, TargetWeights]:
        return {one.stage.site: weights for one in stages}

    return chain_graph(
        net,
        partition,
        squared_stages(net),
        weigh,
        rotated=rotated,
        permuted=permuted,
        seed=seed,
        attributes={"method": "weight-norm"},
    )
