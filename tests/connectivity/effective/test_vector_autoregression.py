"""Regressions from moments against least squares written out row by row, and simulated series with known causes."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
from scipy import stats

from compgraph.connectivity.effective.influence import SeriesOptions, estimate
from compgraph.connectivity.effective.lagged_moments import moments_of
from compgraph.connectivity.effective.surrogates import Surrogates
from compgraph.connectivity.effective.time_series import Trials
from compgraph.connectivity.effective.vector_autoregression import Readers, choose_penalty, fit_all
from compgraph.errors import DataError
from compgraph.multiple_testing import benjamini_hochberg

LAYERS = [[0, 1], [2, 3], [4], [5]]
NAMES = [f"node.{k}" for k in range(6)]


def readers(layers=LAYERS):
    return [
        Readers(np.array(layer), np.array(list(chain.from_iterable(layers[:k])))) for k, layer in enumerate(layers) if k
    ]


def simulate(couplings, *, n=80, time=12, seed=0, lengths=None, evoked=True, nodes=6):
    """Trials whose node t is a sum of couplings {(target, source, lag): weight} and noise, in the order of nodes."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((n, time, nodes))
    for t in range(time):
        for target in range(nodes):
            for (v, u, lag), weight in couplings.items():
                if v == target and t >= lag:
                    values[:, t, v] += weight * values[:, t - lag, u]
    if evoked:  # what all trials share at a position, and units of their own
        values = (values + rng.normal(size=(time, nodes)) * 3) * np.exp(rng.normal(size=nodes)) + 5
    lengths = np.full(n, time) if lengths is None else lengths
    return Trials(values, lengths, np.arange(n) % 2)


def solve(trials, options, test="f", layers=LAYERS, names=NAMES):
    moments = moments_of([trials], len(names), options.max_order, options.intercept == "position")
    return estimate(moments, readers(layers), names, options, test, "here")


def rows(trials, target, sources, order, start, chosen=None):
    """Regressors, target and position of every row, one after another."""
    x, y, at = [], [], []
    for i, series in enumerate(trials.values):
        if chosen is not None and not chosen[i]:
            continue
        for t in range(start, trials.lengths[i]):
            present = [series[t - lag, u] for u in sources for lag in range(order + 1)]
            x.append(present + [series[t - lag, target] for lag in range(1, order + 1)])
            y.append(series[t, target])
            at.append(t)
    return np.array(x), np.array(y), np.array(at)


def dummies(at, by_position):
    return (at[:, None] == np.unique(at)).astype(float) if by_position else np.ones((len(at), 1))


COUPLED = {(2, 0, 0): 0.8, (3, 1, 1): 0.7, (4, 2, 1): 0.6, (5, 4, 0): 0.5, (5, 5, 1): 0.4, (3, 3, 2): 0.3}


@pytest.mark.parametrize("intercept", ["position", "constant"])
@pytest.mark.parametrize("order", [1, 2])
def test_equals_least_squares(intercept, order):
    lengths = np.random.default_rng(1).integers(5, 13, 80)
    trials = simulate(COUPLED, lengths=lengths)
    trials.values[np.arange(12) >= lengths[:, None]] = np.nan  # never read
    found = solve(trials, SeriesOptions(max_order=order, criterion="max", intercept=intercept))
    assert found.order == order
    for layer in readers():
        for v in layer.targets:
            x, y, at = rows(trials, v, layer.sources, order, order)
            means = dummies(at, intercept == "position")

            def rss(z, means=means, y=y):
                whole = np.hstack([z, means])
                return np.square(y - whole @ np.linalg.lstsq(whole, y, rcond=None)[0]).sum()

            full, left = rss(x), len(y) - x.shape[1] - means.shape[1]
            for k, u in enumerate(layer.sources):
                block = range(k * (order + 1), (k + 1) * (order + 1))
                without = rss(np.delete(x, block, 1))
                assert found.log_ratio[v, u] == pytest.approx(np.log(without / full), rel=1e-8, abs=1e-11)
                f = (without - full) / (order + 1) / (full / left)
                assert found.p[v, u] == pytest.approx(stats.f.sf(f, order + 1, left), rel=1e-6)
    assert not found.tested[:2].any()
    assert not found.tested[2, 3]


def test_a_lag_at_which_a_signal_does_not_vary_is_left_out():
    """Of a feature that is active at the last position alone, as a source and as a target."""
    trials = simulate({(2, 0, 0): 0.8, (4, 2, 0): 0.7}, evoked=False)
    trials.values[:, :-1, 2] = 0.3
    found = solve(trials, SeriesOptions(max_order=1, criterion="max"))
    for v, sources in ((2, [0, 1]), (4, [0, 1, 2, 3])):
        x, y, at = rows(trials, v, sources, 1, 1)
        owner = np.array([k for k in sources for _ in range(2)] + [v])
        means = dummies(at, True)
        x, y = (z - means @ np.linalg.lstsq(means, z, rcond=None)[0] for z in (x, y))
        varies = x.std(0) > 1e-9
        x, owner = x[:, varies], owner[varies]
        assert (~varies).sum() == 1

        def rss(z, y=y):
            return np.square(y - z @ np.linalg.lstsq(z, y, rcond=None)[0]).sum()

        full, left = rss(x), len(y) - x.shape[1] - means.shape[1]
        for u in sources:
            own = owner == u
            ratio = rss(x[:, ~own]) / full
            assert found.log_ratio[v, u] == pytest.approx(np.log(ratio), rel=1e-8, abs=1e-11)
            expected = stats.f.sf((ratio - 1) / own.sum() * left, own.sum(), left)
            assert found.p[v, u] == pytest.approx(expected, rel=1e-6)
    p = Surrogates([trials], solve(trials, SeriesOptions(max_order=1), "chi2"), 1, True).p_values(19, 0, tuple(NAMES))
    assert p[4, 2] == 1 / 20 and np.isfinite(p).all()
    for options in ({"ridge": 0.1}, {"choose_ridge": True}):
        assert np.isfinite(solve(trials, SeriesOptions(**options)).log_ratio).all()


def test_held_out_equals_explicit_ridge():
    order, ridge = 2, 0.3
    trials = simulate(COUPLED)
    options = SeriesOptions(max_order=order, criterion="max", ridge=ridge)
    found = solve(trials, options)
    v, sources = 5, [0, 1, 2, 3, 4]
    parts = []
    for half in (0, 1):
        x, y, at = rows(trials, v, sources, order, order, trials.fold == half)
        means = dummies(at, True)
        x, y = (z - means @ np.linalg.lstsq(means, z, rcond=None)[0] for z in (x, y))
        scale = np.concatenate([np.repeat(found.scale[sources], order + 1), np.repeat(found.scale[v], order)])
        parts.append((x / scale, y / found.scale[v]))
    for k, u in enumerate(sources):
        keep = [j for j in range(parts[0][0].shape[1]) if not k * 3 <= j < (k + 1) * 3]
        full = without = z = 0.0
        rng = np.random.default_rng(0)
        for (x, y), (new_x, new_y) in (parts, parts[::-1]):
            penalty = ridge * len(y)
            beta = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)
            less = np.linalg.solve(x[:, keep].T @ x[:, keep] + penalty * np.eye(len(keep)), x[:, keep].T @ y)
            error, error_less = new_y - new_x @ beta, new_y - new_x[:, keep] @ less
            full, without = full + (error**2).sum(), without + (error_less**2).sum()
            added = error_less - error
            variance = (error_less**2).sum() / (len(new_y) - 10)  # ten positions have a mean
            z += (error_less * added).sum() / np.sqrt(variance * (added**2).sum())
        assert found.log_ratio[v, u] == pytest.approx(np.log(without / full), rel=1e-8, abs=1e-11)
        one, two = rng.standard_normal((2, 200_000, order + 1))
        lengths = [np.linalg.norm(value, axis=1) for value in (one, two)]
        law = (one * two).sum(1) / (lengths[0] * lengths[1]) * (lengths[0] + lengths[1])
        assert found.p[v, u] == pytest.approx((law >= z).mean(), abs=0.004)


def test_penalty_is_that_of_generalised_cross_validation():
    trials = simulate(COUPLED, n=30)
    found = solve(trials, SeriesOptions(max_order=1))
    gram, site = found.gram, [readers()[2]]
    v, sources = 5, [0, 1, 2, 3, 4]
    x, y, at = rows(trials, v, sources, 1, 1)
    means = dummies(at, True)
    x, y = (z - means @ np.linalg.lstsq(means, z, rcond=None)[0] for z in (x, y))
    x, y = x / np.append(np.repeat(found.scale[sources], 2), found.scale[v]), y / found.scale[v]
    for ridge in (0.0, 0.1):
        hat = x @ np.linalg.solve(x.T @ x + ridge * len(y) * np.eye(x.shape[1]), x.T)
        loss, freedom = fit_all(gram, site, 1, ridge, NAMES)
        assert freedom[0] == pytest.approx(np.trace(hat))
        assert loss[0] == pytest.approx(np.square(y - hat @ y).mean())
    noise = simulate({}, n=12, seed=3)
    signal = simulate({(5, k, 0): 1.0 for k in range(5)}, n=200, seed=3)
    chosen = [choose_penalty(solve(t, SeriesOptions(max_order=1)).gram, site, 1, NAMES) for t in (noise, signal)]
    assert chosen[0] > 0.1 > 0.01 > chosen[1]


@pytest.mark.parametrize("options", [{}, {"ridge": 0.01}, {"choose_ridge": True}])
def test_finds_the_true_edges(options):
    found = solve(simulate(COUPLED, n=300), SeriesOptions(**options))
    q = benjamini_hochberg(found.p[found.tested])
    discovered = {tuple(map(int, pair)) for pair in np.argwhere(found.tested)[q <= 0.01]}
    assert discovered == {(v, u) for v, u, _ in COUPLED if v != u}


def test_order_is_found():
    two = {**COUPLED, (4, 2, 2): 0.5, (4, 0, 2): -0.4}
    assert solve(simulate(two, n=300), SeriesOptions(max_order=4)).order == 2
    assert solve(simulate({(5, 4, 1): 0.8}, n=300), SeriesOptions(max_order=4)).order == 1
    assert solve(simulate(COUPLED, n=300), SeriesOptions(max_order=3, criterion="max")).order == 3


@pytest.mark.parametrize(("options", "n", "test"), [({}, 20, "f"), ({}, 20, "chi2"), ({"ridge": 0.01}, 200, "f")])
def test_false_discoveries_are_rare_without_couplings(options, n, test):
    """Own pasts and evoked means, no causes: p-values are uniform, and hardly any data set has a discovery."""
    own = {(k, k, 1): 0.5 for k in range(6)}
    smallest, p = [], []
    for seed in range(150):
        found = solve(simulate(own, n=n, time=8, seed=seed), SeriesOptions(max_order=1, **options), test)
        smallest.append(benjamini_hochberg(found.p[found.tested]).min())
        p.append(found.p[found.tested])
    assert np.mean(np.array(smallest) <= 0.05) < 0.11  # 0.05 plus three standard errors
    assert 0.03 < np.mean(np.concatenate(p) < 0.05) < 0.07
    assert stats.kstest(np.concatenate(p), "uniform").statistic < 0.05


def test_correlated_sources_do_not_stand_in_for_each_other():
    """Node 5 hears node 4 alone, which hears all others: conditional on it nothing is left."""
    chain = {(1, 0, 0): 2.0, (4, 0, 0): 1.0, (4, 1, 0): 1.0, (4, 2, 1): 1.0, (5, 4, 0): 1.0}
    found = solve(simulate(chain, n=300, seed=2), SeriesOptions())
    assert found.p[5, 4] < 1e-10
    assert found.p[5, :4].min() > 0.01


def test_transfer_entropy_of_a_driven_process():
    """y(t) = 0.6 y(t-1) + b x(t-1) + e with white x: TE = log(1 + b² var x / var e) / 2."""
    b, noise = 0.9, 0.7
    rng = np.random.default_rng(0)
    x, e = rng.standard_normal((2, 400, 110))
    y = np.zeros_like(x)
    for t in range(1, 110):
        y[:, t] = 0.6 * y[:, t - 1] + b * x[:, t - 1] + noise * e[:, t]
    trials = Trials(np.stack([x, y], -1)[:, 10:], np.full(400, 100), np.arange(400) % 2)
    for options in (SeriesOptions(max_order=1), SeriesOptions(max_order=3), SeriesOptions(ridge=1e-4)):
        found = solve(trials, options, "chi2", [[0], [1]], ["x", "y"])
        assert found.log_ratio[1, 0] / 2 == pytest.approx(np.log1p((b / noise) ** 2) / 2, rel=0.01)


def test_order_and_batches_of_trials_do_not_matter():
    lengths = np.random.default_rng(1).integers(6, 13, 60)
    trials = simulate(COUPLED, n=60, lengths=lengths)
    for options in (SeriesOptions(), SeriesOptions(ridge=0.1)):
        whole = solve(trials, options)
        again = solve(trials, options)
        np.testing.assert_array_equal(whole.log_ratio, again.log_ratio)
        order = np.random.default_rng(2).permutation(60)
        pieces = [Trials(trials.values[k], lengths[k], trials.fold[k]) for k in np.split(order, [7, 8, 40])]
        moments = moments_of(pieces, 6, 2, True)
        other = estimate(moments, readers(), NAMES, options, "f", "here")
        np.testing.assert_allclose(other.log_ratio, whole.log_ratio, atol=1e-12)
        np.testing.assert_allclose(other.p, whole.p, rtol=1e-6, atol=1e-12)


def test_large_offsets_cost_no_digits():
    trials = simulate(COUPLED)
    moved = Trials(trials.values + 1e4, trials.lengths, trials.fold)
    np.testing.assert_allclose(
        solve(moved, SeriesOptions()).log_ratio, solve(trials, SeriesOptions()).log_ratio, rtol=1e-5, atol=1e-8
    )


@pytest.mark.parametrize("by_position", [True, False])
def test_surrogates_equal_regressions_on_exchanged_series(by_position):
    lengths = np.repeat([7, 9, 12], [20, 20, 20])
    trials = simulate(COUPLED, n=60, lengths=lengths)
    options = SeriesOptions(max_order=2, intercept="position" if by_position else "constant")
    found = solve(trials, options, "chi2")
    p = Surrogates([trials], found, 2, by_position).p_values(15, 4, tuple(NAMES))
    for source in (1, 4):
        rng, donor = np.random.default_rng([4, source]), np.arange(60)
        stronger = np.zeros(6)
        for _ in range(15):
            for length in (7, 9, 12):
                group = np.flatnonzero(lengths == length)
                donor[group] = rng.permutation(group)
            for v in np.flatnonzero(found.tested[:, source]):
                sources = next(site.sources for site in readers() if v in site.targets)
                x, y, at = rows(trials, v, sources, found.order, 2)
                exchanged = Trials(trials.values.copy(), lengths, trials.fold)
                exchanged.values[:, :, source] = trials.values[donor, :, source]
                new, _, _ = rows(exchanged, v, sources, found.order, 2)
                k, size = list(sources).index(source), found.order + 1
                block = np.arange(k * size, (k + 1) * size)
                means = dummies(at, by_position)
                x, new, y = (z - means @ np.linalg.lstsq(means, z, rcond=None)[0] for z in (x, new, y))
                rest = np.delete(x, block, 1)

                def rss(z, y=y):
                    return np.square(y - z @ np.linalg.lstsq(z, y, rcond=None)[0]).sum()

                strength = np.log(rss(rest) / rss(np.hstack([rest, new[:, block]])))
                stronger[v] += strength >= found.log_ratio[v, source]
        read = found.tested[:, source]
        np.testing.assert_array_equal(p[read, source], (1 + stronger[read]) / 16)
    assert (p[~found.tested] == 1).all()


def test_surrogates_have_uniform_p_values_and_find_causes():
    p = []
    for seed in range(12):
        trials = simulate({(k, k, 1): 0.5 for k in range(6)}, n=40, time=6, seed=seed)
        found = solve(trials, SeriesOptions(max_order=1), "chi2")
        p.append(Surrogates([trials], found, 1, True).p_values(39, seed, tuple(NAMES))[found.tested])
    assert abs(np.concatenate(p).mean() - 0.5) < 0.08
    assert np.mean(np.concatenate(p) <= 0.1) < 0.16
    found = solve(trials := simulate(COUPLED, n=100), SeriesOptions(), "chi2")
    p = Surrogates([trials], found, 2, True).p_values(49, 0, tuple(NAMES))
    assert {(v, u) for v, u, _ in COUPLED if u != v} <= {tuple(map(int, pair)) for pair in np.argwhere(p == 1 / 50)}


def test_nodes_that_do_not_vary_score_nothing():
    trials = simulate(COUPLED)
    trials.values[:, :, 1] = 4.0
    found = solve(trials, SeriesOptions())
    assert not found.tested[:, 1].any()
    assert (found.log_ratio[:, 1] == 0).all()
    assert found.log_ratio[5, 4] > 0
    trials.values[:] = 1.0
    with pytest.raises(DataError, match="signals that vary"):
        solve(trials, SeriesOptions())


def test_a_target_that_is_determined_needs_a_penalty():
    """Its past is then a combination of its sources' past."""
    trials = simulate({}, n=40)
    trials.values[:, :, 5] = trials.values[:, :, 4] - 2 * trials.values[:, :, 3]
    with pytest.raises(DataError, match=r"node\.5 at lag 1 is a linear combination"):
        solve(trials, SeriesOptions(max_order=1))
    found = solve(trials, SeriesOptions(max_order=1, ridge=1e-4))
    assert np.isfinite(found.log_ratio).all()
    assert found.log_ratio[5, [3, 4]].min() > 4
    assert found.p[5, [3, 4]].max() < 1e-10


def test_refuses():
    with pytest.raises(DataError, match="too few for"):
        solve(simulate(COUPLED, n=2, time=6), SeriesOptions())
    with pytest.raises(DataError, match="too few for"):
        solve(simulate(COUPLED, n=2, time=4), SeriesOptions(ridge=0.1))
    copied = simulate(COUPLED)
    copied.values[:, :, 3] = 2 * copied.values[:, :, 2] - 1
    with pytest.raises(DataError, match=r"node\.[23] at lag \d is a linear combination"):
        solve(copied, SeriesOptions())
    assert np.isfinite(solve(copied, SeriesOptions(ridge=0.1)).log_ratio).all()
    for options, message in (
        ({"max_order": 0}, "max_order is 0"),
        ({"ridge": -1.0}, "ridge is -1"),
        ({"fdr": 0.0}, "fdr is 0"),
        ({"criterion": "hq"}, "criterion 'hq'"),
        ({"intercept": "none"}, "intercept 'none'"),
        ({"ridge": 0.1, "choose_ridge": True}, "give one of them"),
    ):
        with pytest.raises(DataError, match=message):
            SeriesOptions(**options)
    with pytest.raises(DataError, match="lagged series"):
        moments_of([], 5000, 2, True)
    alone = simulate(COUPLED, n=10, time=30, lengths=np.arange(21, 31))
    with pytest.raises(DataError, match="equal length"):
        Surrogates([alone], solve(alone, SeriesOptions(max_order=1)), 1, True)
