from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from compgraph.graph import ComputationalGraph
from compgraph.statistics.nulls import weights as nulls
from compgraph.statistics.nulls.sampling import edge_weights
from compgraph.statistics.view import UndefinedError, View, view
from tests.statistics.graphs import correlations, cyclic, scores, thinned

ALL = {"weights": nulls.weights, "effects": nulls.effects, "strength": nulls.strength}
GRAPHS = [scores, correlations, lambda: thinned(0.4, seed=2), lambda: view(cyclic())]


def sample(name: str, seen: View, seed: int = 0) -> View:
    return ALL[name](seen)(np.random.default_rng(seed))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("make", GRAPHS)
def test_the_pairs_stay_and_the_weights_move(name: str, make) -> None:
    seen = make()
    drawn = sample(name, seen)
    assert np.array_equal(drawn.source, seen.source)
    assert np.array_equal(drawn.target, seen.target)
    assert drawn.kind == seen.kind
    assert stats.spearmanr(seen.magnitude, drawn.magnitude).statistic < 0.9


@pytest.mark.parametrize("make", GRAPHS)
def test_weights_keeps_the_set_of_weights_with_their_signs(make) -> None:
    seen = make()
    assert np.array_equal(np.sort(sample("weights", seen).signed), np.sort(edge_weights(seen)))


@pytest.mark.parametrize("make", GRAPHS)
def test_strength_keeps_all_strengths(make) -> None:
    seen = make()
    drawn = sample("strength", seen)
    assert drawn.out_strength == pytest.approx(seen.out_strength, abs=1e-9 * seen.total)
    assert drawn.in_strength == pytest.approx(seen.in_strength, abs=1e-9 * seen.total)
    if seen.kind != "undirected":
        assert drawn.expected is seen.expected


@pytest.mark.parametrize("make", GRAPHS)
def test_effects_keeps_the_geometric_mean_of_every_node(make) -> None:
    seen = make()
    drawn = sample("effects", seen)
    before, after = (np.log(one.magnitude) for one in (seen, drawn))
    if seen.kind == "undirected":
        ends = [np.concatenate([seen.source, seen.target])]
        before, after = np.tile(before, 2), np.tile(after, 2)
    else:
        ends = [seen.source, seen.target]
    for end in ends:
        assert np.bincount(end, after) == pytest.approx(np.bincount(end, before), abs=1e-8)


def test_residuals_keep_to_edges_with_as_many_channels() -> None:
    seen = scores()
    assert set(seen.channels.tolist()) == {1, 3}
    fit, free = nulls._fitted(seen, "effects")
    order = nulls._permuted(free, seen, np.random.default_rng(0))
    assert np.array_equal(seen.channels[order], seen.channels)
    assert (order != np.arange(seen.n_edges)).mean() > 0.5
    assert np.array_equal(order[~fit.informative], np.flatnonzero(~fit.informative))


@pytest.mark.parametrize("make", [scores, correlations])
def test_strength_nearly_keeps_the_distribution_of_weights(make) -> None:
    seen = make()
    distances = [
        stats.ks_2samp(np.log(seen.magnitude), np.log(sample("strength", seen, seed).magnitude)).statistic
        for seed in range(5)
    ]
    assert np.mean(distances) < 0.08


def test_weights_does_not_keep_strengths() -> None:
    seen = scores()
    assert np.ptp(np.log(sample("weights", seen).in_strength[1:] / seen.in_strength[1:])) > 1


def test_pairs_that_strengths_determine_keep_their_weight() -> None:
    seen = scores()
    drawn = sample("strength", seen)
    # The heads of the first layer read the embedding alone.
    assert drawn.dense()[0, 1:7] == pytest.approx(seen.dense()[0, 1:7], rel=1e-6)


def test_samples_depend_on_the_generator_alone() -> None:
    seen = correlations()
    for make in ALL.values():
        draw = make(seen)
        first, other, again = (draw(np.random.default_rng(seed)).signed for seed in (1, 2, 1))
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)


def test_signs_travel_with_the_residuals() -> None:
    seen = correlations()
    assert (sample("strength", seen).signed < 0).sum() == (seen.signed < 0).sum()


def test_a_graph_of_one_edge_is_its_only_sample() -> None:
    graph = ComputationalGraph(["a", "b"], [0], [1], None, [-2.0], directed=False)
    for name in ALL:
        assert sample(name, view(graph)).signed == pytest.approx([-2.0])


def test_strength_refuses_a_large_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nulls, "DENSE_NODES", 5)
    with pytest.raises(UndefinedError, match="use weights or swap"):
        nulls.strength(scores())
