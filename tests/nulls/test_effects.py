from __future__ import annotations

import numpy as np
import pytest

from compgraph.nulls.effects import NodeEffects, _rank


def edges(n: int, share: float, directed: bool, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    source, target = np.nonzero((rng.random((n, n)) < share) & ~np.eye(n, dtype=bool))
    keep = slice(None) if directed else source < target
    return source[keep], target[keep]


@pytest.mark.parametrize("directed", [False, True])
def test_spreads_are_those_that_made_the_weights(directed: bool) -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(30):
        source, target = edges(60, 0.2, directed, rng)
        out, into = 1.5 * rng.normal(size=60), 0.5 * rng.normal(size=60)
        y = 3 + out[source] + (into if directed else out)[target] + 0.8 * rng.normal(size=len(source))
        fit = NodeEffects.fit(source, target, y, 60, directed)
        found.append([fit.spread[0] ** 2, fit.spread[-1] ** 2, fit.noise**2])
    expected = [2.25, 0.25 if directed else 2.25, 0.64]
    error = np.std(found, axis=0) / np.sqrt(30)
    assert (np.abs(np.mean(found, axis=0) - expected) < 4 * error + 1e-3).all()


@pytest.mark.parametrize("directed", [False, True])
def test_draws_have_mean_and_covariance_of_effects_given_the_weights(directed: bool) -> None:
    rng = np.random.default_rng(1)
    source, target = edges(8, 0.6, directed, rng)
    m = 16 if directed else 8
    spread = np.linspace(0.5, 2, m)
    first, second = source, target + 8 * directed
    effects = spread * rng.normal(size=m)
    y = effects[first] + effects[second] + 0.7 * rng.normal(size=len(source))
    fit = NodeEffects(first, second, y, spread, 0.7)
    design = np.zeros((len(y), m))
    design[np.arange(len(y)), first] += 1
    design[np.arange(len(y)), second] += 1
    covariance = np.linalg.inv(design.T @ design / 0.49 + np.diag(1 / spread**2))
    mean = covariance @ design.T @ (y - y.mean()) / 0.49
    assert fit.guess == pytest.approx(mean, abs=1e-8)
    drawn = np.array([fit.draw(rng) for _ in range(2000)])
    assert np.abs(drawn.mean(axis=0) - mean).max() < 5 * np.sqrt(np.diag(covariance).max() / 2000)
    assert np.abs(np.cov(drawn.T) - covariance).max() < 0.15 * covariance.max()


def test_rank_is_that_of_the_design() -> None:
    rng = np.random.default_rng(2)
    for trial in range(40):
        source, target = edges(9, [0.06, 0.15, 0.4][trial % 3], directed=False, rng=rng)
        if not len(source):
            continue
        design = np.zeros((len(source), 9))
        np.add.at(design, (np.arange(len(source)), source), 1)
        np.add.at(design, (np.arange(len(source)), target), 1)
        assert _rank(source, target, 9) == np.linalg.matrix_rank(design)


def test_weights_that_differ_by_noise_alone_have_no_effects() -> None:
    source, target = np.triu_indices(5, 1)
    fit = NodeEffects.fit(source, target, np.ones(10), 5, False)
    order = np.random.default_rng(0).permutation(10)
    assert np.array_equal(fit.values(source, target, order, np.random.default_rng(0)), np.ones(10))
    tree = NodeEffects.fit(np.arange(4), np.arange(1, 5), np.arange(4.0), 5, False)
    assert not tree.spread.any()
