from __future__ import annotations

import numpy as np
import pytest

from compgraph.communities import adjusted_rand
from compgraph.communities.dense.description import Partitioned
from compgraph.communities.dense.graph import DenseGraph
from compgraph.communities.dense.search import DenseSearch
from tests.communities.dense.graphs import planted


def dense(weights: np.ndarray, model: str = "real-normal", directed: bool = False) -> DenseGraph:
    n = len(weights)
    mask = ~np.eye(n, dtype=bool) if directed else np.triu(np.ones((n, n), bool), 1)
    source, target = np.nonzero(mask)
    value = weights[source, target]
    if model == "real-normal":
        value = (value - value.mean()) / value.std()
    return DenseGraph.of(n, source, target, value, model, directed=directed, topology=True)


@pytest.mark.parametrize(("spread", "share"), [(0.8, 1.0), (0.6, 0.6)])
def test_every_seed_is_at_least_as_short_as_the_planted_groups(spread: float, share: float) -> None:
    weights, labels = planted(160, 6, spread, seed=0)
    search = DenseSearch(dense(weights), False)
    for found in search.runs([0, 1, 2]):
        assert adjusted_rand(found.labels, labels) >= share
        assert found.length <= search.length(labels.astype(np.int32)) + 1e-6


def test_groups_that_differ_in_spread_alone_are_recovered() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(120) * 3 // 120
    weights = rng.normal(size=(120, 120)) * np.where(labels[:, None] == labels, 1.6, 1.0)
    (found,) = DenseSearch(dense(weights), False).runs([0])
    assert adjusted_rand(found.labels, labels) > 0.95


def test_directed_groups_are_recovered() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(90) * 3 // 90
    means = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0.0]])
    weights = means[np.ix_(labels, labels)] + rng.normal(size=(90, 90))
    (found,) = DenseSearch(dense(weights, directed=True), False).runs([0])
    assert adjusted_rand(found.labels, labels) == 1


@pytest.mark.parametrize("model", ["discrete-geometric", "discrete-poisson", "discrete-binomial", "real-exponential"])
def test_groups_of_other_weights_are_recovered(model: str) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(90) * 3 // 90
    inside = labels[:, None] == labels
    weights = {
        "discrete-geometric": rng.geometric(np.where(inside, 0.2, 0.5)) - 1.0,
        "discrete-poisson": rng.poisson(np.where(inside, 4.0, 2.0)).astype(float),
        "discrete-binomial": rng.binomial(6, np.where(inside, 0.6, 0.4)).astype(float),
        "real-exponential": rng.exponential(np.where(inside, 3.0, 1.0)),
    }[model]
    (found,) = DenseSearch(dense(weights, model), False).runs([0])
    assert adjusted_rand(found.labels, labels) > 0.95


@pytest.mark.parametrize("n", [1, 2, 3, 8, 60])
def test_structureless_weights_are_one_block(n: int) -> None:
    rng = np.random.default_rng(n)
    weights = rng.normal(size=(n, n))
    source, target = np.triu_indices(n, 1)
    graph = DenseGraph.of(n, source, target, weights[source, target], "real-normal", directed=False, topology=True)
    for found in DenseSearch(graph, False).runs([0, 1]):
        assert found.labels.max() == 0


@pytest.mark.parametrize("wanted", [1, 2, 5, 40])
def test_a_given_number_of_blocks(wanted: int) -> None:
    weights, _ = planted(40, 2, 1.0, seed=0)
    (found,) = DenseSearch(dense(weights), False).runs([0], n_blocks=wanted)
    assert len(np.unique(found.labels)) == wanted


def test_moves_never_lengthen_the_description() -> None:
    weights, _ = planted(60, 4, 0.5, seed=0)
    search = DenseSearch(dense(weights), False)
    start = Partitioned.of(search.graph, (np.random.default_rng(0).integers(5, size=60)).astype(np.int32))
    assert search.description.length(search.moved(start)) < search.description.length(start)
