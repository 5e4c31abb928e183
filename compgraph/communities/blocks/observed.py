"""What a block model explains, as graph-tool sees it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compgraph.communities.pairs import Floats, Integers


@dataclass(frozen=True)
class Covariate:
    """One number on every pair that the model explains.

    Attributes
    ----------
    values
        float64 [P].
    model
        graph-tool's name of their distribution: `real-normal`, `discrete-binomial`, ….
    """

    values: Floats
    model: str


@dataclass(frozen=True)
class Observed:
    """A graph with all that is explained about it.

    Attributes
    ----------
    n_nodes
        Number of nodes.
    source, target
        Pairs with an edge, each once in each layer, int64 [P].
    covariates
        What is known of each pair; empty where only presence counts.
    directed
        Whether pairs are ordered.
    topology
        Whether the presence of edges is explained too.
    levels
        Level of each node, int [n]: one of the partitions that searches start from.
    layer
        Layer of each pair, int64 [P], from 0; None for one layer.
    kinds
        Nodes of different kinds are never in one block, int64 [n], from 0; None where all may be.
    """

    n_nodes: int
    source: Integers
    target: Integers
    covariates: tuple[Covariate, ...]
    directed: bool
    topology: bool
    levels: Integers
    layer: Integers | None = None
    kinds: Integers | None = None

    @property
    def n_layers(self) -> int:
        """Number of layers that have a pair."""
        return 1 if self.layer is None else len(np.unique(self.layer))

    @property
    def leading(self) -> Floats | None:
        """The covariate that starts are made of, or None where only presence counts."""
        return self.covariates[0].values if self.covariates else None
