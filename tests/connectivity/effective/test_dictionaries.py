"""Scores from and to features and errors against brute force, in float64, over every family."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from compgraph.connectivity.effective import effective_connectivity, feature_products, features, products
from compgraph.dictionaries import attach, identity, pca
from compgraph.models.parameters import from_transformers
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition
from tests.connectivity.effective import references
from tests.connectivity.effective.feature_brute import FeatureCase, halves, with_features
from tests.connectivity.effective.test_eap import make_pairs
from tests.models.tiny import ONE_PER_FAMILY, tiny_model, tiny_network

ORDERS = {"streams": (64, 8), "units": (1, 10**6), "active": (1, 0)}
"""Orders of the products: nodes carried as streams, as units, and as the features active at a token."""

PLACES = [{"mlp.0": "write"}, {"mlp.0": "hidden", "mlp.1": "write"}, {"attn.0": "hidden", "attn.1": "write"}]


@pytest.fixture(params=ORDERS)
def order(request, monkeypatch):
    """Force one of the orders in which the products can be taken."""
    few, dense = ORDERS[request.param]
    monkeypatch.setattr(products, "FEW", few)
    monkeypatch.setattr(feature_products, "DENSE", dense)
    return request.param


def assert_equal(graph, expected):
    """Mean scores [edges], to rounding of the largest."""
    scale = float(np.abs(expected).max())
    assert scale > 1e-6
    np.testing.assert_allclose(graph.weight, expected, rtol=0, atol=1e-10 * scale)


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize("where", PLACES, ids=["mlp", "mlps", "attention"])
def test_equals_autograd_on_edge_masks(variant, where, order):
    net = with_features(tiny_network(variant, dtype=torch.float64), where)
    pairs, partition = make_pairs(n=2, t=4, padded=True), halves(net, dead=variant == "qwen2")
    expected = references.eap(FeatureCase(net, partition, pairs))
    graph = effective_connectivity(net, pairs, partition)
    assert_equal(graph, expected.mean(0).numpy())
    if order == "streams":
        np.testing.assert_allclose(graph.columns["stderr"], expected.std(0).numpy() / 2**0.5, atol=1e-6)


@pytest.mark.parametrize("activation", ["topk", "jumprelu", "linear"])
@pytest.mark.parametrize("variant", ["gpt2", "gemma2"])
def test_other_activations_joined_channels_and_zero(activation, variant, order):
    where = {"mlp.0": "write", "attn.1": "write", "mlp.1": "hidden"}
    net = with_features(tiny_network(variant, dtype=torch.float64), where, activation=activation)
    pairs, partition = make_pairs(n=2, t=4, padded=True), halves(net)
    expected = references.eap(FeatureCase(net, partition, pairs, zero=True, split_qkv=False)).mean(0).numpy()
    assert_equal(effective_connectivity(net, pairs, partition, baseline="zero", split_qkv=False), expected)


def test_every_unit_by_itself_and_mixed_granularities(order):
    plain = tiny_network("gpt2", dtype=torch.float64, n_inner=6)
    net = with_features(plain, {"mlp.0": "write", "attn.1": "write"}, n_features=4)
    pairs = make_pairs(n=1, t=3)
    rules = {"attn.1": "units", "mlp.*": "units"}
    for partition in (Partition.mixed(net, rules), Partition.mixed(net, {"mlp.0": "units"}, default="heads")):
        case = FeatureCase(net, partition, pairs, metric="cross_entropy")
        graph = effective_connectivity(net, pairs, partition, metric="cross_entropy")
        assert_equal(graph, references.eap(case).mean(0).numpy())


@pytest.mark.parametrize(("n", "t"), [(1, 1), (2, 1), (1, 2)])
def test_one_token_or_example(n, t, order):
    net = with_features(tiny_network("gemma2", dtype=torch.float64), {"mlp.1": "write", "attn.1": "write"})
    pairs, partition = make_pairs(n=n, t=t), halves(net)
    graph = effective_connectivity(net, pairs, partition)
    assert_equal(graph, references.eap(FeatureCase(net, partition, pairs)).mean(0).numpy())


def test_without_any_active_feature_the_error_is_the_site(order):
    plain, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs(n=2, t=4)
    net = with_features(plain, {"mlp.0": "write", "attn.1": "write", "mlp.1": "hidden"})
    shut = {s: replace(one, encoder_bias=one.encoder_bias - 1e3) for s, one in net.dictionaries.items()}
    net = attach(plain, shut)
    graph = effective_connectivity(net, pairs, Partition.mixed(net, {"mlp.*": "units", "attn.1": "units"}))
    silent = np.array(["feature" in name for name in graph.node_names])
    assert (graph.weight[silent[graph.source] | silent[graph.target]] == 0).all()
    whole = by_site(effective_connectivity(plain, pairs, Partition.modules(plain)))
    assert by_site(graph) == pytest.approx(whole, abs=1e-10 * max(map(abs, whole.values())))


def by_site(graph):
    """(source site, target site, channel) -> sum of scores; edges from and to patterns count for their site."""
    site, sums = [s.removesuffix(".pattern") for s in graph.node_columns["site"]], {}
    for s, t, c, w in zip(graph.source, graph.target, graph.channel, graph.weight, strict=True):
        if site[s] != site[t]:  # pattern -> feature stays inside the site
            key = (site[s], site[t], graph.channels[c])
            sums[key] = sums.get(key, 0.0) + w
    return sums


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize("method", ["eap", "eap-ig-activations"])
def test_features_and_error_sum_to_the_site_of_the_plain_network(variant, method):
    """From every site, through every channel, at both ends: whatever the (random) dictionary misses is in the error."""
    plain, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(n=2, t=4, padded=True)
    net = with_features(plain, {"mlp.0": "write", "attn.1": "write", "mlp.1": "hidden"}, activation="topk")
    fine = by_site(
        effective_connectivity(net, pairs, Partition.mixed(net, {"mlp.*": "units", "attn.1": "units"}), method)
    )
    coarse = by_site(effective_connectivity(plain, pairs, Partition.modules(plain), method))
    whole = by_site(effective_connectivity(net, pairs, Partition.modules(net), method))
    assert fine.keys() == coarse.keys() == whole.keys()
    scale = max(map(abs, coarse.values()))
    for key, value in coarse.items():
        assert fine[key] == pytest.approx(value, abs=1e-10 * scale), key
        assert whole[key] == pytest.approx(value, abs=1e-10 * scale), key


@pytest.mark.parametrize("variant", ["gpt2", "llama", "gemma2"])
def test_identity_dictionaries_are_the_units_themselves(variant, order):
    plain, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(n=2, t=4)
    sites = [s for s in plain.architecture.node_sites if s.kind in ("attn", "mlp")]
    net = attach(plain, {s.name: identity(s.n_units, dtype=torch.float64) for s in sites})
    got = effective_connectivity(net, pairs, Partition.units(net))
    expected = effective_connectivity(plain, pairs, Partition.units(plain))

    def table(graph):
        names = [name.replace("neuron", "feature").replace("unit", "feature") for name in graph.node_names]
        ends = zip(graph.source, graph.target, graph.channel, graph.weight, strict=True)
        return {(names[s], names[t], graph.channels[c]): w for s, t, c, w in ends}

    got_edges, expected_edges = table(got), table(expected)
    scale = np.abs(expected.weight).max()
    for key, weight in got_edges.items():  # other heads' patterns are no sources of a plain unit: exactly nothing
        assert weight == pytest.approx(expected_edges.pop(key, 0.0), abs=1e-10 * scale), key
    assert not expected_edges


def rotated(model, rotation):
    """The network of GPT-2 weights whose MLP is linear, with the first MLP's neurons rotated."""
    spec, weights = from_transformers(model)
    block = weights.blocks[0]
    block.w_in, block.b_in, block.w_out = block.w_in @ rotation.T, block.b_in @ rotation.T, rotation @ block.w_out
    return Transformer(spec, weights)


def test_all_principal_components_are_a_rotation(monkeypatch):
    """With a linear non-linearity a rotated network exists: its neurons are the components."""
    monkeypatch.setattr("compgraph.models.transformer.ACTIVATIONS", {"relu": lambda x: x})
    model = tiny_model("gpt2-untied", dtype=torch.float64)
    plain = Transformer(*from_transformers(model))
    pairs, rng = make_pairs(n=2, t=4), np.random.default_rng(0)
    one = pca(rng.normal(size=(60, 20)) + 1, plain, "mlp.0")
    net, turned = attach(plain, {"mlp.0": one}), rotated(model, one.rows)
    got = effective_connectivity(net, pairs, Partition.mixed(net, {"mlp.0": "units"}))
    expected = effective_connectivity(turned, pairs, Partition.mixed(turned, {"mlp.0": "units"}))
    assert got.n_edges == expected.n_edges and "mlp.0/error" not in got.node_names
    assert_equal(got, expected.weight)


def test_integrated_gradients_and_other_methods():
    net = with_features(tiny_network("llama", dtype=torch.float64), {"mlp.0": "write", "attn.1": "write"})
    pairs, partition, steps = make_pairs(n=2, t=4), halves(net), 3
    case = FeatureCase(net, partition, pairs)

    def along_inputs(b):
        clean, base = case.at(case.units, b), case.at(case.base, b)
        change = case.change(clean, base)
        inputs = [base["embed"] + k / steps * (clean["embed"] - base["embed"]) for k in range(steps)]
        return sum(case.slope(b, change, embed=x) for x in inputs) / steps

    expected = {
        "eap-ig-inputs": case.per_example(along_inputs),
        "ceap": references.ceap(case, steps),
        "eap-gp": references.eap_gp(case, steps),
    }
    for method, scores in expected.items():
        assert_equal(effective_connectivity(net, pairs, partition, method, steps=steps), scores.mean(0).numpy())


def test_blocks_batches_and_examples_in_any_order(monkeypatch):
    net = with_features(tiny_network("gemma2", dtype=torch.float64), {"mlp.0": "write", "attn.1": "write"})
    monkeypatch.setattr(products, "FEW", 1)
    pairs, partition = make_pairs(n=5, t=4), Partition.mixed(net, {"mlp.*": "units", "attn.1": "units"})
    whole = effective_connectivity(net, pairs, partition)
    scale = np.abs(whole.weight).max()
    monkeypatch.setattr(features, "BLOCK_BYTES", 2**14)
    monkeypatch.setattr(feature_products, "BLOCK_BYTES", 2**10)
    monkeypatch.setattr(features, "PUSHED", 1)
    for size in (1, 2, 5):
        parts = effective_connectivity(net, pairs, partition, batch_size=size)
        np.testing.assert_allclose(parts.weight, whole.weight, rtol=0, atol=1e-12 * scale)
