"""Random scores: the null that every method must beat.

One independent draw per edge, whatever the network and the data say; a circuit of the n best edges is then a
uniformly random one. The graph has no standard errors: there is nothing to average. No pass at all.
"""

from __future__ import annotations

import numpy as np

from compgraph.architectural import architectural_edges
from compgraph.connectivity.effective.setting import Setting
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph

DISTRIBUTIONS = ("normal", "uniform")


def compute(setting: Setting, *, distribution: str = "normal") -> ComputationalGraph:
    """See `compgraph.effective_connectivity`; data, metric and baseline play no part.

    Parameters
    ----------
    distribution
        `normal` (mean 0, standard deviation 1: signs are random too) or `uniform` (between 0 and 1).

    Raises
    ------
    GraphError
        Another distribution.
    """
    if distribution not in DISTRIBUTIONS:
        raise GraphError(f"random: distribution {distribution!r} is not known; valid are {', '.join(DISTRIBUTIONS)}")
    net, partition, split_qkv = setting.net, setting.partition, setting.split_qkv
    rng = np.random.default_rng(setting.seed)
    n_edges = len(architectural_edges(net, partition, split_qkv)[0])
    weight = rng.standard_normal(n_edges) if distribution == "normal" else rng.random(n_edges)
    return ComputationalGraph.from_architecture(
        net,
        partition,
        weight,
        split_qkv=split_qkv,
        kind="effective",
        attributes={"method": "random", "distribution": distribution, "split_qkv": split_qkv, "seed": setting.seed},
    )
