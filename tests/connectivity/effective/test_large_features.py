"""Strongest edges from and to the features of dictionaries, against the graph of all edges, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compgraph.connectivity.blockwise.score_matrix import open_score_matrix
from compgraph.connectivity.effective import effective_connectivity, feature_products, products
from compgraph.dictionaries import attach, pca
from compgraph.partition import Partition
from tests.connectivity.effective.feature_brute import halves, with_features
from tests.connectivity.effective.test_eap import make_pairs
from tests.connectivity.effective.test_large import ALL, assert_same, in_order, small_budgets, stored_edges
from tests.models.tiny import ONE_PER_FAMILY, tiny_network

PLACES = {
    "mlps": {"mlp.0": "hidden", "mlp.1": "write"},
    "attention": {"attn.0": "hidden", "attn.1": "write"},
    "all": {"attn.1": "write", "mlp.0": "write", "mlp.1": "hidden"},
}


@pytest.fixture(params=["streams", "units", "active"])
def order(request, monkeypatch):
    """Few nodes, many nodes, and many of which few are active."""
    few, dense = {"streams": (64, 8), "units": (1, 10**6), "active": (1, 0)}[request.param]
    monkeypatch.setattr(products, "FEW", few)
    monkeypatch.setattr(feature_products, "DENSE", dense)
    return request.param


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("split_qkv", [True, False])
def test_all_edges_kept_are_the_dense_graph(where, split_qkv, order):
    net = with_features(tiny_network("gpt2", dtype=torch.float64), PLACES[where], n_features=6)
    pairs = make_pairs(n=2, t=4, padded=True)
    for partition in (halves(net, dead=True), Partition.units(net), Partition.modules(net)):
        dense = effective_connectivity(net, pairs, partition, split_qkv=split_qkv)
        graph = effective_connectivity(net, pairs, partition, split_qkv=split_qkv, keep=ALL)
        assert graph.n_edges == dense.n_edges
        assert_same(graph, dense)


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
def test_every_family(variant, monkeypatch):
    monkeypatch.setattr(products, "FEW", 1)
    net = with_features(tiny_network(variant, dtype=torch.float64), PLACES["all"], n_features=6, activation="topk")
    pairs, partition = make_pairs(n=2, t=4, padded=True), halves(net, dead=True)
    dense = effective_connectivity(net, pairs, partition)
    assert_same(effective_connectivity(net, pairs, partition, keep=ALL), dense)


@pytest.mark.parametrize("method", ["eap", "clean-corrupted"])
def test_strongest_and_block_sizes(method, order, monkeypatch):
    net = with_features(tiny_network("gpt2", dtype=torch.float64), PLACES["all"], n_features=6)
    pairs = make_pairs(n=3, t=4, padded=True)
    partition = Partition.mixed(net, {"mlp.*": "units", "attn.1": "units"}, default="heads")
    dense = effective_connectivity(net, pairs, partition, method)
    whole = effective_connectivity(net, pairs, partition, method, keep=3, keep_overall=20)
    assert_same(whole, dense, 3, 20)
    small_budgets(monkeypatch)
    for size in (None, 2):
        graph = effective_connectivity(net, pairs, partition, method, batch_size=size, keep=3, keep_overall=20)
        np.testing.assert_array_equal(in_order(graph)[0], in_order(whole)[0])
        assert_same(graph, dense, 3, 20)
        assert graph.attributes["histogram"] == whole.attributes["histogram"]


@pytest.mark.parametrize("variant", ["gpt2", "gemma2"])
def test_zero_baseline_and_complete_dictionaries(variant, order):
    plain, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(n=2, t=4)
    rng = np.random.default_rng(0)
    sample = {site: rng.standard_normal((80, plain.architecture.site(site).n_units)) for site in ("mlp.0", "attn.1")}
    found = {
        "mlp.0": pca(sample["mlp.0"], plain, "mlp.0", centred=False),
        "attn.1": pca(sample["attn.1"], plain, "attn.1", n_components=3, centred=False),
    }
    net = attach(plain, found)
    partition = Partition.mixed(net, {"mlp.0": "units", "attn.1": "units"}, default="modules")
    dense = effective_connectivity(net, pairs, partition, baseline="zero")
    assert_same(effective_connectivity(net, pairs, partition, baseline="zero", keep=ALL), dense)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.5)])
def test_lower_precision(dtype, tolerance, monkeypatch):
    monkeypatch.setattr(products, "FEW", 1)
    graphs = []
    for kind in (torch.float64, dtype):
        made = with_features(tiny_network("gemma2", dtype=torch.float64), PLACES["all"], activation="linear")
        net = attach(tiny_network("gemma2", dtype=kind), made.dictionaries)
        graphs.append(effective_connectivity(net, make_pairs(n=3, t=4), halves(net), keep=ALL))
    exact, graph = graphs
    assert graph.weight.dtype == np.float32
    assert np.abs(graph.weight - exact.weight).max() < tolerance * np.abs(exact.weight).max()


def test_matrix_of_all_scores(order, tmp_path, monkeypatch):
    small_budgets(monkeypatch)
    net = with_features(tiny_network("gpt2", dtype=torch.float64), PLACES["all"], n_features=6)
    pairs, partition = make_pairs(n=2, t=4), halves(net)
    dense = effective_connectivity(net, pairs, partition)
    effective_connectivity(net, pairs, partition, matrix=tmp_path / "m.json")
    found = np.array(list(stored_edges(dense, open_score_matrix(tmp_path / "m.json"))))
    np.testing.assert_allclose(found, dense.weight, rtol=1e-6, atol=1e-6 * np.abs(dense.weight).max())
