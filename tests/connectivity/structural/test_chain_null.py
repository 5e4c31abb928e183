"""The null of chains: exact moments against drawn rotations, and the nominal share on random narrow networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compgraph.connectivity.structural import chain_null, chains, path_norm, weight_norm
from compgraph.models.modules import build_module, from_module
from compgraph.models.sequential import Sequential
from compgraph.partition import Partition

RELU = {"type": "relu"}
LAYERS = [
    {"type": "conv", "channels": 6, "kernel": 3, "padding": 1},
    RELU,
    {"type": "max-pool", "kernel": 2},
    {"type": "conv", "channels": 8, "kernel": 3},
    RELU,
    {"type": "flatten"},
    {"type": "linear", "features": 16},
    RELU,
    {"type": "linear", "features": 10},
]


def random_chain(seed: int) -> Sequential:
    """A narrow network of normal weights."""
    torch.manual_seed(seed)
    module = build_module(LAYERS, (2, 10, 10))
    for weight in module.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight)
    return from_module(module, (2, 10, 10))


def test_nominal_share_in_every_layer_of_narrow_random_networks() -> None:
    found: dict[str, list[np.ndarray]] = {}
    for seed in range(20):
        net = random_chain(seed)
        edges = weight_norm.compute(net, Partition.channels(net)).edges
        for site, p in edges.groupby(edges.target.str.split("/").str[0]).p:
            found.setdefault(site, []).append(p.dropna().to_numpy())
    for site, values in found.items():
        n = sum(map(len, values))  # 3 deviations of a binomial, and as much again as edges of one network are tied
        share, bound = np.concatenate(values), 6 * (0.05 * 0.95 / n) ** 0.5
        assert abs((share <= 0.05).mean() - 0.05) < bound, site
    everything = np.concatenate([p for values in found.values() for p in values])
    assert abs((everything <= 0.05).mean() - 0.05) < 0.01


@pytest.mark.parametrize("method", [weight_norm, path_norm])
def test_exact_moments_are_those_of_drawn_rotations(method, monkeypatch: pytest.MonkeyPatch) -> None:
    net = random_chain(0)
    part = Partition.mixed(net, {"linear.0": Partition.from_labels({"linear.0": np.arange(16) % 5}), "*": "channels"})
    monkeypatch.setattr(chains, "scales_of", lambda *_: None)
    exact = method.compute(net, part)
    monkeypatch.setattr(chains, "spectra_of", lambda *_: None)
    drawn = method.compute(net, part, rotated=150)
    live = ~np.isnan(exact.columns["z"])
    assert live.any()
    slope = np.polyfit(drawn.columns["z"][live], exact.columns["z"][live], 1)
    np.testing.assert_allclose(slope, [1, 0], atol=0.06)


def test_scales_are_those_of_a_layer_below_turned_from_the_left() -> None:
    net = random_chain(1)
    below, stage = chains.squared_stages(net)[:2]
    rows = chain_null.rescaled_rows(net.reader("conv.0"), below)
    part = Partition.mixed(net, {"conv.0": "channels"})
    moments = chain_null.scales_of(rows, stage, part)
    assert moments is not None
    values = rows.values[0] / rows.values[0].norm(dim=1, keepdim=True)
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(4000):
        q, r = np.linalg.qr(rng.normal(size=(6, 6)))
        drawn.append(((q * np.sign(np.diag(r)) @ values.numpy()) ** 2).sum(axis=1))
    np.testing.assert_allclose(moments.variance, np.var(drawn), rtol=0.05)
    np.testing.assert_allclose(moments.third, ((np.array(drawn) - 1) ** 3).mean(), rtol=0.25)


def test_parts_that_divide_channels_are_drawn_for() -> None:
    net = random_chain(0)
    halves = Partition.from_labels({"conv.0": np.arange(net.architecture.site("conv.0").n_units) % 2})
    part = Partition.mixed(net, {"conv.1": "channels", "conv.0": halves})
    one, more = (weight_norm.compute(net, part, rotated=n).columns["z"] for n in (2, 40))
    assert not np.array_equal(one, more)
