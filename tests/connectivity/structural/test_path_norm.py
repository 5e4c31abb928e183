"""Path norms of chains: against sums over all paths, and their symmetry."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from compgraph.connectivity.structural import structural_connectivity
from compgraph.errors import GraphError, ModelError
from compgraph.models.modules import build_module, from_module
from compgraph.partition import Partition
from tests.connectivity.structural.test_weight_norm import CNN, pooled, rescaled
from tests.models.tiny import tiny_network


def network(layers, shape, seed=0):
    torch.manual_seed(seed)
    return from_module(build_module(layers, shape), shape)


@pytest.fixture(scope="module")
def cnn():
    return network(CNN, (2, 10, 10))


def blocks(net):
    """Dense squared weights [units, source units] of every stage, poolings averaged."""
    found = []
    for stage in net.stages:
        block = net.reader(stage.site).matrix().detach().double().numpy() ** 2
        for layer in stage.tail:
            if layer["type"] == "max-pool":
                block = pooled(block, stage.pre_shape, layer["kernel"][0])
        found.append((stage, block))
    return found


def test_an_mlp_is_a_sum_over_paths():
    net = network([{"type": "linear", "features": 3}, {"type": "relu"}, {"type": "linear", "features": 2}], (4,))
    first, last = (net.weights[f"{site}.weight"].double().numpy() ** 2 for site in ("linear.0", "logits"))
    paths = {(i, j, k): first[j, i] * last[k, j] for i, j, k in product(range(4), range(3), range(2))}
    whole = sum(paths.values())
    graph = structural_connectivity(net, Partition.units(net), "path-norm", rotated=0)
    table = graph.edges.set_index(["source", "target"]).weight
    for j, k in product(range(3), range(2)):
        share = sum(value for path, value in paths.items() if path[1:] == (j, k)) / whole
        assert table[f"linear.0/neuron.{j}", f"logits/class.{k}"] == pytest.approx(share**0.5, abs=1e-12)
    assert graph.attributes["path_norm"] == pytest.approx(whole**0.5)


@pytest.mark.parametrize("word", ["modules", "channels"])
def test_a_cnn_equals_dense_matrices(cnn, word):
    part = getattr(Partition, word)(cnn)
    table = structural_connectivity(cnn, part, "path-norm", rotated=0).edges.set_index(["source", "target"]).weight
    found = blocks(cnn)
    for n, (stage, block) in enumerate(found):
        into = np.ones(found[0][1].shape[1])
        for _, one in found[:n]:
            into = one @ into
        onward = np.ones(len(found[-1][1]))
        for _, one in reversed(found[n + 1 :]):
            onward = one.T @ onward
        flow = onward[:, None] * block * into
        flow /= flow.sum()
        names = [part.node_names[part.node_slice(s)] for s in (stage.site, stage.source)]
        for (b, target), (a, source) in product(*map(enumerate, names)):
            some = flow[part.labels[stage.site] == b][:, part.labels[stage.source] == a]
            assert table[source, target] == pytest.approx(some.sum() ** 0.5, abs=1e-10)


def test_rescaling_changes_neither_weights_nor_significance(cnn):
    rng = np.random.default_rng(0)
    sizes = {"conv.0": 4, "conv.1": 6, "linear.0": 5}
    factors = {s: torch.tensor(2.0 ** rng.integers(-6, 7, n), dtype=torch.float32) for s, n in sizes.items()}
    part = Partition.channels(cnn)
    for method in ("weight-norm", "path-norm"):
        one, other = (structural_connectivity(n, part, method, rotated=5) for n in (cnn, rescaled(cnn, factors)))
        np.testing.assert_allclose(other.weight, one.weight, rtol=1e-12)
        np.testing.assert_allclose(other.columns["z"], one.columns["z"], rtol=1e-6, atol=1e-8)


def test_batch_norm_is_part_of_the_weights():
    layers = [
        {"type": "conv", "channels": 3, "kernel": 3},
        {"type": "batch-norm"},
        {"type": "relu"},
        {"type": "flatten"},
        {"type": "linear", "features": 2},
    ]
    torch.manual_seed(0)
    module = build_module(layers, (1, 5, 5)).eval()
    before = structural_connectivity(net := from_module(module, (1, 5, 5)), Partition.channels(net), "path-norm")
    norm = next(m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d))
    with torch.no_grad():  # a channel blown up by its batch norm, and read as much smaller
        norm.weight[1] *= 8
        norm.bias[1] *= 8
        next(m for m in module.modules() if isinstance(m, torch.nn.Linear)).weight[:, 9:18] /= 8
    after = structural_connectivity(from_module(module, (1, 5, 5)), Partition.channels(net), "path-norm")
    np.testing.assert_allclose(after.weight, before.weight, rtol=1e-6)


def test_refuses(cnn):
    with pytest.raises(GraphError, match="path-norm: rotated is 1"):
        structural_connectivity(cnn, Partition.channels(cnn), "path-norm", rotated=1)
    net = tiny_network("gpt2")
    with pytest.raises(ModelError, match="does not serve transformer"):
        structural_connectivity(net, Partition.heads(net), "path-norm")
