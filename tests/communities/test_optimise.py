from __future__ import annotations

import random

import numpy as np

from compgraph.communities.agreement import adjusted_rand, n_parts
from compgraph.communities.modularity import modularity_matrix, quality, signed_matrix
from compgraph.communities.optimise import dense_louvain, igraph_seed, leiden, multilevel, run_seeds
from tests.communities.graphs import groups, positive, undirected


def brute_force(matrix: np.ndarray) -> float:
    """The best quality of all partitions of a few nodes."""

    def partitions(n: int, used: int = 0):
        if n == 0:
            yield []
            return
        for label in range(used + 1):
            for rest in partitions(n - 1, max(used, label + 1)):
                yield [label, *rest]

    return max(quality(matrix, labels) for labels in partitions(len(matrix)))


def test_searches_find_the_best_of_all_partitions() -> None:
    weights = positive(7, 2, 3.0, seed=0).matrix()
    matrix = modularity_matrix(weights)
    best = brute_force(matrix)
    seeds = run_seeds(0, 5)
    assert max(quality(matrix, multilevel(weights, 1.0, s)) for s in seeds) > best - 1e-12
    assert max(quality(matrix, leiden(matrix, s)) for s in seeds) > best - 1e-12
    assert max(quality(matrix, dense_louvain(matrix, s)) for s in seeds) > best - 1e-12


def test_signed_search_finds_the_best_of_all_partitions() -> None:
    matrix = signed_matrix(undirected(7, 2, 1.0, seed=1).matrix())
    assert max(quality(matrix, dense_louvain(matrix, s)) for s in run_seeds(0, 5)) > brute_force(matrix) - 1e-12


def test_dense_louvain_recovers_planted_groups() -> None:
    matrix = signed_matrix(undirected(60, 3, 1.5, seed=2).matrix())
    assert adjusted_rand(dense_louvain(matrix, 0), groups(60, 3)) == 1


def test_dense_louvain_leaves_a_matrix_without_gains_alone() -> None:
    assert n_parts(dense_louvain(np.zeros((5, 5)), 0)) == 5


def test_run_seeds_do_not_depend_on_the_number_of_runs() -> None:
    assert run_seeds(3, 2) == run_seeds(3, 5)[:2]
    assert len(set(run_seeds(3, 5) + run_seeds(4, 5))) == 10


def test_the_random_numbers_of_igraph_are_handed_back() -> None:
    random.seed(5)
    expected = random.Random(5).random()
    with igraph_seed(1):
        pass
    assert random.random() == expected
