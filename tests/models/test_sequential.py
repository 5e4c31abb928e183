from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from compgraph.errors import ModelError
from compgraph.models.modules import build_module, from_module
from compgraph.models.network import Network
from compgraph.models.sequential import Sequential, load_sequential

CNN = [
    {"type": "conv", "channels": 4, "kernel": 3, "padding": 1, "bias": False},
    {"type": "batch-norm"},
    {"type": "relu"},
    {"type": "max-pool", "kernel": 2},
    {"type": "dropout", "rate": 0.3},
    {"type": "conv", "channels": 6, "kernel": 3, "padding": 1},
    {"type": "gelu"},
    {"type": "avg-pool", "kernel": 2},
    {"type": "flatten"},
    {"type": "linear", "features": 10},
    {"type": "batch-norm"},
    {"type": "relu"},
    {"type": "linear", "features": 3},
]


def trained_like(layers, shape, seed=0):
    """A module whose batch norms have seen data, so that folding them is not the identity."""
    torch.manual_seed(seed)
    module = build_module(layers, shape)
    module.train()
    for _ in range(3):
        module(torch.randn(16, *shape) * 2 + 1)
    return module.eval()


@pytest.fixture
def cnn():
    module = trained_like(CNN, (1, 8, 8))
    return module, from_module(module, (1, 8, 8))


def test_agrees_with_torch(cnn):
    module, net = cnn
    x = torch.randn(5, 1, 8, 8)
    assert isinstance(net, Network)
    torch.testing.assert_close(net.run(x).logits, module(x), rtol=1e-5, atol=1e-5)


def test_sites(cnn):
    _, net = cnn
    found = [(s.name, s.kind, s.level, s.n_units, s.shape) for s in net.architecture.sites]
    assert found == [
        ("input", "input", 0, 64, (1, 8, 8)),
        ("conv.0", "conv", 1, 64, (4, 4, 4)),
        ("conv.1", "conv", 2, 24, (6, 2, 2)),
        ("linear.0", "linear", 3, 10, ()),
        ("logits", "logits", 4, 3, ()),
    ]
    assert net.architecture.reads["conv.1"] == ("conv.0",)
    assert net.architecture.channels["logits"] == ("",)


def test_captured_units_are_torchs_activations(cnn):
    module, net = cnn
    x = torch.randn(2, 1, 8, 8)
    run = net.run(x, capture=["input", "conv.0", "conv.1", "linear.0", "logits"])
    torch.testing.assert_close(run.units["conv.0"], module[:4](x).flatten(1), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(run.units["conv.1"], module[:8](x).flatten(1), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(run.units["linear.0"], module[:12](x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(run.units["input"], x.flatten(1))
    torch.testing.assert_close(run.units["logits"], run.logits)


def test_gradients_reach_captured_units(cnn):
    _, net = cnn
    x = torch.randn(2, 1, 8, 8, requires_grad=True)
    run = net.run(x, capture=["conv.0"])
    gradient = torch.autograd.grad(run.logits[:, 0].sum(), run.units["conv.0"])[0]
    net64 = net.to("cpu", torch.float64)
    step = torch.zeros(64, dtype=torch.float64)
    step[7] = 1e-6

    def logit(delta):
        return net64.run(x.detach(), edit={"conv.0": lambda u: u + delta}).logits[:, 0]

    numeric = (logit(step) - logit(-step)) / 2e-6
    torch.testing.assert_close(gradient[:, 7].double(), numeric, rtol=1e-4, atol=1e-6)


def test_edit_replaces_what_the_next_site_reads(cnn):
    _, net = cnn
    x = torch.randn(2, 1, 8, 8)
    other = torch.randn(2, 1, 8, 8)
    target = net.run(other, capture=["conv.1"])
    run = net.run(x, edit={"conv.1": lambda u: target.units["conv.1"]}, capture=["conv.1"])
    torch.testing.assert_close(run.logits, target.logits)
    torch.testing.assert_close(run.units["conv.1"], target.units["conv.1"])


@pytest.mark.parametrize("site", ["conv.0", "conv.1", "linear.0", "logits"])
def test_reader_matrix_and_transpose(cnn, site):
    net = cnn[1].to("cpu", torch.float64)
    reader = net.reader(site)
    units = torch.randn(3, int(np.prod(reader.in_shape)), dtype=torch.float64)
    pre = reader(units, bias=False).flatten(1)
    torch.testing.assert_close(pre, units @ reader.matrix().T)
    gradient = torch.randn(3, *net.pre_shape(site), dtype=torch.float64)
    torch.testing.assert_close(reader.transpose(gradient), gradient.flatten(1) @ reader.matrix())


def test_mlp_on_images_and_on_vectors():
    module = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(12, 5), nn.ReLU()), nn.Linear(5, 2))
    net = from_module(module, (3, 2, 2))
    assert [s.name for s in net.architecture.sites] == ["input", "linear.0", "logits"]
    assert net.architecture.site("input").shape == (3, 2, 2)
    x = torch.randn(4, 3, 2, 2)
    torch.testing.assert_close(net.run(x).logits, module(x))
    plain = from_module(nn.Sequential(nn.Linear(4, 3)), (4,))
    assert [s.name for s in plain.architecture.sites] == ["input", "logits"]
    assert plain.run(torch.ones(2, 4)).logits.shape == (2, 3)


def test_convolutional_head():
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 4, 2), nn.AvgPool2d(5), nn.Flatten())
    net = from_module(module, (1, 8, 8))
    x = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(net.run(x).logits, module(x))
    assert net.architecture.site("logits").n_units == 4


def unit_feeders(net, site, part):
    """Brute force: the pre-activations whose change can change a unit of the part (activation: none here)."""
    pre = torch.rand(1, *net.pre_shape(site), dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda p: net.units_from(site, p), pre)
    return jacobian.reshape(-1, pre.numel())[torch.as_tensor(part)].abs().sum(0).numpy() > 0


@pytest.mark.parametrize("kernel, stride", [(2, 2), (3, 3), (2, 3), ([2, 3], [2, 3])])
def test_labels_of_pre_activations(kernel, stride):
    layers = [
        {"type": "conv", "channels": 2, "kernel": 3, "padding": 1},
        {"type": "avg-pool", "kernel": kernel, "stride": stride},
        {"type": "avg-pool", "kernel": [1, 2]},
        {"type": "flatten"},
        {"type": "linear", "features": 2},
    ]
    net = from_module(build_module(layers, (1, 7, 9)).double(), (1, 7, 9))
    labels = np.random.default_rng(0).integers(-1, 4, net.architecture.site("conv.0").n_units)
    found = net.pre_labels("conv.0", labels)
    expected = np.full(len(found), -1)
    for part in range(4):
        expected[unit_feeders(net, "conv.0", labels == part)] = part
    np.testing.assert_array_equal(found, expected)


def test_labels_of_overlapping_pools():
    layers = [
        {"type": "conv", "channels": 2, "kernel": 3, "padding": 1},
        {"type": "max-pool", "kernel": 3, "stride": 2, "padding": 1},
        {"type": "flatten"},
        {"type": "linear", "features": 2},
    ]
    net = from_module(build_module(layers, (1, 8, 8)), (1, 8, 8))
    channels = np.repeat([0, 1], 16)
    np.testing.assert_array_equal(net.pre_labels("conv.0", channels), np.repeat([0, 1], 64))
    with pytest.raises(ModelError, match="overlap"):
        net.pre_labels("conv.0", np.arange(32))


def test_save_and_load(cnn, tmp_path):
    _, net = cnn
    net.save(tmp_path / "a", training={"seed": 1})
    net.save(tmp_path / "b", training={"seed": 1})
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    same = load_sequential(tmp_path / "a")
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(net.run(x).logits, same.run(x).logits)
    assert same.digest == net.digest
    double = load_sequential(tmp_path / "a", dtype="float64")
    assert double.dtype == torch.float64 and double.digest == net.digest


def test_digest_follows_weights(cnn):
    _, net = cnn
    weights = {name: value.clone() for name, value in net.weights.items()}
    weights["logits.bias"][0] += 1e-3
    assert Sequential(net.layers, net.input_shape, weights).digest != net.digest


def corrupt(folder, how):
    weights, config = folder / "model.safetensors", folder / "config.json"
    if how == "truncated":
        weights.write_bytes(weights.read_bytes()[:-10])
    elif how == "missing":
        weights.unlink()
    elif how == "no config":
        config.unlink()
    elif how == "not json":
        config.write_text("{")
    else:
        data = json.loads(config.read_text())
        if how == "foreign":
            data["compgraph_model"] = "gpt"
        elif how == "newer":
            data["format"] = 99
        elif how == "disagrees":
            data["layers"][0]["channels"] = 5
        config.write_text(json.dumps(data))


@pytest.mark.parametrize(
    "how, message",
    [
        ("truncated", "model.safetensors: truncated"),
        ("missing", "model.safetensors: no such file"),
        ("no config", "config.json: no such file"),
        ("not json", "config.json: not readable as JSON"),
        ("foreign", "not a sequential model"),
        ("newer", "in sequential model format 99"),
        ("disagrees", "conv.0.weight is"),
    ],
)
def test_broken_folders(cnn, tmp_path, how, message):
    cnn[1].save(tmp_path / "model")
    corrupt(tmp_path / "model", how)
    with pytest.raises(ModelError, match=message):
        load_sequential(tmp_path / "model")


def test_weights_must_be_finite_and_complete(cnn):
    _, net = cnn
    weights = {name: value.clone() for name, value in net.weights.items()}
    weights["conv.1.weight"][0, 0, 0, 0] = float("nan")
    with pytest.raises(ModelError, match=r"conv\.1\.weight .*not finite"):
        Sequential(net.layers, net.input_shape, weights)
    del weights["conv.1.weight"]
    with pytest.raises(ModelError, match=r"conv\.1\.weight is missing"):
        Sequential(net.layers, net.input_shape, weights)


def test_run_refuses_what_it_cannot_use(cnn):
    _, net = cnn
    with pytest.raises(ModelError, match=r"images have shape \(1, 9, 9\); this model takes \(1, 8, 8\)"):
        net.run(torch.zeros(1, 1, 9, 9))
    with pytest.raises(ModelError, match=r"no site 'conv.7'"):
        net.run(torch.zeros(1, 1, 8, 8), capture=["conv.7"])
    with pytest.raises(ValueError, match="mask"):
        net.run(torch.zeros(1, 1, 8, 8), torch.ones(1, 1, dtype=torch.bool))
