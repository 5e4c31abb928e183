from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from compgraph.graph import ComputationalGraph
from compgraph.statistics.nulls import NULLS, strength, weights
from compgraph.statistics.view import View, view
from tests.communities.graphs import layered, transformer, undirected


def directed() -> View:
    return view(layered(transformer(), seed=0, unequal=1.0)[0])


def signed() -> View:
    return view(undirected(20, 2, 0.5, seed=1))


def sparse() -> View:
    graph, _ = layered(transformer(), seed=2, unequal=0.5)
    return view(graph.subgraph(np.random.default_rng(0).random(graph.n_edges) < 0.3))


def sample(name: str, seen: View, seed: int = 0) -> View:
    return NULLS[name](seen)(np.random.default_rng(seed))


@pytest.mark.parametrize("name", NULLS)
@pytest.mark.parametrize("make", [directed, signed, sparse])
def test_nulls_keep_the_pairs_and_move_the_weights(name: str, make) -> None:
    seen = make()
    drawn = sample(name, seen)
    assert np.array_equal(drawn.magnitude > 0, seen.magnitude > 0)
    assert drawn.kind == seen.kind
    if seen.kind == "undirected":
        assert np.array_equal(drawn.signed, drawn.signed.T)
    source, target = seen.ends
    before, after = seen.magnitude[source, target], drawn.magnitude[source, target]
    assert stats.spearmanr(before, after).statistic < 0.9
    assert not np.allclose(before, after)


@pytest.mark.parametrize("make", [directed, signed, sparse])
def test_weights_keeps_the_set_of_weights_with_their_signs(make) -> None:
    seen = make()
    drawn = sample("weights", seen)
    source, target = seen.ends
    signs = np.where(seen.signed[source, target] < 0, -1, 1)
    before = np.sort(signs * seen.magnitude[source, target])
    assert np.array_equal(np.sort(drawn.signed[source, target]), before)


@pytest.mark.parametrize("make", [directed, signed, sparse])
def test_strength_keeps_all_strengths(make) -> None:
    seen = make()
    drawn = sample("strength", seen)
    for axis in (0, 1):
        expected = seen.magnitude.sum(axis=axis)
        assert drawn.magnitude.sum(axis=axis) == pytest.approx(expected, abs=1e-9 * seen.total)
    if seen.kind != "undirected":
        assert drawn.expected is seen.expected


@pytest.mark.parametrize("make", [directed, signed])
def test_strength_nearly_keeps_the_distribution_of_weights(make) -> None:
    seen = make()
    source, target = seen.ends
    before = np.log(seen.magnitude[source, target])
    distances = []
    for seed in range(5):
        after = np.log(sample("strength", seen, seed).magnitude[source, target])
        distances.append(stats.ks_2samp(before, after).statistic)
    assert np.mean(distances) < 0.08


def test_weights_does_not_keep_strengths() -> None:
    seen = directed()
    before, after = (graph.magnitude.sum(axis=0)[1:] for graph in (seen, sample("weights", seen)))
    assert np.ptp(np.log(after / before)) > 1


def test_pairs_that_strengths_determine_keep_their_weight() -> None:
    seen = directed()
    drawn = sample("strength", seen)
    # The heads of the first layer read the embedding alone.
    assert drawn.magnitude[0, 1:7] == pytest.approx(seen.magnitude[0, 1:7], rel=1e-6)


def test_samples_depend_on_the_generator_alone() -> None:
    seen = signed()
    for make in (weights, strength):
        draw = make(seen)
        first, other, again = (draw(np.random.default_rng(seed)).signed for seed in (1, 2, 1))
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)


def test_signs_travel_with_the_residuals() -> None:
    seen = signed()
    drawn = sample("strength", seen)
    source, target = seen.ends
    assert (drawn.signed[source, target] < 0).sum() == (seen.signed[source, target] < 0).sum()


def test_a_graph_of_one_edge_is_its_only_sample() -> None:
    graph = ComputationalGraph(["a", "b"], [0], [1], None, [-2.0], directed=False)
    for name in NULLS:
        assert sample(name, view(graph)).signed.tolist() == [[0, -2], [-2, 0]]
