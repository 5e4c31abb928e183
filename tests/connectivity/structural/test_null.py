"""The null of structural scores: against rotations that are drawn, and on networks without structure."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from compgraph.connectivity.structural import structural_connectivity
from compgraph.connectivity.structural.null import (
    Draws,
    Moments,
    Spectrum,
    cosine_tail,
    pearson_tail,
    rotations,
    significance,
)
from compgraph.connectivity.structural.vectors import Vectors
from compgraph.models.modules import build_module, from_module
from compgraph.partition import Partition
from tests.models.tiny import tiny_network


def one_part(rows):
    return Vectors(torch.from_numpy(rows), torch.zeros(len(rows), dtype=torch.int64), 1)


def drawn_squares(a, b, draws):
    """Squared normalised Frobenius scores of a Qb, over uniform rotations from scipy."""
    turns = stats.ortho_group.rvs(a.shape[1], size=draws, random_state=0)
    values = np.square(a @ turns @ b.T).sum((1, 2))
    return values / (np.square(a).sum() * np.square(b).sum())


@pytest.mark.parametrize("ranks", [(1, 1), (3, 2), (6, 1), (7, 7)])
def test_moments_are_those_of_drawn_rotations(ranks):
    rng, d, draws = np.random.default_rng(0), 8, 20_000
    a, b = (rng.standard_normal((r, d)) * np.linspace(1, 3, r)[:, None] for r in ranks)
    found = Moments.haar(Spectrum.of(one_part(a)), Spectrum.of(one_part(b)), d)
    values = drawn_squares(a, b, draws)
    off = values - 1 / d
    assert found.mean.item() == pytest.approx(values.mean(), abs=4 * values.std() / draws**0.5)
    assert found.variance.item() == pytest.approx((off**2).mean(), abs=5 * (off**2).std() / draws**0.5)
    assert found.third.item() == pytest.approx((off**3).mean(), abs=5 * (off**3).std() / draws**0.5)


@pytest.mark.parametrize("ranks", [(1, 1), (1, 4), (4, 4), (12, 5)])
def test_p_values_are_uniform_under_the_null(ranks):
    rng, d = np.random.default_rng(1), 24
    a, b = (rng.standard_normal((r, d)) * np.linspace(1, 2, r)[:, None] for r in ranks)
    values = drawn_squares(a, b, 4000)
    _, p = significance(values, Spectrum.of(one_part(a)), Spectrum.of(one_part(b)), d)
    for level in (0.5, 0.1, 0.05, 0.01):
        assert (p < level).mean() == pytest.approx(level, abs=4 * (level * (1 - level) / len(p)) ** 0.5)


def test_a_spectrum_like_the_identity_leaves_nothing_to_test():
    flat, other = Spectrum.of(one_part(np.eye(6))), Spectrum.of(one_part(np.eye(6)[:2]))
    z, p = significance(np.array([[1 / 6]]), flat, other, 6)
    assert np.isnan(z).all() and np.isnan(p).all()


def test_tails():
    z = np.linspace(-2, 6, 9)
    for skewness in (-0.7, 0.4, 2.0):
        np.testing.assert_allclose(pearson_tail(z, np.full(9, skewness)), stats.pearson3.sf(z, skewness), rtol=1e-8)
    np.testing.assert_allclose(pearson_tail(z, np.zeros(9)), stats.norm.sf(z))
    squares = np.array([0.0, 0.1, 0.5, 1.0])
    np.testing.assert_allclose(cosine_tail(squares, 9), stats.beta.sf(squares, 0.5, 4), atol=1e-15)


def test_draws_have_the_moments_of_an_array():
    values = np.random.default_rng(0).gamma(2, size=(50, 1))
    draws = Draws(np.array([30.0]))  # far from them
    for value in values:
        draws.add(value)
    found = draws.moments()
    assert found.mean == pytest.approx(values.mean())
    assert found.variance == pytest.approx(values.var(ddof=1) * (1 + 1 / 50))
    assert found.third / found.variance**1.5 == pytest.approx(stats.skew(values[:, 0], bias=False))


def test_rotations_leave_what_a_centring_norm_removes():
    first, second = rotations(5, 2, 0, centred=True)
    centre = torch.eye(6, dtype=torch.float64) - 1 / 6
    torch.testing.assert_close(first @ first.T, centre)
    assert not torch.allclose(first, second)
    assert torch.equal(first, rotations(5, 1, 0, centred=True)[0])


METHODS = [
    ("composition", {}),
    ("composition", {"norm": "top"}),
    ("composition", {"norm": "spectral"}),
    ("subspace", {}),
    ("input-output", {}),
]


def random_transformer(seed, heavy=False):
    """Independent normal weights (heavy: Student's t with three degrees of freedom), gains of 1."""
    net = tiny_network("gpt2-untied")
    generator = np.random.default_rng(seed)
    for holder in (net.weights, *net.weights.blocks):
        for name, value in vars(holder).items():
            if isinstance(value, torch.Tensor) and value.dim() > 1:
                drawn = generator.standard_t(3, tuple(value.shape)) if heavy else generator.standard_normal(value.shape)
                setattr(holder, name, torch.from_numpy(drawn).to(value.dtype))
            elif hasattr(value, "gain"):
                value.gain = None
    return net


@pytest.mark.parametrize(("method", "options"), METHODS)
def test_the_nominal_share_of_a_random_transformer_is_significant(method, options):
    p = []
    for seed in range(6):
        net = random_transformer(seed)
        p.append(structural_connectivity(net, Partition.heads(net), method, **options).columns["p"])
    assert 0.02 < (np.concatenate(p) < 0.05).mean() < 0.085
    adjusted = structural_connectivity(net, Partition.heads(net), method, **options).columns["p_adjusted"]
    assert adjusted.min() > 0.01


def test_heavy_tailed_weights_inflate_the_level_a_little():
    """Their large entries lie along coordinates, which no rotation keeps."""
    graphs = [structural_connectivity(n, Partition.heads(n)) for n in (random_transformer(k, True) for k in range(8))]
    assert 0.05 < (np.concatenate([graph.columns["p"] for graph in graphs]) < 0.05).mean() < 0.12


@pytest.mark.parametrize("method", ["weight-norm", "path-norm"])
def test_the_nominal_share_of_a_random_chain_is_significant(method):
    layers = [
        {"type": "conv", "channels": 12, "kernel": 3, "padding": 1},
        {"type": "relu"},
        {"type": "max-pool", "kernel": 2},
        {"type": "conv", "channels": 16, "kernel": 3},
        {"type": "relu"},
        {"type": "flatten"},
        {"type": "linear", "features": 24},
        {"type": "relu"},
        {"type": "linear", "features": 12},
    ]
    p = []
    for seed in range(3):
        torch.manual_seed(seed)
        module = build_module(layers, (6, 8, 8))
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter)
        net = from_module(module, (6, 8, 8))
        p.append(structural_connectivity(net, Partition.channels(net), method).columns["p"])
    p = np.concatenate(p)
    assert 0.02 < (p[~np.isnan(p)] < 0.05).mean() < 0.085
