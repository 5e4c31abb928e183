"""Small graphs with and without structure, for tests of communities, statistics and ROIs."""

from __future__ import annotations

import numpy as np

from compgraph.architecture import Architecture, Site, transformer_architecture
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition


def groups(n: int, k: int) -> np.ndarray:
    """Labels of k groups of nearly equal sizes."""
    return np.arange(n) * k // n


def undirected(n: int, k: int, separation: float, seed: int, scale: float = 1.0) -> ComputationalGraph:
    """Complete graph of independent normal weights, larger by `separation` inside groups."""
    rng = np.random.default_rng(seed)
    labels = groups(n, k)
    weights = rng.normal(size=(n, n)) + separation * (labels[:, None] == labels[None, :])
    upper = np.triu(weights, 1)
    return ComputationalGraph.from_matrix(scale * (upper + upper.T))


def positive(n: int, k: int, ratio: float, seed: int) -> ComputationalGraph:
    """Complete graph of exponential weights, `ratio` times larger inside groups."""
    rng = np.random.default_rng(seed)
    labels = groups(n, k)
    weights = rng.exponential(size=(n, n)) * np.where(labels[:, None] == labels[None, :], ratio, 1.0)
    upper = np.triu(weights, 1)
    return ComputationalGraph.from_matrix(upper + upper.T)


def transformer(n_layers: int = 3, n_heads: int = 6, parallel: bool = False) -> Architecture:
    """A small transformer; with three layers of six heads it has 23 nodes."""
    return transformer_architecture(
        "gpt2",
        n_layers=n_layers,
        n_heads=n_heads,
        d_head=2,
        d_model=4,
        d_mlp=4,
        vocabulary=5,
        parallel=parallel,
    )


def layered(
    architecture: Architecture,
    seed: int,
    ratio: float = 1.0,
    unequal: float = 0.0,
    split_qkv: bool = True,
) -> tuple[ComputationalGraph, np.ndarray]:
    """Effective graph of normal scores, and two groups inside which scores are `ratio` times larger.

    `unequal` is the deviation of the logarithms of the nodes' strengths.
    """
    partition = Partition.heads(architecture)
    empty = ComputationalGraph.from_architecture(architecture, partition, split_qkv=split_qkv)
    rng = np.random.default_rng(seed)
    labels = rng.permutation(groups(empty.n_nodes, 2))
    inside = labels[empty.source] == labels[empty.target]
    weight = rng.normal(size=empty.n_edges) * np.where(inside, ratio, 1.0)
    effects = unequal * rng.normal(size=(2, empty.n_nodes))
    weight *= np.exp(effects[0][empty.source] + effects[1][empty.target])
    graph = ComputationalGraph.from_architecture(architecture, partition, weight, split_qkv=split_qkv, kind="effective")
    return graph, labels


def chain(widths: tuple[int, ...] = (3, 4, 5, 2)) -> Architecture:
    """A chain of sites, each of which reads only the one before it."""
    names = ["input", *[f"linear.{k}" for k in range(len(widths) - 2)], "logits"]
    sites = tuple(
        Site(name, name.split(".")[0], level, width)  # type: ignore[arg-type]
        for level, (name, width) in enumerate(zip(names, widths, strict=True))
    )
    reads = {names[k + 1]: (names[k],) for k in range(len(names) - 1)}
    return Architecture("sequential", "sequential", sites, reads, {name: ("",) for name in reads})
