from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from scipy import stats

from compgraph.graph import ComputationalGraph
from compgraph.statistics.measures import concentration
from compgraph.statistics.view import UndefinedError, view
from tests.statistics.graphs import scores, sparse, thinned


def mean_difference(values: np.ndarray) -> float:
    return float(np.abs(values[:, None] - values).mean() / (2 * values.mean()))


def test_gini_is_half_the_relative_mean_difference_with_the_allowed_zeros() -> None:
    seen, matrix = view(sparse()), sparse().matrix()
    assert concentration.gini(seen, 0) == pytest.approx(mean_difference(matrix[np.triu_indices(18, 1)]), abs=1e-12)
    assert concentration.strength_gini(seen, 0) == pytest.approx(mean_difference(matrix.sum(axis=0)), abs=1e-12)
    seen = thinned(0.3)
    values = seen.dense()[seen.allowed.matrix]
    assert (values == 0).mean() > 0.5
    assert concentration.gini(seen, 0) == pytest.approx(mean_difference(values), abs=1e-12)


def test_density_counts_allowed_pairs() -> None:
    assert concentration.density(view(sparse()), 0) == pytest.approx(nx.density(sparse().to_networkx()), abs=1e-12)
    assert concentration.density(scores(), 0) == 1.0


def star_strengths(strengths: np.ndarray) -> ComputationalGraph:
    """Pairs of nodes whose two ends have given strengths."""
    n = len(strengths)
    return ComputationalGraph(
        [f"n{k}" for k in range(2 * n)], np.arange(n), n + np.arange(n), None, strengths, directed=False
    )


def test_tail_is_the_ratio_of_two_best_fits() -> None:
    values = np.random.default_rng(0).lognormal(size=40)
    doubled = np.repeat(values, 2)
    least = np.median(doubled)
    upper = doubled[doubled > least]
    pareto = stats.pareto(stats.pareto.fit(upper, floc=0, fscale=least)[0], scale=least)
    exponential = stats.expon(least, upper.mean() - least)
    ratio = pareto.logpdf(upper) - exponential.logpdf(upper)
    expected = ratio.sum() / (ratio.std() * np.sqrt(len(upper)))
    assert concentration.strength_tail(view(star_strengths(values)), 0) == pytest.approx(expected, rel=1e-9)


def test_tail_tells_pareto_from_exponential_and_from_uniform() -> None:
    rng = np.random.default_rng(1)
    heavy = [concentration.strength_tail(view(star_strengths(rng.pareto(1.2, 300) + 0.01)), 0) for _ in range(5)]
    light = [concentration.strength_tail(view(star_strengths(rng.random(300) + 0.01)), 0) for _ in range(5)]
    assert min(heavy) > 1.96
    assert max(light) < -1.96


def test_tail_of_few_or_equal_strengths_is_undefined() -> None:
    with pytest.raises(UndefinedError, match="fewer than 10"):
        concentration.strength_tail(view(star_strengths(np.arange(1.0, 6.0))), 0)
    with pytest.raises(UndefinedError, match="fewer than 10"):
        concentration.strength_tail(view(star_strengths(np.ones(40))), 0)
