"""Methods beyond eap at features, errors and patterns, against explicit versions in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from compgraph.connectivity.effective import effective_connectivity, gradient_norm, products, streams
from compgraph.connectivity.effective.relp import relevance_network
from compgraph.dictionaries import FeatureTransformer, attach, identity
from compgraph.partition import Partition
from tests.connectivity.effective import references
from tests.connectivity.effective.feature_brute import FeatureBrute, FeatureCase, explicit_units, halves, with_features
from tests.connectivity.effective.references import BruteRules, Dropped, Rules
from tests.connectivity.effective.test_dictionaries import by_site
from tests.connectivity.effective.test_eap import cutting, make_pairs
from tests.connectivity.effective.test_node_ig import NodeCase, compare
from tests.connectivity.effective.test_paths import check
from tests.models.tiny import ONE_PER_FAMILY, tiny_network

EVERYWHERE = {"attn.0": "hidden", "mlp.0": "write", "attn.1": "write", "mlp.1": "hidden"}
METHODS = ("relp", "gradient-norm", "attention-rollout", "information-flow-routes", "node-ig", "qk_fix", "grad_drop")


def scores(net, pairs, partition, name, **options):
    if name in ("qk_fix", "grad_drop"):
        return effective_connectivity(net, pairs, partition, "eap", **{name: True}, **options)
    steps = {"steps": 2, "edge_steps": 2} if name == "node-ig" else {}
    return effective_connectivity(net, pairs, partition, name, **steps, **options)


def finer(variant, nodes, where=EVERYWHERE, layers=None, **options):
    """A network and a partition: features, or parts that cut through heads."""
    plain = tiny_network(variant, dtype=torch.float64, **(layers or {}))
    net = with_features(plain, where, **options) if nodes == "features" else plain
    return net, make_pairs(n=2, t=4, padded=True), halves(net, dead=True) if nodes == "features" else cutting(net)


class FeatureRules(Rules, FeatureTransformer):
    """The rules of relevance propagation around dictionaries."""


class FeatureBruteRules(BruteRules, FeatureBrute):
    """Brute force under the rules."""


class FeatureDropped(Dropped, FeatureBrute):
    """Brute force with one block that no gradient goes through."""


class FeatureNodeCase(FeatureCase, NodeCase):
    """node-ig by hand at features."""


def by_rules(net, pairs, partition, **options):
    plain = net.inner if isinstance(net, FeatureTransformer) else net
    rules = Rules(plain.spec, plain.weights)
    rules = FeatureRules(rules, net.dictionaries) if isinstance(net, FeatureTransformer) else rules
    brute = FeatureBruteRules(rules, partition, options.get("split_qkv", True))
    return references.eap(FeatureCase(rules, partition, pairs, brute=brute, **options))


def flow_by_hand(net, pairs, partition):
    """(source, target, channel) -> mean share, source by source."""
    brute = FeatureBrute(net, partition)
    tokens, real = torch.from_numpy(pairs.clean), torch.from_numpy(pairs.mask)
    sites = list(partition.sites)
    patterns = [s for s in brute.partition.sites if s.endswith(".pattern")]
    with torch.no_grad():
        units = net.run(tokens, real, capture=[*sites[:-1], *patterns]).units
    writes = {}
    for site in sites[:-1]:
        writes |= brute.writes(site, units[site], False)
    found = {}

    def note(whole, pieces, targets, channels, at_end=False):
        raw = {s: (whole.abs().sum(-1) - (whole - p).abs().sum(-1)).clamp_min(0) for s, p in pieces.items()}
        total = sum(raw.values())
        for s, p in raw.items():
            share = torch.where(total > 0, p / total, 0.0)
            if at_end:
                mean = share[torch.arange(len(tokens)), torch.from_numpy(pairs.positions)].mean()
            else:
                mean = ((share * real).sum(-1) / real.sum(-1)).mean()
            found.update({(s, t, c): float(mean) for t in targets for c in channels})

    x = before = net.add_positions(units["embed"], net.context(tokens, real))
    for site in sites[1:]:
        read = [s for name in net.architecture.reads[site] for s in nodes_of(brute.partition, name)]
        stream = before if net.spec.parallel and site.startswith("mlp") else x
        fine = f"{site}.pattern" in patterns
        channels = "" if not site.startswith("attn") else "v" if fine else "qkv"
        pieces = {s: writes[s] for s in read}
        note(stream, pieces, nodes_of(brute.partition, site), channels or [""], site == "logits")
        if fine:
            heads = nodes_of(brute.partition, f"{site}.pattern")
            note(stream, pieces, heads, "qk")
            through = list(by_head(net, site, stream, units[f"{site}.pattern"]))
            for part, target in enumerate(nodes_of(brute.partition, site)):
                own = torch.from_numpy(partition.labels[site] == part)
                note(units[site] * own, {s: u * own for s, u in zip(heads, through, strict=True)}, [target], [""])
        before = x if site.startswith("attn") else before
        x = x if site == "logits" else x + net.write(site, units[site])
    return found


def nodes_of(partition, site):
    nodes = partition.node_slice(site)
    return range(nodes.start, nodes.stop)


def by_head(net, site, stream, pattern):
    """What every head adds to the units of an attention site: the derivative along its output, at a fixed scale."""
    layer = int(site.split(".")[1])
    hidden = net.mix(pattern, net.values(layer, net.read_attention(layer, stream).pre["v"]))
    frozen = net
    if isinstance(net, FeatureTransformer):  # a post-norm's scale stays as it is
        frozen = FeatureRules(Rules(net.inner.spec, net.inner.weights), net.dictionaries)
    for head in range(net.spec.n_heads):
        own = torch.zeros_like(hidden)
        own[..., head * net.spec.d_head : (head + 1) * net.spec.d_head] = 1
        if net.architecture.site(site).n_features:
            function = lambda h: explicit_units(frozen, site, h)  # noqa: E731
            yield torch.autograd.functional.jvp(function, hidden, hidden * own)[1]
        else:
            yield hidden * own


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize("nodes", ["features", "fine"])
def test_relp(variant, nodes):
    net, pairs, partition = finer(variant, nodes)
    check(effective_connectivity(net, pairs, partition, "relp"), by_rules(net, pairs, partition))


@pytest.mark.parametrize("few", [64, 1])
@pytest.mark.parametrize("activation", ["topk", "jumprelu"])
def test_relp_other_activations_joined_and_zero(activation, few, monkeypatch):
    monkeypatch.setattr(products, "FEW", few)
    net, pairs, partition = finer("gemma2", "features", activation=activation)
    graph = effective_connectivity(net, pairs, partition, "relp", baseline="zero", split_qkv=False)
    expected = by_rules(net, pairs, partition, zero=True, split_qkv=False).mean(0).numpy()
    np.testing.assert_allclose(graph.weight, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize(
    "variant, nodes", [("gpt2", "features"), ("neox", "fine"), ("gemma2", "features"), ("qwen3", "fine")]
)
def test_gradient_norm(variant, nodes, monkeypatch):
    monkeypatch.setattr(gradient_norm, "BLOCK_BYTES", 2**11)
    layers = {"num_hidden_layers": 2} if variant == "gemma2" else {}
    net, pairs, partition = finer(variant, nodes, layers=layers)
    split = variant != "gemma2"
    graph = effective_connectivity(net, pairs, partition, "gradient-norm", split_qkv=split)
    check(graph, references.gradient_norm(FeatureCase(net, partition, pairs, split_qkv=split)))


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize("nodes", ["features", "fine"])
@pytest.mark.parametrize("split", [True, False])
def test_gradient_norm_bounds_eap(variant, nodes, split):
    net, pairs, partition = finer(variant, nodes)
    graph = effective_connectivity(net, pairs, partition, "gradient-norm", split_qkv=split)
    plain = effective_connectivity(net, pairs, partition, split_qkv=split)
    assert (np.abs(plain.weight) <= graph.weight + 1e-12).all()


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize("nodes", ["features", "fine"])
def test_attention_rollout(variant, nodes):
    net, pairs, partition = finer(variant, nodes)
    zero = variant == "gpt2"
    options = {"baseline": "zero" if zero else "counterfactual"}
    graph = effective_connectivity(net, pairs, partition, "attention-rollout", **options)
    check(graph, references.attention_rollout(FeatureCase(net, partition, pairs, zero=zero)))
    joined = effective_connectivity(net, pairs, partition, "attention-rollout", split_qkv=False, **options)
    assert joined.weight.sum() == pytest.approx(graph.weight.sum())


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize("nodes", ["features", "fine"])
def test_information_flow_routes(variant, nodes, monkeypatch):
    monkeypatch.setattr(products, "FEW", 2)
    monkeypatch.setattr(streams, "BLOCK_BYTES", 2**11)
    net, pairs, partition = finer(variant, nodes)
    graph = effective_connectivity(net, pairs, partition, "information-flow-routes")
    expected = flow_by_hand(net, pairs, partition)
    names = np.array(graph.channels)[graph.channel]
    for s, t, c, w in zip(graph.source, graph.target, names, graph.weight, strict=True):
        assert w == pytest.approx(expected.pop((s, t, c)), abs=1e-12)
    assert all(value == 0 for value in expected.values())  # patterns that do not serve a part
    readings = {}
    for t, c, w in zip(graph.target, names, graph.weight, strict=True):
        readings[t, c] = readings.get((t, c), 0.0) + w
    assert max(readings.values()) == pytest.approx(1.0) and min(readings.values()) >= 0


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize("zero", [False, True])
def test_node_ig_of_features(variant, zero):
    net, pairs, partition = finer(variant, "features", activation="topk" if variant == "llama" else "relu")
    case = FeatureNodeCase(net, partition, pairs, zero=zero, split_qkv=not zero)
    graph = compare(case)
    effects = np.abs(graph.node_columns["effect"][:-1])
    cut = compare(case, node_threshold=0.1 * float(effects.max()))
    assert (cut.weight == 0).sum() > (graph.weight == 0).sum()


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize("nodes", ["features", "fine"])
def test_qk_fix(variant, nodes):
    net, pairs, partition = finer(variant, nodes)
    graph = effective_connectivity(net, pairs, partition, "eap", qk_fix=True)
    check(graph, references.qk_fix(FeatureCase(net, partition, pairs)))


def test_qk_fix_at_heads_beside_features_and_of_many_nodes(monkeypatch):
    net, pairs, _ = finer("qwen2", "features", {"mlp.0": "write", "attn.1": "write"})
    partition = Partition.mixed(net, {"mlp.*": "units"}, default="heads")
    graph = effective_connectivity(net, pairs, partition, "eap", qk_fix=True)
    expected = references.qk_fix(FeatureCase(net, partition, pairs))
    check(graph, expected)
    monkeypatch.setattr(products, "FEW", 1)
    monkeypatch.setattr(streams, "BLOCK_BYTES", 2**11)
    many = effective_connectivity(net, pairs, partition, "eap", qk_fix=True)
    assert "stderr" not in many.columns
    np.testing.assert_allclose(many.weight, graph.weight, rtol=0, atol=1e-12 * np.abs(graph.weight).max())


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize("nodes", ["features", "fine"])
def test_grad_drop(variant, nodes, monkeypatch):
    net, pairs, partition = finer(variant, nodes)
    case = FeatureCase(net, partition, pairs, brute=FeatureDropped(net, partition))
    expected = references.grad_drop(case, references.eap)
    check(effective_connectivity(net, pairs, partition, "eap", grad_drop=True), expected)
    if variant == "neox":  # sums over a batch only: examples by themselves, and so standard errors too
        monkeypatch.setattr(products, "FEW", 1)
        check(effective_connectivity(net, pairs, partition, "eap", grad_drop=True, batch_size=2), expected)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("nodes", ["features", "fine"])
def test_batches_and_orders_of_products(name, nodes, monkeypatch):
    net, _, partition = finer("gemma2", nodes)
    pairs = make_pairs(n=5, t=4, padded=True)
    whole = scores(net, pairs, partition, name)
    scale = np.abs(whole.weight).max()
    monkeypatch.setattr(products, "FEW", 1)
    for size in (2, 1):
        apart = scores(net, pairs, partition, name, batch_size=size)
        np.testing.assert_allclose(apart.weight, whole.weight, rtol=0, atol=1e-11 * scale)


@pytest.mark.parametrize("variant", ["gpt2", "neox", "gemma2"])
@pytest.mark.parametrize("name", ["relp", "node-ig"])
def test_features_and_error_sum_to_the_site_of_the_plain_network(variant, name):
    plain, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(n=2, t=4, padded=True)
    # behind a post-norm the straight path of a write is not that of the units
    where = dict.fromkeys(EVERYWHERE, "hidden") if (variant, name) == ("gemma2", "node-ig") else EVERYWHERE
    net = with_features(plain, where, activation="topk")
    fine = scores(net, pairs, Partition.mixed(net, {"mlp.*": "units", "attn.*": "units"}), name)
    coarse = scores(plain, pairs, patterned(plain), name)
    got, expected = by_site(fine), by_site(coarse)
    scale = max(map(abs, expected.values()))
    assert got.keys() == expected.keys()
    for key, value in expected.items():
        assert got[key] == pytest.approx(value, abs=1e-10 * scale), key


def patterned(net):
    """MLPs and attention sites in two halves each, so that patterns are nodes."""
    return Partition.from_labels(
        {
            s.name: np.arange(s.n_units) % 2 if s.kind in ("attn", "mlp") else np.zeros(s.n_units, int)
            for s in net.architecture.node_sites
        }
    )


@pytest.mark.parametrize("name", METHODS)
def test_identity_dictionaries_are_the_units_themselves(name):
    plain, pairs = tiny_network("llama", dtype=torch.float64), make_pairs(n=2, t=4)
    sites = [s for s in plain.architecture.node_sites if s.kind in ("attn", "mlp")]
    net = attach(plain, {s.name: identity(s.n_units, dtype=torch.float64) for s in sites})
    got, expected = (scores(n, pairs, Partition.units(n), name) for n in (net, plain))

    def table(graph):
        names = [n.replace("neuron", "feature").replace("unit", "feature") for n in graph.node_names]
        ends = zip(graph.source, graph.target, graph.channel, graph.weight, strict=True)
        return {(names[s], names[t], graph.channels[c]): w for s, t, c, w in ends}

    found, scale = table(got), np.abs(expected.weight).max()
    for key, weight in table(expected).items():
        if name == "attention-rollout" and key[1].startswith("attn") and key[2] == "v":
            continue  # a feature is read off all heads, a unit off its own
        assert found[key] == pytest.approx(weight, abs=1e-10 * scale), key


@pytest.mark.parametrize("name", METHODS)
def test_degenerate_dictionaries(name):
    """One feature; features that are never active; one token."""
    plain = tiny_network("gpt2", dtype=torch.float64)
    single = with_features(plain, {"mlp.0": "write", "attn.1": "hidden"}, n_features=1)
    units = {"mlp.0": "units", "attn.1": "units"}
    for pairs in (make_pairs(n=1, t=1), make_pairs(n=2, t=3)):
        graph = scores(single, pairs, Partition.mixed(single, units), name)
        assert np.isfinite(graph.weight).all()
    shut = {s: replace(one, encoder_bias=one.encoder_bias - 1e3) for s, one in single.dictionaries.items()}
    net = attach(plain, shut)
    graph = scores(net, pairs, Partition.mixed(net, units), name)
    silent = np.array(["feature" in node for node in graph.node_names])
    out = silent[graph.source]
    assert (graph.weight[out] == 0).all()
    if name in ("relp", "gradient-norm", "node-ig"):
        assert (graph.weight[silent[graph.target]] == 0).all()


def test_relevance_network_keeps_values_and_dictionaries():
    net, pairs, _ = finer("gemma2", "features")
    relevance = relevance_network(net)
    tokens, mask = torch.from_numpy(pairs.clean), torch.from_numpy(pairs.mask)
    capture = ["mlp.0", "attn.1"]
    ours, theirs = relevance.run(tokens, mask, capture=capture), net.run(tokens, mask, capture=capture)
    np.testing.assert_allclose(ours.logits, theirs.logits, atol=1e-12)
    for site in capture:
        np.testing.assert_allclose(ours.units[site], theirs.units[site], atol=1e-12)
