"""Composition against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compgraph.connectivity.structural import structural_connectivity
from compgraph.errors import GraphError, ModelError
from compgraph.partition import Partition
from tests.connectivity.effective.test_eap import SPLITTABLE, chain
from tests.connectivity.structural.dense import Dense, by_feature, ends, featured
from tests.models.tiny import ONE_PER_FAMILY, tiny_network


def some_parts(net) -> Partition:
    """Two parts across heads at attention (so that patterns are nodes), parts of unequal size at MLPs."""
    labels = {}
    for site in net.architecture.node_sites:
        values = np.zeros(site.n_units, int)
        if site.kind == "attn":
            values = np.arange(site.n_units) % 2
        elif site.kind == "mlp":
            values[:3], values[3] = 1, -1
        labels[site.name] = values
    return Partition.from_labels(labels)


def expected(a, b, norm):
    if norm == "top":
        return abs(float(torch.linalg.svd(a).Vh[0] @ torch.linalg.svd(b).U[:, 0]))
    order = "fro" if norm == "frobenius" else 2
    sizes = [torch.linalg.matrix_norm(x, ord=order) for x in (a @ b, a, b)]
    return float(sizes[0] / (sizes[1] * sizes[2]))


@pytest.mark.parametrize("variant", SPLITTABLE)
def test_frobenius_equals_dense_matrices(variant):
    net = tiny_network(variant, dtype=torch.float64)
    graph = structural_connectivity(net, Partition.heads(net))
    for k, a, b in ends(net, graph):
        assert graph.weight[k] == pytest.approx(expected(a, b, "frobenius"), abs=1e-10)


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize("norm", ["frobenius", "spectral", "top"])
def test_parts_finer_than_heads_equal_dense_matrices(variant, norm):
    net = tiny_network(variant, dtype=torch.float64)
    for part in (some_parts(net), Partition.heads(net)):
        graph = structural_connectivity(net, part, norm=norm, rotated=0)
        for k, a, b in ends(net, graph):
            assert graph.weight[k] == pytest.approx(expected(a, b, norm), abs=1e-10)


@pytest.mark.parametrize("variant", ["gpt2", "llama", "gemma2"])
def test_features_equal_dense_matrices(variant):
    net = featured(tiny_network(variant, dtype=torch.float64))
    graph = structural_connectivity(net, by_feature(net))
    checked = 0
    for k, a, b in ends(net, graph):
        assert graph.weight[k] == pytest.approx(expected(a, b, "frobenius"), abs=1e-10)
        checked += 1
    assert checked > 200


def test_patterns_have_the_share_of_values_that_come_through_their_head():
    net = tiny_network("gpt2", dtype=torch.float64)
    graph = structural_connectivity(net, some_parts(net))
    nodes, maps = graph.node_columns, Dense(net).value_maps("attn.1", list(range(1, 24, 2)))
    total = sum(float(m.square().sum()) for m in maps)
    table = graph.edges.query("target == 'attn.1/roi.1' and channel == ''")
    np.testing.assert_allclose(table.weight, [float(m.norm()) / total**0.5 for m in maps], atol=1e-12)
    assert table.p.isna().all() and len(nodes["name"]) == graph.n_nodes


def test_module_scores_add_squares_of_heads():
    net = tiny_network("gpt2", dtype=torch.float64)
    graph = structural_connectivity(net, Partition.modules(net))
    assert graph.weight.min() > 0 and graph.weight.max() <= 1
    for k, a, b in ends(net, graph):
        assert graph.weight[k] == pytest.approx(expected(a, b, "frobenius"), abs=1e-10)


def test_methods_and_options_are_checked():
    net = tiny_network("gpt2")
    with pytest.raises(ModelError, match="weight-norm"):
        structural_connectivity(net, Partition.heads(net), "weight-norm")
    with pytest.raises(ModelError, match="composition"):
        structural_connectivity(chain(), Partition.channels(chain()), "composition")
    with pytest.raises(GraphError, match="no option 'keep'; its options: norm, rotated"):
        structural_connectivity(net, Partition.heads(net), keep=3)
    with pytest.raises(GraphError, match="norm 'nuclear' is not known; valid are frobenius, spectral, top"):
        structural_connectivity(net, Partition.heads(net), norm="nuclear")
    with pytest.raises(GraphError, match="rotated is 1"):
        structural_connectivity(net, Partition.heads(net), norm="spectral", rotated=1)
