"""edge-pruning: the masked forward pass and its gradient against brute force, then the search itself."""

from __future__ import annotations

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch

from compgraph.ablation.baselines import make_baseline
from compgraph.ablation.chain_runner import ChainRunner
from compgraph.ablation.circuits import CircuitMasks
from compgraph.ablation.run import run_graph, run_masks
from compgraph.connectivity.effective import effective_connectivity
from compgraph.connectivity.effective.edge_layout import EdgeLayout
from compgraph.connectivity.effective.edge_pruning import Options, _Search
from compgraph.connectivity.effective.edge_streams import EdgeStreams
from compgraph.connectivity.effective.hard_concrete import harden, keep_probability, sample
from compgraph.connectivity.effective.setting import Setting
from compgraph.data.batches import batches
from compgraph.data.prompts import PromptPairs
from compgraph.errors import DataError, GraphError
from compgraph.models.compiled import compile_case
from compgraph.partition import Partition
from tests.brute import BruteForce, base_units
from tests.connectivity.effective.feature_brute import FeatureBrute, halves, with_features
from tests.connectivity.effective.test_acdc import is_true, parts
from tests.connectivity.effective.test_eap import Images, chain, make_pairs
from tests.connectivity.effective.test_left_out import PLACES, striped
from tests.models.tiny import ONE_PER_FAMILY, tiny_network

edge_pruning = partial(effective_connectivity, method="edge-pruning")


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("make, split_qkv", [(Partition.heads, True), (parts, False)])
def test_weighted_edges_equal_brute_force(variant, zero, make, split_qkv):
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(n=2, t=4, padded=True)
    partition = make(net)
    clean, corrupted, positions, padding = (
        torch.from_numpy(x) for x in (pairs.clean, pairs.corrupted, pairs.positions, pairs.mask)
    )
    layout, runner = EdgeLayout(net, partition, split_qkv), EdgeStreams(net, partition)
    weights = torch.from_numpy(np.random.default_rng(0).random(layout.n_edges)).requires_grad_()
    base = runner.baseline(
        next(batches(net, pairs, 9)), make_baseline("zero" if zero else "counterfactual", net, pairs)
    )
    logits = runner.run(base, layout.weights(weights))
    brute = BruteForce(net, partition, split_qkv)
    expected = brute.run(
        clean, positions, base_units(net, clean, corrupted, padding, zero), weights, zero=zero, padding=padding
    )
    np.testing.assert_allclose(logits.detach(), expected.detach(), rtol=0, atol=1e-12)
    gradients = [torch.autograd.grad(x.square().sum(), weights)[0] for x in (logits, expected)]
    assert (gradients[1] != 0).all()
    np.testing.assert_allclose(*gradients, rtol=0, atol=1e-11 * float(gradients[1].abs().max()))


def check_weights(net, partition, brute, split_qkv, zero):
    """Logits and their gradient in every edge's weight, all weights between 0 and 1, against the explicit masks."""
    pairs = make_pairs(n=2, t=3, padded=True)
    clean, corrupted, positions, padding = (
        torch.from_numpy(x) for x in (pairs.clean, pairs.corrupted, pairs.positions, pairs.mask)
    )
    layout, runner = EdgeLayout(net, partition, split_qkv), EdgeStreams(net, partition)
    weights = torch.from_numpy(np.random.default_rng(0).random(layout.n_edges))
    weights[::5] = 1.0  # parts of equal weights have gradients of their own
    weights.requires_grad_()
    batch = next(batches(net, pairs, 9))
    base = runner.baseline(batch, make_baseline("zero" if zero else "counterfactual", net, pairs))
    logits = runner.run(base, layout.weights(weights))
    expected = brute.run(
        clean, positions, base_units(net, clean, corrupted, padding, zero), weights, zero=zero, padding=padding
    )
    np.testing.assert_allclose(logits.detach(), expected.detach(), rtol=0, atol=1e-10)
    gradients = [torch.autograd.grad(x.square().sum(), weights)[0] for x in (logits, expected)]
    assert (gradients[1] != 0).double().mean() > 0.8
    np.testing.assert_allclose(*gradients, rtol=0, atol=1e-9 * float(gradients[1].abs().max()))


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize("zero, split_qkv", [(False, True), (True, False)])
def test_weighted_edges_of_parts_finer_than_heads(variant, zero, split_qkv):
    net = tiny_network(variant, dtype=torch.float64)
    partition = striped(net)
    check_weights(net, partition, BruteForce(net, partition, split_qkv), split_qkv, zero)


@pytest.mark.parametrize(("variant", "where"), [*zip(ONE_PER_FAMILY, PLACES * 4, strict=False), ("gpt2", PLACES[1])])
def test_weighted_edges_of_features_and_errors(variant, where):
    net = with_features(tiny_network(variant, dtype=torch.float64), where)
    check_weights(net, halves(net), FeatureBrute(net, halves(net), True), True, variant == "llama")


def test_weighted_edges_of_undivided_features():
    net = with_features(tiny_network("gpt2", dtype=torch.float64), {"attn.0": "write", "attn.1": "hidden"})
    partition = Partition.modules(net)
    check_weights(net, partition, FeatureBrute(net, partition, True), True, False)


@pytest.mark.parametrize("make", [striped, halves])
def test_gradient_of_the_loss_in_the_masks_by_finite_differences(make):
    """Edges into and out of patterns and features among them, with the search's own loss and several passes."""
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs(n=3, t=3, padded=True)
    net = net if make is striped else with_features(net, {"attn.1": "write", "mlp.0": "hidden"})
    setting = Setting(net, pairs, make(net), "kl", make_baseline("counterfactual", net, pairs), True, 2, 0)
    search = _Search(setting, Options(1, 0.9, 0.1, 3, True, 1.0))
    weights = torch.from_numpy(np.random.default_rng(1).random(search.layout.n_edges))
    gradient = search._loss(np.arange(3), weights.clone())[1]
    for edge in np.flatnonzero(gradient.numpy())[::4]:
        step = torch.zeros_like(weights)
        step[edge] = 1e-5
        above, below = (search._loss(np.arange(3), weights + sign * step)[0] for sign in (1, -1))
        assert float(gradient[edge]) == pytest.approx((above - below) / 2e-5, abs=1e-8)


def test_weights_of_nought_and_one_are_edge_ablation():
    """Circuits of features of attention and of single units, by the runners of edge ablation."""
    net, pairs = tiny_network("llama", dtype=torch.float64), make_pairs(n=2, t=3, padded=True)
    featured = with_features(net, {"attn.0": "write", "mlp.1": "hidden"})
    for one, partition in ((featured, Partition.units(featured)), (net, Partition.units(net))):
        layout, runner = EdgeLayout(one, partition, True), EdgeStreams(one, partition)
        mask = np.random.default_rng(0).random(layout.n_edges) < 0.8
        base = runner.baseline(next(batches(one, pairs, 9)), make_baseline("counterfactual", one, pairs))
        with torch.no_grad():
            logits = runner.run(base, layout.weights(torch.from_numpy(mask).double()))
        ((_, expected),) = run_masks(one, CircuitMasks(one, partition, True), mask[None], pairs)
        np.testing.assert_allclose(logits, expected[0], rtol=0, atol=1e-9)


@pytest.mark.parametrize("stripes", [False, True])
def test_weighted_edges_of_a_chain(stripes):
    """Against explicit dense matrices, one block per edge, for parts of whole channels and others."""
    net, pairs = chain(), Images(n=2)
    partition = Partition.channels(net)
    if stripes:
        sites = net.architecture.node_sites
        labels = {s.name: np.arange(3) if s.kind == "logits" else (np.arange(s.n_units) // 2) % 2 for s in sites}
        partition = Partition.from_labels(labels)
    layout, runner = EdgeLayout(net, partition, True), ChainRunner(net, partition)
    weights = torch.from_numpy(np.random.default_rng(0).random(layout.n_edges)).requires_grad_()
    base = runner.baseline(next(batches(net, pairs, 9)), make_baseline("counterfactual", net, pairs))
    logits = runner.run(base, layout.weights(weights))
    x = net.input_units(torch.from_numpy(pairs.clean))
    names = [s.name for s in net.architecture.node_sites]
    for u, v in itertools.pairwise(names):
        block = layout.weights(weights)[v][0]
        rows = torch.from_numpy(net.pre_labels(v, partition.labels[v]).astype(int))
        columns = torch.from_numpy(partition.labels[u].astype(int))
        matrix = net.reader(v).matrix() * block[rows.clamp_min(0)][:, columns] * (rows >= 0)[:, None]
        pre = net.pre_activations(v, base.units[u]) + ((x - base.units[u]) @ matrix.T).reshape(2, *net.pre_shape(v))
        x = net.units_from(v, pre)
    np.testing.assert_allclose(logits.detach(), x.detach(), rtol=0, atol=1e-12)
    gradients = [torch.autograd.grad(out.square().sum(), weights)[0] for out in (logits, x)]
    np.testing.assert_allclose(*gradients, rtol=0, atol=1e-12)


# ---------------------------------------------------------------- masks


def test_masks_have_the_distribution_they_say():
    a = torch.tensor([-2.0, 0.0, 1.0, 4.0], dtype=torch.float64)
    u = torch.from_numpy(np.random.default_rng(0).uniform(1e-6, 1 - 1e-6, (200_000, 4)))
    z = sample(a, u)
    assert z.min() == 0 and z.max() == 1
    np.testing.assert_allclose((z > 0).double().mean(0), keep_probability(a), atol=4e-3)
    np.testing.assert_allclose(keep_probability(a), torch.sigmoid(a + 2 / 3 * math.log(11)), atol=1e-12)
    one = sample(torch.tensor([0.3]), torch.tensor([0.4]))
    s = 1 / (1 + math.exp(-(math.log(0.4 / 0.6) + 0.3) * 1.5))
    assert float(one) == pytest.approx(1.2 * s - 0.1, rel=1e-6)


def test_hard_masks():
    a = torch.tensor([8.0, -8.0, 8.0, -8.0, -8.0, 0.1])
    groups = torch.tensor([0, 0, 0, 1, 1, 1])
    # Group 1 expects 2 - ε + P(z = 0 | 0.1) = 2.2 zeros; soft values 1 + 1 + sigmoid(0.12) = 2.53: three are kept.
    assert harden(a, groups).tolist() == [True, False, True, False, False, True]
    assert harden(torch.full((5,), 10.0), torch.zeros(5, dtype=torch.long)).all()
    assert not harden(torch.full((5,), -10.0), torch.zeros(5, dtype=torch.long)).any()


# ---------------------------------------------------------------- the search


def kl(net, pairs, circuit):
    with torch.no_grad():
        clean = net.run(torch.from_numpy(pairs.clean), positions=torch.from_numpy(pairs.positions)).logits
    p, q = clean.log_softmax(-1), run_graph(net, circuit, pairs).log_softmax(-1)
    return float((p.exp() * (p - q)).sum(-1).mean())


def test_finds_a_circuit_better_than_attribution():
    net, pairs = tiny_network("llama"), make_pairs(n=8, t=5)
    partition = Partition.heads(net)
    graph = effective_connectivity(net, pairs, partition, "edge-pruning")
    kept = graph.columns["kept"]
    assert 0.1 < kept.mean() < 0.4
    assert graph.weight.min() >= 0 and graph.weight.max() <= 1
    found = kl(net, pairs, graph.subgraph(kept))
    for method, metric in (("eap", "logit_difference"), ("eap-ig-inputs", "kl"), ("random", "kl")):
        other = effective_connectivity(net, pairs, partition, method, metric=metric)
        assert found < 0.8 * kl(net, pairs, other.top(int(kept.sum())))
    trace = np.array(graph.attributes["trace"])
    assert trace[0, 0] == 1 and trace[-1, 0] == 300 and trace[-1, 2] > trace[0, 2] + 0.3


def test_finds_the_true_edges_of_a_compiled_network():
    """Every true edge above every other."""
    case = compile_case("sort", dtype=torch.float32)
    pairs, partition = PromptPairs(**case.examples(32)), Partition.heads(case.net)
    graph = effective_connectivity(case.net, pairs, partition, "edge-pruning")
    true = is_true(graph, case)
    assert graph.weight[true].min() > graph.weight[~true].max()
    assert graph.columns["kept"][true].all()


@pytest.mark.parametrize("options", [{}, {"writer_masks": False, "metric": "logit_difference", "split_qkv": False}])
def test_same_seed_same_bytes_other_batches_same_result(options):
    net, pairs = tiny_network("llama", dtype=torch.float64), make_pairs(n=5, t=4, padded=True)
    partition = Partition.modules(net)
    settings = {"steps": 12, "examples": 4} | options
    first, again = (edge_pruning(net, pairs, partition, **settings) for _ in range(2))
    assert (first.weight == again.weight).all() and first.attributes == again.attributes
    apart = edge_pruning(net, pairs, partition, batch_size=1, **settings)
    np.testing.assert_allclose(apart.weight, first.weight, atol=1e-9)
    other = edge_pruning(net, pairs, partition, seed=1, **settings)
    assert not np.allclose(other.weight, first.weight)


def test_goes_on_from_a_checkpoint(tmp_path):
    net, pairs = tiny_network("gpt2"), make_pairs(n=6, t=4)
    partition = Partition.modules(net)
    settings = {"steps": 30, "examples": 4}
    whole, seen = edge_pruning(net, pairs, partition, **settings), []

    class StopError(Exception):
        pass

    def stop(step, loss, sparsity):
        seen.append((step, loss, sparsity))
        if step == 14:
            raise StopError

    file = tmp_path / "masks.safetensors"
    with pytest.raises(StopError):
        edge_pruning(net, pairs, partition, checkpoint=file, report=stop, **settings)
    resumed = []
    graph = edge_pruning(net, pairs, partition, checkpoint=file, report=lambda *x: resumed.append(x), **settings)
    assert resumed[0][0] == 13 and resumed[1] == seen[13]
    assert (graph.weight == whole.weight).all() and graph.attributes == whole.attributes
    assert [f.name for f in tmp_path.iterdir()] == ["masks.safetensors"]
    with pytest.raises(DataError, match="of another search"):
        edge_pruning(net, pairs, partition, checkpoint=file, seed=1, **settings)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DataError, match="not readable"):
        edge_pruning(net, pairs, partition, checkpoint=file, **settings)


@pytest.mark.parametrize("featured", [False, True])
def test_search_over_patterns_and_features(featured):
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs(n=4, t=3)
    net = with_features(net, {"attn.1": "write", "mlp.0": "hidden"}) if featured else net
    partition = halves(net) if featured else striped(net)
    settings = {"steps": 20, "examples": 3, "learning_rate": 0.3}
    graph = edge_pruning(net, pairs, partition, **settings)
    ends = np.array(graph.node_names, dtype=object)
    from_pattern = np.array([name.endswith("/pattern") for name in ends[graph.source]])
    assert from_pattern.any() and np.ptp(graph.columns["log_odds"][from_pattern]) > 0.1
    assert 0 < graph.columns["kept"].sum() < graph.n_edges
    apart = edge_pruning(net, pairs, partition, batch_size=1, **settings)
    np.testing.assert_allclose(apart.weight, graph.weight, rtol=0, atol=1e-9)
    assert (edge_pruning(net, pairs, partition, **settings).weight == graph.weight).all()


def test_chain_search():
    net, pairs = chain(), Images(n=6)
    graph = edge_pruning(net, pairs, Partition.channels(net), steps=150, target=0.6)
    assert 0.2 < graph.columns["kept"].mean() < 0.8
    assert np.isfinite(graph.weight).all()


@pytest.mark.parametrize(
    "options, match",
    [({"steps": 0}, "steps is 0"), ({"examples": 0}, "examples is 0"), ({"target": -0.1}, "target is -0.1")],
)
def test_refuses_settings(options, match):
    net, pairs = tiny_network("gpt2"), make_pairs()
    with pytest.raises(DataError, match=match):
        edge_pruning(net, pairs, Partition.modules(net), **options)


def test_refuses_metrics_and_partitions():
    net, pairs = tiny_network("gpt2"), make_pairs()
    with pytest.raises(DataError, match="accuracy"):
        effective_connectivity(net, pairs, Partition.modules(net), "edge-pruning", metric="accuracy")
    whole = Partition.modules(net)
    backwards = Partition.from_labels(dict(reversed(list(whole.labels.items()))))
    with pytest.raises(GraphError, match="in the order"):
        edge_pruning(net, pairs, backwards)
