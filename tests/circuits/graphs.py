"""Small scored graphs for the tests of selections."""

from __future__ import annotations

from typing import Any

import numpy as np

from compgraph.architecture import Architecture, transformer_architecture
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition


def architecture(n_layers: int = 2, n_heads: int = 1, mlp: bool = False, parallel: bool = False) -> Architecture:
    return transformer_architecture(
        "test",
        n_layers=n_layers,
        n_heads=n_heads,
        d_head=2,
        d_model=4,
        d_mlp=3,
        vocabulary=5,
        parallel=parallel,
        mlp=mlp,
    )


def scored(weight: Any = None, seed: int = 0, columns: Any = None, **shape: Any) -> ComputationalGraph:
    """The architectural graph over heads with the given, or random, scores."""
    net = architecture(**shape)
    partition = Partition.heads(net)
    n = ComputationalGraph.from_architecture(net, partition).n_edges
    if weight is None:
        weight = np.random.default_rng(seed).normal(size=n)
    return ComputationalGraph.from_architecture(
        net, partition, np.asarray(weight, dtype=float), kind="effective", columns=columns
    )


def names(graph: ComputationalGraph) -> set[tuple[str, str, str]]:
    """Edges as (source, target, channel)."""
    return {
        (graph.node_names[s], graph.node_names[t], graph.channels[c])
        for s, t, c in zip(graph.source, graph.target, graph.channel, strict=True)
    }
