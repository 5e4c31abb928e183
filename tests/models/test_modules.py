from __future__ import annotations

import pytest
import torch
from torch import nn

from compgraph.errors import ModelError
from compgraph.models.modules import build_module, from_module


def test_build_module_makes_what_the_description_says():
    layers = [
        {"type": "conv", "channels": 4, "kernel": 3, "padding": 1, "bias": False},
        {"type": "batch-norm"},
        {"type": "silu"},
        {"type": "avg-pool", "kernel": 2},
        {"type": "flatten"},
        {"type": "dropout", "rate": 0.1},
        {"type": "linear", "features": 3},
    ]
    module = build_module(layers, (2, 6, 6))
    kinds = [nn.Conv2d, nn.BatchNorm2d, nn.SiLU, nn.AvgPool2d, nn.Flatten, nn.Dropout, nn.Linear]
    assert [type(part) for part in module] == kinds
    assert module[0].bias is None and module[0].weight.shape == (4, 2, 3, 3) and module[6].in_features == 36


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_batch_norms_are_folded(affine, bias):
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 3, 3, bias=bias), nn.BatchNorm2d(3, affine=affine), nn.ReLU(), nn.Flatten(),
        nn.Linear(48, 5, bias=bias), nn.BatchNorm1d(5, affine=affine), nn.ReLU(), nn.Linear(5, 2),
    )  # fmt: skip
    module.train()
    for _ in range(5):
        module(torch.randn(32, 1, 6, 6) * 3 + 1)
    if affine:
        nn.init.normal_(module[1].weight)
        nn.init.normal_(module[1].bias)
    module.eval()
    net = from_module(module, (1, 6, 6))
    x = torch.randn(4, 1, 6, 6)
    torch.testing.assert_close(net.run(x).logits, module(x), rtol=1e-5, atol=1e-5)
    assert all(layer["type"] != "batch-norm" for layer in net.layers)


def test_the_module_is_not_shared():
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    net = from_module(module, (1, 2, 2))
    before = net.run(torch.ones(1, 1, 2, 2)).logits
    with torch.no_grad():
        module[1].weight.zero_()
    assert torch.equal(net.run(torch.ones(1, 1, 2, 2)).logits, before)


def test_strided_dilated_grouped_convolution():
    module = nn.Sequential(
        nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2),
        nn.Tanh(),
        nn.Conv2d(4, 5, 3, padding="same"),
        nn.SiLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Identity(),
        nn.Linear(5, 2, bias=False),
    )
    net = from_module(module, (2, 9, 7))
    x = torch.randn(3, 2, 9, 7)
    torch.testing.assert_close(net.run(x).logits, module(x))
    reader = net.reader("conv.0")
    pre = reader(x.flatten(1), bias=False).flatten(1)
    torch.testing.assert_close(pre, x.flatten(1) @ reader.matrix().T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "module, message",
    [
        (nn.Sequential(nn.Flatten(), nn.LSTM(4, 4)), r"layer 1 \(LSTM\) is not supported; supported are Conv2d"),
        (nn.Sequential(nn.Conv2d(1, 2, 3, padding_mode="reflect", padding=1)), "padding_mode is 'reflect'"),
        (
            nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(72, 2)),
            r"layer 2 \(batch-norm\) must follow a conv or linear",
        ),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2, ceil_mode=True)), "ceil_mode"),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.GELU("tanh")), "approximate"),
        (nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(64, 2), nn.ReLU()), r"layer 3 \(relu\) follows"),
    ],
)
def test_modules_that_a_chain_cannot_hold(module, message):
    with pytest.raises(ModelError, match=message):
        from_module(module, (1, 8, 8))
