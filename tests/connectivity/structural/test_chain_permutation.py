"""The null of chains by permuted weights: nominal for any entries, blind to rescaling, equal to a brute-force one."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch

from compgraph.connectivity.structural import path_norm, structural_connectivity, weight_norm
from compgraph.errors import GraphError
from compgraph.models.modules import build_module, from_module
from compgraph.models.sequential import Sequential
from compgraph.partition import Partition
from tests.connectivity.structural.test_chain_null import LAYERS, RELU

MLP = [
    {"type": "linear", "features": 6, "bias": False},
    RELU,
    {"type": "linear", "features": 3, "bias": False},
]


def uniform(seed: int, layers=LAYERS, shape=(2, 10, 10)) -> Sequential:
    """As torch makes it: weights uniform between bounds."""
    torch.manual_seed(seed)
    return from_module(build_module(layers, shape).double(), shape)


def shares(p: list[np.ndarray]) -> float:
    values = np.concatenate(p)
    return float((values[~np.isnan(values)] <= 0.05).mean())


@pytest.mark.parametrize("method", [weight_norm, path_norm])
def test_nominal_share_of_weights_that_rotations_do_not_serve(method) -> None:
    nets = [uniform(seed) for seed in range(12)]
    found = {
        permuted: shares([method.compute(n, Partition.channels(n), permuted=permuted).columns["p"] for n in nets])
        for permuted in (0, 20)
    }
    assert found[0] < 0.02
    assert 0.035 < found[20] < 0.065


def rescaled(net: Sequential) -> Sequential:
    """The same function: factors moved through hidden ReLU channels."""
    weights, generator = dict(net.weights), torch.Generator().manual_seed(3)
    sites = [stage.site for stage in net.stages]
    for site, following in pairwise(sites):
        own, onward = weights[f"{site}.weight"], weights[f"{following}.weight"]
        factor = torch.randn(len(own), generator=generator, dtype=own.dtype).exp()
        weights[f"{site}.weight"] = own * factor.reshape(-1, *[1] * (own.dim() - 1))
        weights[f"{site}.bias"] = weights[f"{site}.bias"] * factor
        columns = factor.repeat_interleave(onward.shape[1] // len(own)).reshape(1, -1, *[1] * (onward.dim() - 2))
        weights[f"{following}.weight"] = onward / columns
    return Sequential(net.layers, net.input_shape, weights, digest=net.digest)


@pytest.mark.parametrize("method", ["weight-norm", "path-norm"])
def test_rescaling_of_hidden_channels_changes_nothing(method) -> None:
    net = uniform(0)
    graphs = [structural_connectivity(n, Partition.channels(n), method, permuted=5) for n in (net, rescaled(net))]
    np.testing.assert_allclose(graphs[1].weight, graphs[0].weight, rtol=1e-8)
    for name in ("z", "p"):
        np.testing.assert_allclose(graphs[1].columns[name], graphs[0].columns[name], rtol=1e-8, equal_nan=True)
    assert graphs[0].attributes["null"] == "permutation"


def brute(net: Sequential, score: Callable[[np.ndarray, np.ndarray], list[np.ndarray]], draws: int):
    """z and p of the edges into each layer of an MLP, by permutations of its balanced weights."""
    first, second = (net.weights[f"{stage.site}.weight"].double().numpy() for stage in net.stages)
    scale = np.linalg.norm(first, axis=1)
    first, second = first / scale[:, None], second * scale
    rng = np.random.default_rng(99)
    drawn = [score(*(rng.permuted(w.ravel()).reshape(w.shape) for w in (first, second))) for _ in range(draws)]
    for k, squares in enumerate(score(first, second)):
        others = np.concatenate([one[k].ravel() for one in drawn])
        yield (squares - others.mean()) / others.std(), (others[:, None, None] >= squares).mean(axis=0)


def norm_shares(first: np.ndarray, second: np.ndarray) -> list[np.ndarray]:
    scale = (first**2).sum(1)
    below, above = first**2 / scale[:, None], second**2 * scale
    return [below, above / above.sum(1, keepdims=True)]


def path_shares(first: np.ndarray, second: np.ndarray) -> list[np.ndarray]:
    paths = second[:, :, None] ** 2 * first[None] ** 2
    return [paths.sum(0) / paths.sum(), paths.sum(2) / paths.sum()]


@pytest.mark.parametrize(("method", "score"), [("weight-norm", norm_shares), ("path-norm", path_shares)])
def test_against_permutations_by_hand(method, score) -> None:
    net = uniform(4, MLP, (5,))
    edges = structural_connectivity(net, Partition.units(net), method, permuted=500).edges
    z, p = (np.concatenate([one.ravel() for one in ones]) for ones in zip(*brute(net, score, 500), strict=True))
    np.testing.assert_allclose(edges.z, z, atol=0.1)
    np.testing.assert_allclose(edges.p, p, atol=0.04)


def test_a_strong_kernel_stands_out() -> None:
    net = uniform(1)
    with torch.no_grad():
        net.weights["conv.1.weight"][5, 2] *= 4
    edges = weight_norm.compute(net, Partition.channels(net), permuted=20).edges
    into = edges[edges.target.str.startswith("conv.1")]
    assert into.loc[into.p.idxmin(), ["source", "target"]].tolist() == ["conv.0/channel.2", "conv.1/channel.5"]


def test_parts_that_are_alike_in_nothing_are_judged_by_their_own_draws() -> None:
    net = uniform(2, MLP, (5,))
    part = Partition.mixed(net, {"input": Partition.from_labels({"input": np.array([0, 1, 1, 1, 1])}), "*": "units"})
    edges = weight_norm.compute(net, part, permuted=9).edges
    into = edges[edges.target.str.startswith("linear.0")]
    lone = into.source.astype(str) == into.source.astype(str).min()
    for some in (into[lone], into[~lone]):  # of six edges each
        counts = some.p * (1 + 9 * 6)
        np.testing.assert_allclose(counts, counts.round())
        assert abs(some.z.mean()) < 1


def test_one_draw_is_refused() -> None:
    net = uniform(0, MLP, (5,))
    with pytest.raises(GraphError, match="permuted is 1; it must be 0, or at least 2"):
        weight_norm.compute(net, Partition.units(net), permuted=1)
