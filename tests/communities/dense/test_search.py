from __future__ import annotations

import numpy as np
import pytest

from compgraph.communities import adjusted_rand
from compgraph.communities.dense import annealing
from compgraph.communities.dense.description import Partitioned
from compgraph.communities.dense.graph import DenseGraph
from compgraph.communities.dense.moves import Moves
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


def test_annealed_moves_are_at_least_as_good_from_bad_starts() -> None:
    gains = []
    for seed in range(4):
        weights, _ = planted(200, 4, 0.25, seed)
        greedy, annealed = (DenseSearch(dense(weights), False, moves=moves) for moves in ("greedy", "annealed"))
        drawn = np.random.default_rng(seed).integers(4, size=200).astype(np.int32)
        for start in (drawn, np.zeros(200, np.int32)):
            found = annealed.polished(start, seed)
            gains.append(greedy.polished(start).length - found.length)
            assert np.array_equal(found.labels, annealed.polished(start, seed).labels)
    assert min(gains) > -1e-6 and max(gains) > 1


def test_annealing_finds_planted_groups_from_random_labels() -> None:
    weights, labels = planted(120, 3, 1.0, seed=3)
    search = DenseSearch(dense(weights), False)
    start = Partitioned.of(search.graph, np.random.default_rng(3).integers(3, size=120).astype(np.int32))
    assert adjusted_rand(search.moved(start, vacate=False).labels, labels) < 0.9  # moves that gain get stuck
    found = annealing.annealed(search.description, start, seed=0, vacate=False)
    assert adjusted_rand(found.labels, labels) == 1


def test_a_heat_bath_draws_by_the_weights() -> None:
    weights, _ = planted(30, 3, 0.3, seed=1)
    search = DenseSearch(dense(weights), False)
    partition = Partitioned.of(search.graph, np.arange(30, dtype=np.int32) % 3)
    rng, node, temperature = np.random.default_rng(0), 4, 2.0
    expected = np.empty(3)
    for block in range(3):
        labels = partition.labels.copy()
        labels[node] = block
        expected[block] = -search.length(labels) / temperature
    expected = np.exp(expected - expected.max())
    draws = Moves(search.description, partition).drawn(np.full(4000, node), temperature, rng)
    np.testing.assert_allclose(np.bincount(draws, minlength=3) / 4000, expected / expected.sum(), atol=0.03)
