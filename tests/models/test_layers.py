from __future__ import annotations

import pytest

from compgraph.errors import ModelError
from compgraph.models.layers import parse_layers, sequential_architecture, stages

CNN = [
    {"type": "conv", "channels": 4, "kernel": [3, 1], "padding": [1, 0]},
    {"type": "relu"},
    {"type": "max-pool", "kernel": 2},
    {"type": "flatten"},
    {"type": "linear", "features": 10, "bias": False},
    {"type": "relu"},
    {"type": "dropout"},
    {"type": "linear", "features": 3},
]


def test_defaults_are_filled():
    conv, _, pool, *_ = parse_layers(CNN)
    assert conv == {
        "type": "conv", "channels": 4, "kernel": [3, 1], "stride": [1, 1], "padding": [1, 0], "dilation": [1, 1],
        "groups": 1, "bias": True,
    }  # fmt: skip
    assert pool == {"type": "max-pool", "kernel": [2, 2], "stride": [2, 2], "padding": [0, 0]}
    assert parse_layers(parse_layers(CNN)) == parse_layers(CNN)


def test_stages():
    found = stages(parse_layers(CNN), (1, 8, 6))
    assert [(s.site, s.source, s.in_shape, s.pre_shape, s.shape) for s in found] == [
        ("conv.0", "input", (1, 8, 6), (4, 8, 6), (4, 4, 3)),
        ("linear.0", "conv.0", (48,), (10,), (10,)),
        ("logits", "linear.0", (10,), (3,), (3,)),
    ]
    assert [layer["type"] for layer in found[0].tail] == ["relu", "max-pool"]


def test_architecture():
    architecture = sequential_architecture(stages(parse_layers(CNN), (1, 8, 6)), (1, 8, 6))
    assert architecture.kind == "sequential"
    assert [(s.name, s.kind, s.level, s.n_units, s.shape) for s in architecture.sites] == [
        ("input", "input", 0, 48, (1, 8, 6)),
        ("conv.0", "conv", 1, 48, (4, 4, 3)),
        ("linear.0", "linear", 2, 10, ()),
        ("logits", "logits", 3, 3, ()),
    ]
    assert architecture.reads == {"conv.0": ("input",), "linear.0": ("conv.0",), "logits": ("linear.0",)}


@pytest.mark.parametrize(
    "layers, message",
    [
        ([], "empty"),
        ([{"type": "lstm"}], r"layer 0: type 'lstm' is not supported; supported are conv, linear"),
        ([{"type": "conv", "channels": 3}], r"layer 0 \(conv\): option 'kernel' is missing"),
        ([{"type": "relu", "slope": 1}], "unknown option 'slope'"),
        ([{"type": "linear", "features": 0}], "features is 0"),
        ([{"type": "linear", "features": 3, "bias": 1}], "bias is 1"),
        ([{"type": "relu"}, {"type": "flatten"}, {"type": "linear", "features": 3}], r"layer 0 \(relu\) comes before"),
        ([{"type": "linear", "features": 3}], r"layer 0 \(linear\) needs a flat input"),
        ([{"type": "flatten"}, {"type": "conv", "channels": 1, "kernel": 1}], r"layer 1 \(conv\) needs an input"),
        ([{"type": "flatten"}, {"type": "linear", "features": 3}, {"type": "relu"}], "output is the logits"),
        ([{"type": "conv", "channels": 3, "kernel": 9}], "larger than its input"),
        ([{"type": "conv", "channels": 3, "kernel": 3}], "one logit per class"),
        ([{"type": "flatten"}], "no reader"),
    ],
)
def test_bad_descriptions(layers, message):
    with pytest.raises(ModelError, match=message):
        stages(parse_layers(layers), (1, 8, 8))


@pytest.mark.parametrize("shape", [(8, 8), (0,), (1, 8, -1), (1.0, 8, 8)])
def test_bad_input_shapes(shape):
    with pytest.raises(ModelError, match="input_shape is"):
        stages(parse_layers(CNN), shape)
