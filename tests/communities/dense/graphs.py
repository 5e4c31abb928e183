"""Graphs of every kind that the closed form serves, and partitions of them."""

from __future__ import annotations

import numpy as np

from compgraph.communities.dense.graph import DenseGraph

MODELS = (None, "real-normal", "real-exponential", "discrete-geometric", "discrete-poisson", "discrete-binomial")


def random_graph(n: int, density: float, directed: bool, model: str | None, topology: bool, seed: int) -> DenseGraph:
    """Independent edges, independent values of the model's kind."""
    rng = np.random.default_rng(seed)
    mask = rng.random((n, n)) < density
    np.fill_diagonal(mask, False)
    source, target = np.nonzero(mask if directed else np.triu(mask))
    draws = {
        "real-normal": rng.normal,
        "real-exponential": rng.exponential,
        "discrete-geometric": lambda size: rng.geometric(0.3, size) - 1.0,
        "discrete-poisson": lambda size: rng.poisson(3, size).astype(float),
        "discrete-binomial": lambda size: rng.binomial(6, 0.4, size).astype(float),
    }
    value = None if model is None else draws[model](size=len(source))
    return DenseGraph.of(n, source, target, value, model, directed=directed, topology=topology)


def random_labels(n: int, k: int, seed: int) -> np.ndarray:
    """A partition into at most k blocks, all in use."""
    labels = np.random.default_rng(seed).integers(k, size=n)
    return np.unique(labels, return_inverse=True)[1].astype(np.int32)


def planted(n: int, k: int, spread: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric weights whose mean depends on the two groups, and the groups."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) * k // n
    means = np.triu(rng.normal(0, spread, size=(k, k)))
    means = means + np.triu(means, 1).T
    weights = np.triu(means[np.ix_(labels, labels)] + rng.normal(size=(n, n)), 1)
    return weights + weights.T, labels
