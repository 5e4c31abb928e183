"""Stable signs: the interval, the order, the fill; replicates."""

from __future__ import annotations

import numpy as np
import pytest

from compgraph.circuits.stable import stable_sign, summarise_replicates
from compgraph.errors import GraphError
from tests.circuits.graphs import scored

SCORES = np.array([5.0, -4.0, 3.0, -2.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
STDERR = np.array([3.0, 1.0, 2.0, 0.5, 0.1, 0.5, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0])


def kept(graph, n, **options):
    return np.flatnonzero(stable_sign(graph, n, **options).edges).tolist()


def test_certain_edges_first_then_the_strongest_of_the_others():
    graph = scored(SCORES, columns={"stderr": STDERR})
    # |score| > 1.96 stderr: edges 1 (4 > 1.96), 3 (2 > 0.98), 4 (1 > 0.196); not 0 (5 < 5.88), 2 (3 < 3.92), 5
    assert kept(graph, 2) == [1, 3]
    assert kept(graph, 3) == [1, 3, 4]
    assert kept(graph, 4) == [0, 1, 3, 4]
    assert kept(graph, 5) == [0, 1, 2, 3, 4]
    assert kept(graph, 4, fill=False) == [1, 3, 4]
    assert kept(graph, 12) == list(range(12))
    assert stable_sign(graph, 4).record == {"certain": 3, "certain_kept": 3}
    assert stable_sign(graph, 2).record == {"certain": 3, "certain_kept": 2}


def test_level_sets_the_width():
    graph = scored(SCORES, columns={"stderr": STDERR})
    assert kept(graph, 12, level=0.6, fill=False) == [0, 1, 2, 3, 4, 5]  # z = 0.8416
    assert kept(graph, 12, level=0.9999, fill=False) == [1, 3, 4]  # z = 3.89, and edge 1 has 4
    assert kept(graph, 12, level=0.99999, fill=False) == [4]  # z = 4.42
    with pytest.raises(GraphError, match=r"level 1\.0 is out of range"):
        stable_sign(graph, 1, level=1.0)


def test_replicates_give_mean_spread_and_agreement():
    rng = np.random.default_rng(0)
    scores = rng.normal(0.5, 1, size=(7, 12))
    graph = summarise_replicates([scored(row) for row in scores])
    np.testing.assert_allclose(graph.weight, scores.mean(0))
    np.testing.assert_allclose(graph.columns["stderr"], scores.std(0, ddof=1) * (8 / 7) ** 0.5)
    share = [np.mean(np.sign(scores[:, e]) == np.sign(scores[:, e].mean())) for e in range(12)]
    np.testing.assert_allclose(graph.columns["agreement"], share)
    assert graph.attributes["n_replicates"] == 7


def test_the_interval_covers_the_sampling_error_not_the_monte_carlo_error():
    """Scores of mean 0 must rarely count as certain; under `mean ± 1.96 sd / sqrt(R)` most would."""
    rng = np.random.default_rng(1)
    wrong, reference = [], []
    for _ in range(12):
        data = rng.normal(size=(50, 12))  # 50 examples of 12 edges without any effect
        scores = np.stack([data[rng.integers(50, size=50)].mean(0) for _ in range(40)])
        graph = summarise_replicates([scored(row) for row in scores])
        wrong.append(stable_sign(graph, 12).record["certain"])
        narrow = scored(graph.weight, columns={"stderr": scores.std(0, ddof=1) / 40**0.5})
        reference.append(stable_sign(narrow, 12).record["certain"])
    assert np.mean(wrong) / 12 < 0.1
    assert np.mean(reference) / 12 > 0.5


def test_replicates_must_fit():
    with pytest.raises(GraphError, match="at least two replicates, not 1"):
        summarise_replicates([scored()])
    with pytest.raises(GraphError, match="graph 1 has 46 edges, graph 0 has 12"):
        summarise_replicates([scored(), scored(n_heads=2, mlp=True)])
