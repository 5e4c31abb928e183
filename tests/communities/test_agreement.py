from __future__ import annotations

import igraph
import numpy as np
import pytest
from scipy.stats import hypergeom
from sklearn import metrics

from compgraph.communities import (
    adjusted_mutual_information,
    adjusted_rand,
    compare_partitions,
    element_centric,
    variation_of_information,
)
from compgraph.communities.agreement import canonical, mean_agreement, n_parts


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    first = rng.integers(4, size=50)
    return first, np.where(rng.random(50) < 0.5, first, rng.integers(5, size=50))


def test_adjusted_rand_equals_scikit_learn(pair: tuple[np.ndarray, np.ndarray]) -> None:
    assert adjusted_rand(*pair) == pytest.approx(metrics.adjusted_rand_score(*pair), abs=1e-12)


def test_variation_of_information_equals_igraph(pair: tuple[np.ndarray, np.ndarray]) -> None:
    expected = igraph.compare_communities(pair[0].tolist(), pair[1].tolist(), "vi")
    assert variation_of_information(*pair) == pytest.approx(expected, abs=1e-12)


def test_adjusted_mutual_information_is_its_formula_written_out(pair: tuple[np.ndarray, np.ndarray]) -> None:
    table = metrics.cluster.contingency_matrix(*pair).astype(float)
    n, rows, columns = len(pair[0]), table.sum(axis=1), table.sum(axis=0)

    def entropy(counts: np.ndarray) -> float:
        share = counts[counts > 0] / n
        return float(-(share * np.log(share)).sum())

    mutual = entropy(rows) + entropy(columns) - entropy(table.ravel())
    expected = 0.0  # over relabelled nodes: each cell is hypergeometric
    for a in rows:
        for b in columns:
            k = np.arange(1, int(min(a, b)) + 1)
            expected += (hypergeom(n, int(a), int(b)).pmf(k) * k / n * np.log(n * k / (a * b))).sum()
    value = (mutual - expected) / ((entropy(rows) + entropy(columns)) / 2 - expected)
    assert adjusted_mutual_information(*pair) == pytest.approx(value, abs=1e-9)


def test_mutual_information_is_one_for_equal_and_about_zero_for_independent_partitions() -> None:
    rng = np.random.default_rng(1)
    first, other = rng.integers(4, size=400), rng.integers(4, size=400)
    assert adjusted_mutual_information(first, (first + 1) % 4) == pytest.approx(1)
    assert abs(adjusted_mutual_information(first, other)) < 0.03


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([0, 0, 0], [5, 5, 5], 1.0),
        ([0, 1, 2], [2, 0, 1], 1.0),
        ([0, 0, 0, 0], [0, 0, 1, 1], 0.0),
        ([], [], 1.0),
    ],
)
def test_adjusted_rand_of_degenerate_partitions(first: list, second: list, expected: float) -> None:
    assert adjusted_rand(first, second) == expected


def test_nodes_without_a_part_are_left_out() -> None:
    assert adjusted_rand([0, 0, 1, 1, -1, 0], [1, 1, 0, 0, 0, -1]) == 1.0
    assert variation_of_information([0, 1, -1], [0, 1, 1]) == 0.0


def test_partitions_of_different_nodes_are_refused() -> None:
    with pytest.raises(ValueError, match="same nodes"):
        adjusted_rand([0, 1], [0, 1, 2])


def test_canonical_numbers_parts_by_first_node() -> None:
    labels = canonical([7, -1, 3, 7, 0])
    assert labels.tolist() == [0, -1, 1, 0, 2]
    assert labels.dtype == np.int32
    assert n_parts(labels) == 3


def test_mean_agreement_needs_two_partitions() -> None:
    assert np.isnan(mean_agreement([[0, 1]]))
    assert mean_agreement([[0, 0, 1], [1, 1, 0], [0, 0, 1]]) == 1.0


def test_element_centric_similarity_is_that_of_walks_with_restarts(pair: tuple[np.ndarray, np.ndarray]) -> None:
    for alpha in (0.5, 0.9):
        affinity = []
        for labels in pair:
            together = (labels[:, None] == labels).astype(float)
            step = together / together.sum(axis=1, keepdims=True)
            restart = (1 - alpha) * np.eye(50)
            affinity.append(restart @ np.linalg.inv(np.eye(50) - alpha * step))
        expected = 1 - np.abs(affinity[0] - affinity[1]).sum(axis=1).mean() / (2 * alpha)
        assert element_centric(*pair) == pytest.approx(expected, abs=1e-9)
    assert element_centric(pair[0], pair[0]) == 1
    assert element_centric([], []) == 1


def test_agreement_is_compared_with_relabelled_nodes(pair: tuple[np.ndarray, np.ndarray]) -> None:
    table = compare_partitions(*pair, n_permutations=99).set_index("measure")
    assert (table["p"] == 0.01).all()
    assert table["z"]["adjusted_rand"] > 3 > -3 > table["z"]["variation_of_information"]
    rng = np.random.default_rng(3)
    p = [
        compare_partitions(rng.integers(3, size=20), rng.integers(3, size=20), n_permutations=19)["p"].to_numpy()
        for _ in range(30)
    ]
    assert (np.mean(np.array(p) <= 0.05, axis=0) <= 0.2).all()


def test_depth_that_both_follow_is_no_agreement() -> None:
    rng = np.random.default_rng(0)
    level = np.repeat(np.arange(4), 15)
    first, second = (np.where(rng.random(60) < 0.7, level // 2, rng.integers(2, size=60)) for _ in range(2))
    free, within = (compare_partitions(first, second, within=w, n_permutations=99) for w in (None, level))
    assert (free["p"] == 0.01).all()
    assert (within["p"] > 0.05).all()
    assert within["null_mean"][0] > 0.1
