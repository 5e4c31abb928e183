"""The tests of Shi et al. on made-up scores: formulas, level under the null, power, ties, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, kstest

from compgraph.errors import DataError
from compgraph.evaluation import hypothesis_tests as tests
from compgraph.evaluation.dependence import hsic, kernel_factor, median_distance

R, Q = 100, 0.9


def rejections(test, trials=400, **options):
    return np.mean([test(np.random.default_rng(seed), **options) for seed in range(trials)])


# ---- equivalence -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "wins"), [(50, 25), (50, 41), (21, 3), (200, 130)])
def test_equivalence_is_the_formula(n, wins):
    model = np.zeros(n)
    circuit = np.where(np.arange(n) < wins, 1.0, -1.0)
    found = tests.equivalence(circuit, model)
    t = abs(wins / n - 0.5)
    p = sum(binom.pmf(k, n, 0.6) for k in range(n + 1) if abs(k / n - 0.5) >= t - 1e-12)
    assert found.statistic == pytest.approx(t) and found.p == pytest.approx(p)
    assert found.rejected == (p <= 0.05) == (not found.passes)


def test_equivalence_counts_ties_half():
    model = np.arange(40.0)
    same = tests.equivalence(model.copy(), model)
    assert same.statistic == 0 and same.p == pytest.approx(1) and "40 ties" in same.note and same.passes
    better = tests.equivalence(model + (np.arange(40) < 30), model)
    assert better.statistic == pytest.approx(35 / 40 - 0.5)


def test_equivalence_does_not_look_at_the_size_of_differences():
    """The authors' code does: a mean difference is no share of examples."""
    rng = np.random.default_rng(0)
    model, difference = rng.normal(size=100), np.where(np.arange(100) % 2, 1.0, -50.0)
    assert tests.equivalence(model + difference, model).statistic == 0


def test_equivalence_keeps_its_level_and_finds_differences():
    def rejects(rng, share):
        return tests.equivalence(np.where(rng.random(150) < share, 1.0, -1.0), np.zeros(150)).rejected

    assert rejections(rejects, share=0.5) < 0.01
    assert rejections(rejects, share=0.6) < 0.075  # the edge of the null hypothesis
    assert rejections(rejects, share=0.8) > 0.95


# ---- independence ----------------------------------------------------------------------------------------------


def test_hsic_is_the_trace_with_full_kernels():
    rng = np.random.default_rng(1)
    x = rng.normal(size=60)
    y = x**2 + 0.3 * rng.normal(size=60)
    k, m = (np.exp(-((v[:, None] - v) ** 2) / (2 * w**2)) for v, w in ((x, 0.4), (y, 0.9)))
    h = np.eye(60) - 1 / 60
    assert hsic(x, y, (0.4, 0.9)) == pytest.approx(np.trace(k @ h @ m @ h) / 59**2, rel=1e-7)
    np.testing.assert_allclose(kernel_factor(x, 0.4) @ kernel_factor(x, 0.4).T, k, atol=1e-7)


def test_kernels_of_many_examples_have_few_columns():
    assert kernel_factor(np.random.default_rng(0).normal(size=5000), 0.7).shape[1] < 40


@pytest.mark.parametrize(("n", "m"), [(7, 7), (10, 10), (9, 13)])
def test_median_distance_is_the_median(n, m):
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=n), rng.normal(2, 3, size=m)
    distances = np.sort(np.abs(x[:, None] - y).ravel())
    assert median_distance(x, y) == pytest.approx(distances[n * m // 2])


@pytest.mark.parametrize("bandwidth", ["cross", "own"])
def test_independence_has_uniform_p_under_the_null(bandwidth):
    p = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(2, 40))
        p.append(tests.independence(x, y, n_permutations=99, bandwidth=bandwidth, seed=seed).p)
    assert min(p) >= 1 / 100 and kstest(p, "uniform").pvalue > 1e-3


def test_independence_finds_dependence_without_correlation():
    def rejects(rng):
        model = rng.normal(size=60)
        return tests.independence(np.abs(model) + 0.2 * rng.normal(size=60), model, n_permutations=99).rejected

    assert rejections(rejects, trials=40) > 0.9


def test_p_counts_the_observation():
    x = np.random.default_rng(0).normal(size=50)
    assert tests.independence(x, x, n_permutations=19).p == 1 / 20
    assert tests.independence(x, x, n_permutations=19, seed=3) == tests.independence(x, x, n_permutations=19, seed=3)


def test_constant_scores_are_independent_and_lumps_undecided():
    x = np.random.default_rng(0).normal(size=30)
    constant = tests.independence(np.full(30, 2.0), x)
    assert constant.p == 1 and constant.passes and "do not vary" in constant.note
    lump = np.zeros(30)
    lump[0] = 1
    found = tests.independence(lump, lump)
    assert found.verdict == "undecided" and not found.passes and np.isnan(found.p)


# ---- counts of random circuits ---------------------------------------------------------------------------------


def scores_with_losses(losses):
    """[R, 4] scores whose loss against 0 is as given."""
    return np.sqrt(np.asarray(losses))[:, None] * np.array([1.0, -1, 1, -1])


@pytest.mark.parametrize("wins", [95, 96, 100])
def test_sufficiency_and_necessity_want_96_of_100(wins):
    own = np.full(4, 2.0)
    worse, better = np.full(wins, 9.0), np.full(R - wins, 1.0)
    sufficient = tests.sufficiency(np.zeros(4), own, scores_with_losses([*worse, *better]))
    necessary = tests.partial_necessity(np.zeros(4), own, scores_with_losses([*(1 / worse), *(9 * better)]))
    for found in (sufficient, necessary):
        assert found.statistic == wins and found.p == pytest.approx(binom.sf(wins - 1, R, Q))
        assert found.rejected == found.passes == (wins >= 96)


@pytest.mark.parametrize("count", [84, 85])
def test_minimality_rejects_at_84_of_100(count):
    reference = np.where(np.arange(R) < count, 1.0, 3.0)
    found = tests.minimality(np.array([2.0]), reference)
    assert found.statistic == count and found.p == pytest.approx(binom.cdf(count, R, Q))
    assert found.rejected == (count == 84) == (not found.passes)


def test_minimality_corrects_for_the_number_of_edges():
    reference = np.where(np.arange(R) < 84, 1.0, 3.0)
    losses = np.array([2.0, *np.full(9, 5.0)])
    many = tests.minimality(losses, reference)
    assert many.p == pytest.approx(10 * binom.cdf(84, R, Q)) and many.passes and many.n == 10


def test_minimality_level_over_edges_and_power():
    def rejects(rng, spare):
        reference = rng.exponential(size=R)
        losses = np.quantile(rng.exponential(size=100000), 0.9) * np.ones(10)  # at the edge of the null hypothesis
        losses[:spare] = 0
        return tests.minimality(losses, reference).rejected

    assert rejections(rejects, trials=200, spare=0) < 0.08
    assert rejections(rejects, trials=50, spare=1) == 1


def test_sufficiency_keeps_its_level_where_the_circuit_is_one_of_the_random_ones():
    def rejects(rng):
        scores = rng.normal(size=(R + 1, 20)) * rng.exponential(size=R + 1)[:, None]
        return tests.sufficiency(np.zeros(20), scores[0], scores[1:]).rejected

    # it is among the best 4 % of its equals with chance 5/101, which no test at q = 0.9 can undercut
    assert rejections(rejects, trials=1000) < 0.08


def test_circuits_that_do_nothing_do_not_win_ties():
    nothing = np.tile(np.linspace(1, 2, 10), (R + 1, 1))
    found = tests.sufficiency(np.zeros(10), nothing[0], nothing[1:])
    assert found.statistic == 0 and not found.passes and "100 ties" in found.note
    found = tests.partial_necessity(np.zeros(10), nothing[0], nothing[1:])
    assert found.statistic == 0 and not found.passes


def test_differences_up_to_rounding_are_none():
    rng = np.random.default_rng(0)
    model = rng.normal(size=40)
    stirred = model + 1e-6 * rng.random(40)
    assert tests.equivalence(stirred, model).rejected and not tests.equivalence(stirred, model, rounding=2e-6).rejected
    assert tests.independence(stirred - model, model, rounding=2e-6).p == 1
    others = np.tile(model, (R, 1)) + 2e-6
    assert tests.sufficiency(model, stirred, others).statistic == R
    assert tests.sufficiency(model, stirred, others, rounding=3e-6).statistic == 0
    assert tests.partial_necessity(model, others[0], np.tile(stirred, (R, 1))).statistic == R
    assert tests.partial_necessity(model, others[0], np.tile(stirred, (R, 1)), rounding=3e-6).statistic == 0


def test_too_few_circuits_say_so():
    found = tests.sufficiency(np.zeros(4), np.zeros(4), scores_with_losses(np.ones(28)))
    assert not found.rejected and "too few" in found.note
    assert tests.sufficiency(np.zeros(4), np.zeros(4), scores_with_losses(np.ones(29))).rejected


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: tests.equivalence(x, x[:-1]), r"\(5,\) and model \(4,\)"),
        (lambda x: tests.equivalence(x, x, epsilon=0.5), "epsilon is 0.5"),
        (lambda x: tests.equivalence(x * np.nan, x), "score of circuit at example 0"),
        (lambda x: tests.independence(x, x, n_permutations=0), "n_permutations is 0"),
        (lambda x: tests.independence(x, x, bandwidth="wide"), "bandwidth 'wide'"),
        (lambda x: tests.minimality(x[:0], x), "needs an edge"),
        (lambda x: tests.minimality(x, x, q=1.0), "q is 1.0"),
        (lambda x: tests.sufficiency(x, x, np.zeros((0, 5))), "no random circuits"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(DataError, match=message):
        call(np.arange(5.0))
