from __future__ import annotations

import numpy as np
import pytest
import torch

from compgraph.communities import adjusted_rand
from compgraph.errors import DataError
from compgraph.models.modules import build_module, from_module
from compgraph.rois import find_rois
from compgraph.rois.signals import units_of
from compgraph.rois.weights import weight_signals, weights_of_sites
from tests.models.tiny import ONE_PER_FAMILY, tiny_network

LAYERS = [
    {"type": "conv", "channels": 3, "kernel": 3},
    {"type": "relu"},
    {"type": "conv", "channels": 4, "kernel": 2},
    {"type": "relu"},
    {"type": "max-pool", "kernel": 2},
    {"type": "flatten"},
    {"type": "linear", "features": 6},
    {"type": "relu"},
    {"type": "linear", "features": 3},
]


@pytest.fixture(scope="module")
def cnn():
    torch.manual_seed(0)
    return from_module(build_module(LAYERS, (1, 7, 7)), (1, 7, 7))


def unit_rows(matrix: torch.Tensor) -> np.ndarray:
    return (matrix / matrix.norm(dim=1, keepdim=True)).double().numpy()


@pytest.mark.parametrize(("before", "site", "after"), [("input", "conv.0", "conv.1"), ("conv.1", "linear.0", "logits")])
def test_units_of_a_chain_have_the_rows_of_its_jacobians(cnn, before, site, after) -> None:
    sizes = [cnn.architecture.site(name).n_units for name in (before, site)]
    read, written = (
        torch.autograd.functional.jacobian(lambda x, to=to: cnn.pre_activations(to, x).flatten(), torch.zeros(1, n))[
            :, 0
        ]
        for to, n in zip((site, after), sizes, strict=True)
    )
    expected = np.concatenate([unit_rows(read), unit_rows(written.T)], axis=1)
    np.testing.assert_allclose(weight_signals(cnn, site).arrays[site], expected.T, atol=1e-6)


@pytest.mark.parametrize("family", ONE_PER_FAMILY)
def test_units_of_a_transformer_have_their_readers_and_writers(family) -> None:
    net = tiny_network(family, dtype=torch.float64)
    block = net.weights.blocks[1]
    centre = torch.eye(net.spec.d_model, dtype=torch.float64) - (net.spec.norm == "layer") / net.spec.d_model

    def reads(norm, weight):
        return unit_rows(torch.einsum("d,du->ud", norm.gain, weight) @ centre)

    def writes(norm, weight):
        gain = torch.ones(net.spec.d_model, dtype=torch.float64) if norm is None else norm.gain
        return unit_rows(weight * gain @ centre)

    heads = torch.cat([block.w_v[k * len(block.w_v) // net.spec.n_heads] for k in range(net.spec.n_heads)], 1)
    gates = [] if block.w_gate is None else [reads(block.mlp_norm, block.w_gate)]
    expected = {
        "mlp.1": [reads(block.mlp_norm, block.w_in), *gates, writes(block.mlp_post_norm, block.w_out)],
        "attn.1": [reads(block.attn_norm, heads), writes(block.attn_post_norm, block.w_o.flatten(0, 1))],
    }
    for site, parts in expected.items():
        found = weight_signals(net, site).arrays[site]
        np.testing.assert_allclose(found, np.concatenate(parts, axis=1).T, atol=1e-10)


def test_units_with_like_weights_are_a_region() -> None:
    torch.manual_seed(0)
    net = from_module(build_module([{"type": "linear", "features": 12}, {"type": "relu"},
                                    {"type": "linear", "features": 9}], (20,)), (20,))  # fmt: skip
    planted = np.arange(12) % 3
    with torch.no_grad():
        for site, dim in (("linear.0", 0), ("logits", 1)):
            weight = net.reader(site).weight
            weight.copy_(weight.index_select(dim, torch.arange(3))[..., planted] if dim else weight[:3][planted])
            weight.add_(0.02 * torch.randn_like(weight))
    part = find_rois(weight_signals(net, "linear.0"), "linear.0", method="ward", n_rois=3)
    assert adjusted_rand(part.labels["linear.0"], planted) == 1
    part.check_causal(net)


def test_sites_without_weights_of_their_own_are_refused(cnn) -> None:
    for site, why in (("conv.1", "pools"), ("input", "no weights"), ("logits", "no weights"), ("mlp.0", "valid are")):
        with pytest.raises(DataError, match=why):
            weight_signals(cnn, site)
    with pytest.raises(DataError, match="name sites of attn or mlp"):
        weight_signals(tiny_network("gpt2"), "embed")


def test_sites_with_different_rows_are_filled_and_not_divided_together() -> None:
    torch.manual_seed(2)
    layers = [{"type": "linear", "features": 8}, {"type": "relu"}, {"type": "linear", "features": 6}, {"type": "relu"},
              {"type": "linear", "features": 4}]  # fmt: skip
    net = from_module(build_module(layers, (15,)), (15,))
    both = weights_of_sites(net, ["linear.0", "linear.1"])
    for site in ("linear.0", "linear.1"):
        alone = np.corrcoef(weight_signals(net, site).arrays[site].T)
        np.testing.assert_allclose(units_of(both, [site]).correlation, alone, atol=1e-12)
    with pytest.raises(DataError, match="cannot be divided together"):
        find_rois(both, method="ward", n_rois=2, scope="all")
    stream = tiny_network("gpt2", dtype=torch.float64)
    together = find_rois(weights_of_sites(stream, ["attn.0", "mlp.0"]), method="ward", n_rois=2, scope="all")
    assert {together.n_parts("attn.0"), together.n_parts("mlp.0")} <= {1, 2}
