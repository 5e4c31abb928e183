"""Weight norms of chains: against the definition with dense matrices, and their symmetries."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from compgraph.architecture import transformer_architecture
from compgraph.connectivity.structural import chains, edges, weight_norm
from compgraph.errors import DataError, GraphError, ModelError
from compgraph.models.modules import build_module, from_module
from compgraph.models.sequential import Sequential
from compgraph.partition import Partition

CNN = [
    {"type": "conv", "channels": 4, "kernel": 3, "padding": 1},
    {"type": "relu"},
    {"type": "max-pool", "kernel": 2},
    {"type": "conv", "channels": 6, "kernel": 3, "stride": 2, "groups": 2},
    {"type": "relu"},
    {"type": "flatten"},
    {"type": "linear", "features": 5},
    {"type": "relu"},
    {"type": "linear", "features": 3},
]


@pytest.fixture(scope="module")
def cnn() -> Sequential:
    torch.manual_seed(0)
    return from_module(build_module(CNN, (2, 10, 10)), (2, 10, 10))


@pytest.fixture(scope="module")
def mlp() -> Sequential:
    layers = [{"type": "linear", "features": 6}, {"type": "relu"}, {"type": "linear", "features": 4}]
    torch.manual_seed(1)
    return from_module(build_module(layers, (7,)), (7,))


def unit_shares(net: Sequential) -> dict[str, np.ndarray]:
    """Share of each source unit in each unit, from dense matrices and loops over pooling windows."""
    shares, scale = {}, np.ones(net.architecture.site("input").n_units)
    for stage in net.stages:
        block = net.reader(stage.site).matrix().detach().double().numpy() ** 2 * scale
        for layer in stage.tail:
            if layer["type"] == "max-pool":
                block = pooled(block, stage.pre_shape, layer["kernel"][0])
        scale = block.sum(axis=1)
        shares[stage.site] = block / scale[:, None]
    return shares


def pooled(block: np.ndarray, shape: tuple[int, ...], size: int) -> np.ndarray:
    channels, height, width = shape
    image = block.reshape(channels, height, width, -1)
    rows = [
        image[c, y : y + size, x : x + size].reshape(size * size, -1).mean(axis=0)
        for c, y, x in product(range(channels), range(0, height, size), range(0, width, size))
    ]
    return np.array(rows)


def expected(net: Sequential, part: Partition) -> dict[tuple[str, str], float]:
    found = {}
    for site, share in unit_shares(net).items():
        source = net.architecture.reads[site][0]
        for b, a in product(range(part.n_parts(site)), range(part.n_parts(source))):
            block = share[part.labels[site] == b][:, part.labels[source] == a]
            ends = (part.node_names[part.node_slice(source)][a], part.node_names[part.node_slice(site)][b])
            found[ends] = np.sqrt(block.sum(axis=1).mean())
    return found


@pytest.mark.parametrize("word", ["modules", "channels", "units"])
def test_against_the_definition(cnn: Sequential, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "BATCH_UNITS", 1000)  # several batches of parts
    part = getattr(Partition, word)(cnn)
    graph = weight_norm.compute(cnn, part)
    found = {(row.source, row.target): row.weight for row in graph.edges.itertuples()}
    wanted = expected(cnn, part)
    assert found.keys() == wanted.keys()
    np.testing.assert_allclose([found[e] for e in wanted], list(wanted.values()), rtol=1e-12, atol=1e-15)


def test_mlp_is_the_formula(mlp: Sequential) -> None:
    first, last = (mlp.weights[f"{site}.weight"].double().numpy() ** 2 for site in ("linear.0", "logits"))
    scale = first.sum(axis=1)
    graph = weight_norm.compute(mlp, Partition.units(mlp))
    table = graph.edges[graph.edges.target == "logits/class.2"]
    np.testing.assert_allclose(table.weight, np.sqrt(last[2] * scale / (last[2] @ scale)), rtol=1e-12)


def test_squares_sum_to_one_over_the_sources(cnn: Sequential) -> None:
    for part in (Partition.channels(cnn), Partition.mixed(cnn, {"conv.0": "units", "linear.*": "units"})):
        graph = weight_norm.compute(cnn, part)
        sums = np.bincount(graph.target, weights=graph.weight**2, minlength=graph.n_nodes)
        first = part.node_slice("input").stop
        np.testing.assert_allclose(sums[first:], 1, rtol=1e-12)


def rescaled(net: Sequential, factors: dict[str, torch.Tensor]) -> Sequential:
    """The same function, with each channel or neuron of the named sites scaled up and read scaled down."""
    weights = {name: value.clone() for name, value in net.weights.items()}
    for stage in net.stages:
        into = net.reader(stage.site)
        if stage.site in factors:
            for kind in ("weight", "bias"):
                value = weights[f"{stage.site}.{kind}"]
                value *= factors[stage.site].reshape(-1, *[1] * (value.dim() - 1))
        if stage.source in factors:
            a, value = factors[stage.source], weights[f"{stage.site}.weight"]
            if into.kind == "linear":
                value /= a.repeat_interleave(value.shape[1] // len(a))
            else:
                per_group = value.shape[0] // into.groups
                groups = a.reshape(into.groups, -1).repeat_interleave(per_group, dim=0)
                value /= groups[:, :, None, None]
    return Sequential(net.layers, net.input_shape, weights)


def test_rescaling_hidden_units_changes_nothing_at_all(cnn: Sequential) -> None:
    # Powers of two, so that floating point adds no rounding of its own and equality is exact.
    rng = np.random.default_rng(0)
    sizes = {"conv.0": 4, "conv.1": 6, "linear.0": 5}
    factors = {s: torch.tensor(2.0 ** rng.integers(-6, 7, n), dtype=torch.float32) for s, n in sizes.items()}
    other = rescaled(cnn, factors)
    images = torch.randn(3, 2, 10, 10)
    assert torch.equal(cnn.run(images).logits, other.run(images).logits)
    assert not torch.equal(cnn.weights["conv.1.weight"], other.weights["conv.1.weight"])
    for word in ("modules", "channels", "units"):
        part = getattr(Partition, word)(cnn)
        assert np.array_equal(weight_norm.compute(cnn, part).weight, weight_norm.compute(other, part).weight)


def test_it_does_depend_on_the_weights(cnn: Sequential) -> None:
    weights = {name: value.clone() for name, value in cnn.weights.items()}
    weights["conv.1.weight"][0, 0] *= 3
    other = Sequential(cnn.layers, cnn.input_shape, weights)
    part = Partition.channels(cnn)
    change = weight_norm.compute(other, part).weight - weight_norm.compute(cnn, part).weight
    names = [*zip(*(weight_norm.compute(cnn, part).edges[c] for c in ("source", "target")), strict=True)]
    assert change[names.index(("conv.0/channel.0", "conv.1/channel.0"))] > 0.01
    assert change[names.index(("conv.0/channel.1", "conv.1/channel.0"))] < 0
    assert change[names.index(("conv.0/channel.0", "conv.1/channel.1"))] == 0


def test_dead_units_keep_their_share_to_themselves(mlp: Sequential) -> None:
    whole = weight_norm.compute(mlp, Partition.units(mlp)).edges
    part = Partition.mixed(mlp, {"linear.0": Partition.from_labels({"linear.0": [0, -1, 0, 0, -1, 0]})})
    edge = weight_norm.compute(mlp, part).edges.set_index(["source", "target"]).loc[("linear.0/roi.0", "logits")]
    shares = (whole[whole.target.str.startswith("logits")].weight.to_numpy() ** 2).reshape(4, 6)
    assert edge.weight == pytest.approx(np.sqrt(shares[:, [0, 2, 3, 5]].sum(axis=1).mean()), rel=1e-12)


def test_sites_left_out_still_carry_the_scales(cnn: Sequential) -> None:
    part = Partition.channels(cnn)
    some = weight_norm.compute(cnn, part.restrict(["linear.0", "logits"]))
    whole = weight_norm.compute(cnn, part)
    assert some.n_edges == 15
    assert np.array_equal(some.weight, whole.weight[-15:])


def test_units_without_input_are_reported(mlp: Sequential) -> None:
    weights = {name: value.clone() for name, value in mlp.weights.items()}
    weights["linear.0.weight"][3] = 0
    graph = weight_norm.compute(Sequential(mlp.layers, mlp.input_shape, weights), Partition.units(mlp))
    assert graph.attributes["units_without_input"] == {"linear.0": 1}
    table = graph.edges
    assert (table.weight[table.target == "linear.0/neuron.3"] == 0).all()
    assert (table.weight[table.source == "linear.0/neuron.3"] == 0).all()


def test_kind_attributes_and_order(mlp: Sequential) -> None:
    graph = weight_norm.compute(mlp, Partition.modules(mlp))
    assert graph.kind == "structural" and graph.directed and graph.channels == ("",)
    assert graph.weight.tolist() == pytest.approx([1, 1])
    assert graph.prune().n_nodes == 3


def test_refuses(mlp: Sequential, cnn: Sequential, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GraphError, match="'input' has 200 labels"):
        weight_norm.compute(mlp, Partition.channels(cnn))

    class Other:
        kind, family = "transformer", "gpt2"
        architecture = transformer_architecture(
            "gpt2", n_layers=1, n_heads=1, d_head=2, d_model=2, d_mlp=2, vocabulary=3
        )

    with pytest.raises(ModelError, match="use 'composition'"):
        weight_norm.compute(Other(), Partition.modules(Other()))
    monkeypatch.setattr(edges, "available_memory", lambda: 1000)
    with pytest.raises(DataError, match=r"edges need about .* are free; use channels, or a coarser partition"):
        weight_norm.compute(cnn, Partition.units(cnn))
