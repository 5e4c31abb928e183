"""Everything that computes with a network does so on the network's device, and nowhere by accident."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import compgraph as cg
from compgraph import catalogue
from compgraph.ablation.baselines import make_baseline
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition
from tests.connectivity.effective.feature_brute import with_features
from tests.connectivity.effective.test_eap import make_pairs
from tests.elsewhere import Elsewhere, moved, other_device
from tests.models.tiny import tiny_network

OPTIONS = {
    "eap": [{}, {"qk_fix": True}, {"grad_drop": True}, {"keep": 3}, {"recompute": True}],
    "eap-ig-inputs": [{"steps": 2}],
    "eap-ig-activations": [{"steps": 2}],
    "eap-gp": [{"steps": 1}],
    "ceap": [{"steps": 2, "recompute": True}],
    "edge-pruning": [{"steps": 2, "examples": 2}],
    "node-ig": [{"steps": 2, "edge_steps": 2}],
    "granger": [{"max_order": 1, "ridge": 0.1, "signal": "pc"}],
    "transfer-entropy": [{"max_order": 1, "ridge": 0.1}],
}
SLOW_WHERE_FINE = ("acdc", "edge-pruning", "granger", "transfer-entropy", "exact")
"""Methods that take long where sites have many nodes."""


def pairs_of(n=4):
    return make_pairs(n=n, t=6, padded=True)


def here(variant="gemma2"):
    return tiny_network(variant, dtype=torch.float64)


def mixed(net, parts=None):
    """Units (or so many parts of them) at one MLP and one attention site, which divide heads, modules elsewhere."""
    labels = dict(Partition.modules(net).labels)
    fine = Partition.units(net).labels
    chosen = {site: fine[site] if parts is None else fine[site] % parts for site in ("mlp.0", "attn.1")}
    return Partition.from_labels(labels | chosen)


def there(net):
    """The same network on another device."""
    return Transformer(net.spec, moved(net.weights))


def both(call, variant="gemma2"):
    """What a call gives for a network on the processor and on another device."""
    net = here(variant)
    expected = call(net)
    with other_device():
        found = call(there(net))
    return expected, found


def assert_same(expected, found):
    if isinstance(found, Elsewhere):
        found = found.held
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=1e-9, atol=1e-12)


def test_the_other_device_is_strict():
    with other_device():
        x = Elsewhere(torch.ones(3))
        assert torch.equal((x + torch.ones(3, device=x.device)).held, torch.full((3,), 2.0))
        for stray in (lambda: x + torch.ones(3), lambda: x[torch.tensor([0])], lambda: torch.ones(3).mul_(x)):
            with pytest.raises(RuntimeError, match="tensors of two devices"):
                stray()
        with pytest.raises(RuntimeError):
            x.numpy()
        assert x.cpu().numpy().tolist() == [1, 1, 1]


@pytest.mark.parametrize("method", list(catalogue.EFFECTIVE))
def test_effective_methods(method):
    for options in OPTIONS.get(method, [{}]):
        slow = method in SLOW_WHERE_FINE or options.keys() & {"qk_fix", "grad_drop"}
        pairs, parts = (pairs_of(8), 3) if slow else (pairs_of(2), None)

        def call(net, options=options, pairs=pairs, parts=parts):
            return cg.effective_connectivity(net, pairs, mixed(net, parts), method, **options).edges["weight"]

        assert_same(*both(call, "gpt2"))


@pytest.mark.parametrize("baseline", list(catalogue.BASELINES))
def test_baselines(baseline):
    pairs, options = pairs_of(), {"steps": 2} if baseline == "optimal" else {}

    def call(net):
        heads = Partition.heads(net)
        made = make_baseline(baseline, net, pairs, partition=heads, options=options)
        return cg.effective_connectivity(net, pairs, heads, baseline=made).edges["weight"]

    assert_same(*both(call))


@pytest.mark.parametrize("metric", list(catalogue.METRICS))
def test_metrics(metric):
    pairs = pairs_of()
    entry = catalogue.METRICS[metric]
    method = "eap-ig-inputs" if entry.differentiable else "exact"
    options = {"steps": 2} if entry.differentiable else {}
    assert_same(
        *both(
            lambda n: cg.effective_connectivity(n, pairs, Partition.modules(n), method, metric=metric, **options).edges[
                "weight"
            ],
            "llama",
        )
    )


@pytest.mark.parametrize("ablation", ["edge", "node"])
@pytest.mark.parametrize("granularity", ["heads", "units"])
@pytest.mark.parametrize("baseline", ["counterfactual", "zero"])
def test_ablation(ablation, granularity, baseline):
    pairs = pairs_of()

    def call(net):
        graph = cg.effective_connectivity(net, pairs, getattr(Partition, granularity)(net), "random")
        circuit = graph.top(len(graph.edges) // 3)
        return cg.run_graph(net, circuit, pairs, ablation=ablation, baseline=baseline)

    assert_same(*both(call, "neox"))


def test_norm_scales_and_faithfulness():
    pairs = pairs_of()

    def call(net):
        graph = cg.effective_connectivity(net, pairs, Partition.heads(net), "random")
        frozen = cg.run_graph(net, graph.top(20), pairs, norm_scale="frozen")
        curve = cg.faithfulness(net, graph, pairs, sizes=[5, 20])
        return [float(frozen.sum()), *curve.table["value"]]

    assert_same(*both(call))


@pytest.mark.parametrize("ablation", ["edge", "node"])
def test_dictionaries(ablation):
    pairs = pairs_of(2)

    def call(net):
        features = cg.attach(net, dictionaries)
        graph = cg.effective_connectivity(features, pairs, Partition.units(features), "eap")
        logits = cg.run_graph(features, graph.top(len(graph.edges) // 3), pairs, ablation=ablation)
        return [*graph.edges["weight"], *logits.flatten().tolist()]

    net = here("llama")
    dictionaries = with_features(net, {"mlp.0": "write", "mlp.1": "hidden"}).dictionaries
    assert_same(*both(call, "llama"))


@pytest.mark.parametrize("method", list(catalogue.ATTRIBUTIONS))
def test_attributions(method):
    pairs, options = pairs_of(), {"steps": 2} if method == "integrated-gradients" else {}

    def call(net):
        found = cg.node_attributions(net, pairs, method=method, **options)
        return np.concatenate([found.read(site).ravel() for site in found.values])

    assert_same(*both(call, "qwen3"))


def test_buffers(tmp_path):
    pairs = pairs_of()

    def call(net):
        name = net.device.type
        cg.record_activations(net, pairs, tmp_path / f"{name}.json", sites="*")
        cg.record_attributions(net, pairs, tmp_path / f"a-{name}.json", sites="mlp.*")
        return [cg.open_buffer(tmp_path / f"{prefix}{name}.json").read("mlp.1").sum() for prefix in ("", "a-")]

    assert_same(*both(call))


@pytest.mark.parametrize("method", [n for n, e in catalogue.STRUCTURAL.items() if "transformer" in e.serves])
def test_structural(method):
    assert_same(
        *both(lambda net: cg.structural_connectivity(net, Partition.heads(net), method=method).edges["weight"], "gpt2")
    )
