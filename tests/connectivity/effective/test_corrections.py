"""relp, gradient-norm, attention-rollout and the corrections of AtP* against explicit versions, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compgraph.ablation.baselines import Counterfactual
from compgraph.connectivity.effective import effective_connectivity
from compgraph.connectivity.effective.relp import RelevanceNetwork
from compgraph.errors import DataError, ModelError
from compgraph.partition import Partition
from tests.connectivity.effective import references
from tests.connectivity.effective.references import BruteRules, Case, Dropped, Rules
from tests.connectivity.effective.test_eap import Images, chain, make_pairs
from tests.connectivity.effective.test_paths import check
from tests.models.tiny import ONE_PER_FAMILY, tiny_network


def setting(variant, **options):
    net, pairs = tiny_network(variant, dtype=torch.float64, **options), make_pairs(n=2, t=4, padded=True)
    return net, pairs, Partition.heads(net)


# ---------------------------------------------------------------- relp


def by_rules(net, pairs, partition, constant_patterns=False, **options):
    rules = Rules(net.spec, net.weights)
    rules.constant_patterns = constant_patterns
    brute = BruteRules(rules, partition, options.get("split_qkv", True))
    return references.eap(Case(rules, partition, pairs, brute=brute, **options))


@pytest.mark.parametrize("variant", [*ONE_PER_FAMILY, "gpt2-untied", "neox-sequential"])
@pytest.mark.parametrize("zero", [False, True])
def test_relp_equals_autograd_on_the_rules(variant, zero):
    net, pairs, partition = setting(variant)
    graph = effective_connectivity(net, pairs, partition, "relp", baseline="zero" if zero else "counterfactual")
    check(graph, by_rules(net, pairs, partition, zero=zero))
    plain = effective_connectivity(net, pairs, partition, baseline="zero" if zero else "counterfactual")
    assert np.abs(graph.weight - plain.weight).max() > 1e-3 * np.abs(plain.weight).max()


def test_relp_rules_change_no_value():
    for variant in ONE_PER_FAMILY:
        net, pairs, _ = setting(variant)
        tokens, mask = torch.from_numpy(pairs.clean), torch.from_numpy(pairs.mask)
        relevance = RelevanceNetwork(net.spec, net.weights, net.digest)
        np.testing.assert_allclose(relevance.run(tokens, mask).logits, net.run(tokens, mask).logits, atol=1e-12)


@pytest.mark.parametrize("variant", ["llama", "gemma2"])
def test_relp_with_constant_patterns_and_joined_channels(variant):
    net, pairs, partition = setting(variant)
    graph = effective_connectivity(net, pairs, partition, "relp", attention_rule=True)
    check(graph, by_rules(net, pairs, partition, constant_patterns=True))
    channels = np.array(graph.channels)[graph.channel]
    assert (graph.weight[np.isin(channels, ["q", "k"])] == 0).all()
    assert (graph.weight[channels == "v"] != 0).any()
    joined = effective_connectivity(net, pairs, partition, "relp", split_qkv=False)
    check(joined, by_rules(net, pairs, partition, split_qkv=False))


def test_relp_of_units_adds_up_to_heads():
    net, pairs, _ = setting("qwen2")
    fine, heads = (effective_connectivity(net, pairs, make(net), "relp") for make in (Partition.units, Partition.heads))
    into = [g.weight[np.isin(g.target, g.outputs)].sum() for g in (fine, heads)]
    assert into[0] == pytest.approx(into[1], rel=1e-10)


# ---------------------------------------------------------------- norms


@pytest.mark.parametrize("variant, split_qkv", [*((v, True) for v in ONE_PER_FAMILY), ("llama", False)])
def test_gradient_norm(variant, split_qkv):
    net, pairs, partition = setting(variant)
    graph = effective_connectivity(net, pairs, partition, "gradient-norm", split_qkv=split_qkv)
    check(graph, references.gradient_norm(Case(net, partition, pairs, split_qkv=split_qkv)))
    plain = effective_connectivity(net, pairs, partition, split_qkv=split_qkv)
    assert (np.abs(plain.weight) <= graph.weight + 1e-12).all()


def test_gradient_norm_of_neurons():
    """Many nodes meeting many: sums over examples, whatever the batches."""
    net, pairs, _ = setting("gpt2", n_inner=70)
    partition = Partition.mixed(net, {"mlp.*": "units", "attn.*": "heads"})
    whole = effective_connectivity(net, pairs, partition, "gradient-norm")
    assert "stderr" not in whole.columns
    apart = effective_connectivity(net, pairs, partition, "gradient-norm", batch_size=1)
    np.testing.assert_allclose(whole.weight, apart.weight, atol=1e-12)
    case = Case(net, Partition.heads(net), pairs)
    u, v = (whole.node_names.index(name) for name in ("mlp.0/neuron.3", "mlp.1/neuron.5"))
    edge = int(np.flatnonzero((whole.source == u) & (whole.target == v))[0])
    total = 0.0
    for b in range(pairs.n):
        change = (case.base["mlp.0"] - case.units["mlp.0"])[b, :, 3]
        row = net.decoder("mlp.0")[0][3]
        stream = references.streams(case, b)["mlp.1"].detach().requires_grad_()
        pre = net.read_mlp(1, stream).pre[""]
        push = torch.zeros_like(pre, requires_grad=True)
        units = net.mlp_units(1, {"": pre.detach() + push})
        x = references.streams(case, b)["logits"] - net.write("mlp.1", case.units["mlp.1"][b : b + 1])
        at = case.positions[b]
        logits = net.logits(net.read_logits((x + net.write("mlp.1", units))[:, at]).pre[""])
        at_pre = torch.autograd.grad(case.metric(logits, b), push)[0]
        at_stream = torch.autograd.grad((pre[..., 5] * at_pre[..., 5]).sum(), stream)[0]
        total += float((change.abs() * row.norm() * at_stream[0].norm(dim=-1)).sum())
    assert whole.weight[edge] == pytest.approx(total / pairs.n, rel=1e-9)


def test_gradient_norm_of_a_chain():
    net, pairs = chain(), Images()
    partition = Partition.channels(net)
    graph = effective_connectivity(net, pairs, partition, "gradient-norm")
    plain = effective_connectivity(net, pairs, partition)
    assert (np.abs(plain.weight) <= graph.weight + 1e-12).all()
    # A single unit on each side leaves no direction to choose: the bound is met, example by example.
    single = partition.mixed(net, {"linear.*": "units"})
    one, other = (effective_connectivity(net, pairs.__class__(n=1), single, m) for m in ("gradient-norm", "eap"))
    into = one.target >= single.node_slice("logits").start
    np.testing.assert_allclose(one.weight[into], np.abs(other.weight[into]), atol=1e-12)
    assert one.weight[into].max() > 1e-6


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize("zero", [False, True])
def test_attention_rollout(variant, zero):
    net, pairs, partition = setting(variant)
    graph = effective_connectivity(
        net, pairs, partition, "attention-rollout", baseline="zero" if zero else "counterfactual"
    )
    expected = references.attention_rollout(Case(net, partition, pairs, zero=zero))
    check(graph, expected)
    joined = effective_connectivity(
        net, pairs, partition, "attention-rollout", baseline="zero" if zero else "counterfactual", split_qkv=False
    )
    assert joined.weight.sum() == pytest.approx(graph.weight.sum())
    alone = effective_connectivity(
        net, pairs, partition, "attention-rollout", baseline="zero" if zero else "counterfactual", batch_size=1
    )
    np.testing.assert_allclose(alone.weight, graph.weight, atol=1e-12)


# ---------------------------------------------------------------- AtP*


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize("zero", [False, True])
def test_qk_fix(variant, zero):
    net, pairs, partition = setting(variant)
    baseline = "zero" if zero else "counterfactual"
    graph = effective_connectivity(net, pairs, partition, "eap", baseline=baseline, qk_fix=True)
    check(graph, references.qk_fix(Case(net, partition, pairs, zero=zero)))
    plain = effective_connectivity(net, pairs, partition, "eap", baseline=baseline)
    channels = np.array(graph.channels)[graph.channel]
    same = ~np.isin(channels, ["q", "k"])
    np.testing.assert_allclose(graph.weight[same], plain.weight[same], atol=1e-12)
    assert graph.attributes["qk_fix"] is True and "qk_fix" not in plain.attributes


def test_qk_fix_is_the_gradient_where_changes_are_small():
    net, pairs, partition = setting("gpt2")
    scaled = 1e-6

    def near(method_options):
        class Near(Counterfactual):
            def units(self, net, batch, sites):
                clean = net.run(batch.clean, batch.mask, capture=sites, positions=batch.positions).units
                return {s: clean[s] + scaled * (u - clean[s]) for s, u in super().units(net, batch, sites).items()}

        near_clean = Near(net, pairs, None, 0)
        graph = effective_connectivity(net, pairs, partition, "eap", baseline=near_clean, **method_options)
        return graph.weight / scaled

    fixed, plain = near({"qk_fix": True}), near({})
    np.testing.assert_allclose(fixed, plain, atol=1e-4 * np.abs(plain).max())


def test_qk_fix_joined_grouped_and_fine():
    net, pairs, partition = setting("llama")
    split = effective_connectivity(net, pairs, partition, "eap", qk_fix=True)
    joined = effective_connectivity(net, pairs, partition, "eap", qk_fix=True, split_qkv=False)
    sums = {}
    for s, t, w in zip(split.source, split.target, split.weight, strict=True):
        sums[s, t] = sums.get((s, t), 0) + w
    expected = [sums[key] for key in zip(joined.source, joined.target, strict=True)]
    np.testing.assert_allclose(joined.weight, expected, atol=1e-12)
    modules = effective_connectivity(net, pairs, Partition.modules(net), "eap", qk_fix=True)
    linear = effective_connectivity(net, pairs, Partition.modules(net), "eap")
    assert np.abs(modules.weight - linear.weight).max() > 1e-3 * np.abs(linear.weight).max()
    # Patterns as nodes: the embedding's edges into them are those into the heads' queries and keys.
    halves = {
        s.name: np.arange(s.n_units) % 2 if s.kind == "attn" else np.zeros(s.n_units, int)
        for s in net.architecture.node_sites
    }
    fine = effective_connectivity(net, pairs, Partition.from_labels(halves), "eap", qk_fix=True)
    for h in range(net.spec.n_heads):
        for channel in ("q", "k"):
            value = [
                g.weight[
                    (g.source == 0)
                    & (g.target == g.node_names.index(name))
                    & (np.array(g.channels)[g.channel] == channel)
                ]
                for g, name in ((fine, f"attn.1/head.{h}/pattern"), (split, f"attn.1/head.{h}"))
            ]
            np.testing.assert_allclose(value[0], value[1], atol=1e-12)


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
def test_grad_drop(variant):
    net, pairs, partition = setting(variant)
    case = Case(net, partition, pairs, brute=Dropped(net, partition))
    expected = references.grad_drop(case, references.eap)
    graph = effective_connectivity(net, pairs, partition, "eap", grad_drop=True)
    check(graph, expected)
    assert (graph.weight >= 0).all()
    apart = effective_connectivity(net, pairs, partition, "eap", grad_drop=True, batch_size=1)
    np.testing.assert_allclose(apart.weight, graph.weight, atol=1e-12)


def test_grad_drop_along_the_input_and_with_qk_fix():
    net, pairs, partition = setting("gemma2")

    def integrated(case):
        def one(b):
            start, end = case.base["embed"][b : b + 1], case.units["embed"][b : b + 1]
            change = case.change(case.at(case.units, b), case.at(case.base, b))
            return sum(case.slope(b, change, embed=start + k / 2 * (end - start)) for k in range(2)) / 2

        return case.per_example(one)

    case = Case(net, partition, pairs, brute=Dropped(net, partition))
    expected = references.grad_drop(case, integrated)
    check(effective_connectivity(net, pairs, partition, "eap-ig-inputs", steps=2, grad_drop=True), expected)
    both = effective_connectivity(net, pairs, partition, "eap", grad_drop=True, qk_fix=True)
    dropped = effective_connectivity(net, pairs, partition, "eap", grad_drop=True)
    fixed = np.isin(np.array(both.channels)[both.channel], ["q", "k"])
    np.testing.assert_allclose(both.weight[~fixed], dropped.weight[~fixed], atol=1e-12)
    assert not np.allclose(both.weight[fixed], dropped.weight[fixed])


@pytest.mark.parametrize(
    "method, options",
    [
        ("relp", {}),
        ("gradient-norm", {}),
        ("attention-rollout", {}),
        ("ceap", {}),
        ("eap-gp", {}),
        ("acdc", {}),
        ("edge-pruning", {"steps": 3}),
        ("eap", {"qk_fix": True}),
        ("eap", {"grad_drop": True}),
    ],
)
def test_low_precision(method, options):
    low, high = (tiny_network("gemma2", dtype=dtype) for dtype in (torch.bfloat16, torch.float32))
    graphs = [effective_connectivity(n, make_pairs(), Partition.heads(n), method, **options) for n in (low, high)]
    assert np.corrcoef(*(graph.weight for graph in graphs))[0, 1] > 0.95


@pytest.mark.parametrize(
    "options, error, match",
    [
        ({"method": "relp", "metric": "kl"}, DataError, "relp would score"),
        ({"method": "gradient-norm", "metric": "kl"}, DataError, "gradient-norm would score"),
    ],
)
def test_refuses_metrics_that_are_flat(options, error, match):
    net, pairs, partition = setting("gpt2")
    with pytest.raises(error, match=match):
        effective_connectivity(net, pairs, partition, **options)


def test_refuses_networks_and_partitions():
    net, pairs, partition = setting("gpt2", n_layer=1)
    with pytest.raises(ModelError, match="at least two layers"):
        effective_connectivity(net, pairs, partition, "eap", grad_drop=True)
    for option in ("qk_fix", "grad_drop"):
        with pytest.raises(ModelError, match=f"{option} is defined for transformers"):
            effective_connectivity(chain(), Images(), Partition.channels(chain()), "eap", **{option: True})
    for method in ("relp", "attention-rollout"):
        with pytest.raises(ModelError, match="does not serve sequential"):
            effective_connectivity(chain(), Images(), Partition.channels(chain()), method)
