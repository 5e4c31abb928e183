from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from compgraph.graph import ComputationalGraph
from compgraph.statistics.nulls import noise
from compgraph.statistics.nulls import weights as nulls
from compgraph.statistics.nulls.noise import fitted, power, scaled
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


def lognormal() -> View:
    """A complete layered graph of lognormal weights."""
    rng = np.random.default_rng(5)
    return scores().with_weights(rng.lognormal(sigma=1.5, size=scores().n_edges))


def sums_at_nodes(seen: View, values: np.ndarray) -> np.ndarray:
    """Sums over the edges of each source and each target; undirected: of each node."""
    ends = [seen.source, seen.target]
    sums = [np.bincount(end, values, minlength=seen.n_nodes) for end in ends]
    return sums[0] + sums[1] if seen.kind == "undirected" else np.concatenate(sums)


def test_effects_keeps_geometric_means_under_lognormal_noise() -> None:
    seen = lognormal()
    assert power(fitted(seen)) == 0
    drawn = sample("effects", seen)
    before, after = (sums_at_nodes(seen, np.log(one.magnitude)) for one in (seen, drawn))
    assert after == pytest.approx(before, abs=1e-8)


@pytest.mark.parametrize("make", GRAPHS)
def test_effects_keeps_effects(make) -> None:
    """The effects of a sample, found anew under the noise of the graph, are those of the graph."""
    seen = make()
    shape = power(fitted(seen))
    assert shape > 0.05
    drawn = sample("effects", seen)
    one = np.ones(seen.n_edges)
    out, into = (np.bincount(end, minlength=seen.n_nodes).astype(float) for end in (seen.source, seen.target))
    sums = (out + into, out + into) if seen.kind == "undirected" else (out, into)
    ratios = [scaled(seen, graph.magnitude**shape, *sums) for graph in (seen, drawn)]
    for ratio in ratios:
        assert sums_at_nodes(seen, ratio) == pytest.approx(sums_at_nodes(seen, one), rel=1e-7)
    expected, found = (np.log(g.magnitude**shape / r) for g, r in zip((seen, drawn), ratios, strict=True))
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_power_of_the_noise_is_read_off_the_graph() -> None:
    rng = np.random.default_rng(0)
    ends = np.triu_indices(150, 1)
    effect = np.exp(rng.normal(size=150))
    for drawn, expected in ((rng.exponential(size=11175), 1), (np.abs(rng.normal(size=11175)), 2)):
        weights = drawn * effect[ends[0]] * effect[ends[1]]
        names = [str(k) for k in range(150)]
        graph = ComputationalGraph(names, *ends, None, weights, directed=False)
        assert power(fitted(view(graph))) == pytest.approx(expected, rel=0.15)


def test_noise_keeps_to_edges_with_as_many_channels() -> None:
    seen = scores()
    assert set(seen.channels.tolist()) == {1, 3}
    fit = fitted(seen)
    order = nulls._permuted(nulls._free(seen, fit.informative), seen, np.random.default_rng(0))
    assert np.array_equal(seen.channels[order], seen.channels)
    assert (order != np.arange(seen.n_edges)).mean() > 0.5
    assert np.array_equal(order[~fit.informative], np.flatnonzero(~fit.informative))


def test_strength_refuses_noise_with_a_long_tail() -> None:
    with pytest.raises(UndefinedError, match=r"too long a tail.*use effects"):
        nulls.strength(lognormal())


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


@pytest.mark.parametrize("make", GRAPHS)
@pytest.mark.parametrize("name", ["effects", "strength"])
def test_large_graphs_keep_the_same_without_matrices(name: str, make, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = make()
    for module in (nulls, noise):
        monkeypatch.setattr(module, "DENSE_NODES", 5)
    monkeypatch.setattr(View, "dense", None)
    drawn = sample(name, seen)
    assert stats.spearmanr(seen.magnitude, drawn.magnitude).statistic < 0.9
    monkeypatch.undo()
    if name == "strength":
        assert drawn.out_strength == pytest.approx(seen.out_strength, abs=1e-9 * seen.total)
        assert drawn.in_strength == pytest.approx(seen.in_strength, abs=1e-9 * seen.total)
    # Edges that effects determine stay.
    alone = ~fitted(seen).informative
    assert drawn.magnitude[alone] == pytest.approx(seen.magnitude[alone], rel=1e-6)


def test_lognormal_noise_of_a_large_graph_is_centred_without_a_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = lognormal()
    monkeypatch.setattr(nulls, "DENSE_NODES", 5)
    drawn = sample("effects", seen)
    before, after = (sums_at_nodes(seen, np.log(one.magnitude)) for one in (seen, drawn))
    assert after == pytest.approx(before, abs=1e-6)
