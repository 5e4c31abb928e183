"""Dictionaries by themselves: features, errors, and what is refused."""

from __future__ import annotations

import pytest
import torch

from compgraph.dictionaries import Dictionary, gated_autoencoder, identity, sparse_autoencoder
from compgraph.errors import ModelError


def tensors(width=5, n=8, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return random(width, n), random(n, width), random(n), random(width), random(6, 3, width)


def test_features_of_every_activation():
    encoder, rows, offset, bias, x = tensors()
    pre = (x - bias) @ encoder + offset
    threshold = torch.linspace(0, 1.5, 8, dtype=torch.float64)
    largest = pre.sort(-1, descending=True).values[..., 2:3]
    expected = {
        "linear": ({}, pre),
        "relu": ({}, pre.clamp_min(0)),
        "topk": ({"k": 3}, torch.where(pre >= largest, pre, 0).clamp_min(0)),
        "jumprelu": ({"threshold": threshold}, torch.where((pre > threshold) & (pre > 0), pre, 0)),
    }
    for activation, (options, features) in expected.items():
        one = sparse_autoencoder(
            "write", encoder, rows, offset, bias, activation=activation, subtract_bias=True, **options
        )
        torch.testing.assert_close(one.encode(x), features, rtol=0, atol=1e-13)
        torch.testing.assert_close(one.decode(features), features @ rows + bias)
        units = one.units(x)
        assert units.shape == (6, 3, 8 + 5) and one.n_units == 13
        torch.testing.assert_close(one.decode(units[..., :8]) + units[..., 8:], x, rtol=0, atol=1e-13)


def test_topk_takes_no_feature_that_is_not_positive():
    one = sparse_autoencoder("write", torch.eye(4), torch.eye(4), activation="topk", k=3)
    assert one.encode(torch.tensor([1.0, -1.0, -2.0, 0.0])).tolist() == [1, 0, 0, 0]


def test_derivative_of_features_is_the_encoder_where_active():
    encoder, rows, offset, bias, x = tensors()
    one = sparse_autoencoder("write", encoder, rows, offset, bias, activation="topk", k=2)
    x = x[0, 0].clone().requires_grad_()
    jacobian = torch.autograd.functional.jacobian(one.encode, x)
    active = one.active(one.pre_activations(x))
    assert active.sum() == 2
    torch.testing.assert_close(jacobian, encoder.T * active[:, None])


def test_bias_is_subtracted_only_if_asked_for():
    encoder, rows, offset, bias, x = tensors()
    off = sparse_autoencoder("write", encoder, rows, offset, bias, activation="linear")
    torch.testing.assert_close(off.encode(x), x @ encoder + offset)
    alone = sparse_autoencoder("write", encoder, rows, None, bias, activation="linear", subtract_bias=True)
    torch.testing.assert_close(alone.encode(x), (x - bias) @ encoder)


@pytest.mark.parametrize("subtract_bias", [True, False])
def test_gated_autoencoders(subtract_bias):
    encoder, rows, gate_bias, bias, x = tensors()
    log_scale, magnitude_bias = torch.linspace(-1, 1, 8).double(), torch.linspace(1, -1, 8).double()
    one = gated_autoencoder(
        "write", encoder, rows, gate_bias, magnitude_bias, log_scale, bias, subtract_bias=subtract_bias
    )
    read = (x - bias if subtract_bias else x) @ encoder
    expected = ((read + gate_bias) > 0) * (read * log_scale.exp() + magnitude_bias).clamp_min(0)
    torch.testing.assert_close(one.encode(x), expected, rtol=0, atol=1e-12)
    shut = ((read + gate_bias) <= 0) & (read * log_scale.exp() + magnitude_bias > 0)
    assert shut.any()  # else it could as well be a relu


def test_identity_is_complete():
    one = identity(4, dtype=torch.float64)
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    assert one.n_units == 4 and one.complete and one.units(x).equal(x)


def test_digest_sees_every_number_and_fact():
    encoder, rows, offset, bias, _ = tensors()
    made = [
        sparse_autoencoder("write", encoder, rows, offset, bias),
        sparse_autoencoder("hidden", encoder, rows, offset, bias),
        sparse_autoencoder("write", encoder, rows, offset),
        sparse_autoencoder("write", encoder, rows, offset, bias, site="mlp.0"),
        sparse_autoencoder("write", encoder, rows, offset, bias, activation="topk", k=2),
        sparse_autoencoder("write", encoder, rows, offset, bias, activation="topk", k=3),
        sparse_autoencoder("write", encoder, rows, offset + 1e-9, bias),
    ]
    assert len({one.digest for one in made}) == len(made)
    assert sparse_autoencoder("write", encoder.clone(), rows, offset, bias).digest == made[0].digest
    assert made[0].to(dtype=torch.float32).digest != made[0].digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"space": "resid"}, "space 'resid' is not known; valid are write, hidden"),
        ({"activation": "gelu"}, "activation 'gelu' is not known"),
        ({"activation": "topk"}, "k is None with activation 'topk'"),
        ({"k": 3}, "k is 3 with activation 'relu'"),
        ({"activation": "topk", "k": 9}, "k is 9; it must be from 1 to the 8 features"),
        ({"activation": "jumprelu"}, "a threshold belongs to activation 'jumprelu'"),
        ({"encoder": torch.zeros(8, 5).double()}, r"encoder has shape \(8, 5\); with these rows it must be \(5, 8\)"),
        ({"bias": torch.zeros(8).double()}, r"bias has shape \(8,\)"),
        ({"encoder_bias": torch.zeros(8)}, "encoder_bias is of torch.float32 and the rows of torch.float64"),
        ({"rows": torch.zeros(0, 5).double()}, r"rows have shape \(0, 5\)"),
        ({"bias": torch.full((5,), torch.nan).double()}, "bias has values that are not finite"),
        ({"complete": True, "activation": "linear"}, "said to be complete, but misses unit vectors"),
    ],
)
def test_what_does_not_fit_together_is_refused(change, message):
    encoder, rows, *_ = tensors()
    with pytest.raises(ModelError, match=message):
        Dictionary(**({"space": "write", "encoder": encoder, "rows": rows} | change))
