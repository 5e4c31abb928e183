"""acdc against a plain sequential loop of brute-force runs, in float64, over every family."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from compgraph.ablation.circuits import CircuitMasks
from compgraph.ablation.run import run_masks
from compgraph.architectural import architectural_edges
from compgraph.connectivity.effective import effective_connectivity
from compgraph.connectivity.effective.acdc import AUTOCIRCUIT, NEVER, _Trials
from compgraph.data.prompts import PromptPairs
from compgraph.errors import DataError
from compgraph.metrics import Targets, get_metric, needs_reference
from compgraph.models.compiled import CASES, compile_case
from compgraph.partition import Partition
from compgraph.patterns import SUFFIX, with_patterns
from tests.brute import BruteForce, base_units
from tests.connectivity.effective.test_eap import Images, chain, make_pairs
from tests.models.tiny import ONE_PER_FAMILY, tiny_network

acdc = partial(effective_connectivity, method="acdc")


def sequential(net, partition, clean, logits_of, targets, metric, tau, *, sign, absolute=False, split_qkv=True):
    """The definition: one edge at a time. `clean`: the model's logits; `logits_of(mask)` runs a circuit."""
    source, target, _ = architectural_edges(net, partition, split_qkv)
    kept = np.ones(len(source), bool)
    change, tested = np.zeros(len(source)), np.zeros(len(source), bool)
    measure = get_metric(metric)
    targets = Targets(targets.answers, targets.distractors, clean if needs_reference(metric) else None)
    now = measure(logits_of(kept), targets).mean()
    partition = with_patterns(net, partition)[1]
    for edge in reversed(range(len(source))):
        site = next(s for s in partition.sites if target[edge] < partition.node_slice(s).stop)
        nodes = np.arange(partition.node_slice(site).start, partition.node_slice(site).stop)
        writes = net.kind == "transformer" and site != "logits" and not site.endswith(SUFFIX)
        tied = nodes if writes and net.decoder(site)[2] is not None else [target[edge]]
        if site != "logits" and not (kept & np.isin(source, tied)).any():
            kept[edge] = False
            continue
        kept[edge] = False
        new = measure(logits_of(kept), targets).mean()
        tested[edge], change[edge] = True, float(new - now)
        if (abs(change[edge]) if absolute else sign * change[edge]) < tau:
            now = new
        else:
            kept[edge] = True
    return kept, tested, change


def whole_model(net, pairs):
    mask, positions = (None if x is None else torch.from_numpy(x) for x in (pairs.mask, pairs.positions))
    with torch.no_grad():
        return net.run(torch.from_numpy(pairs.clean), mask, positions=positions).logits


def by_brute_force(net, partition, pairs, metric, tau, *, zero=False, **options):
    clean, corrupted, positions, padding = (
        torch.from_numpy(x) for x in (pairs.clean, pairs.corrupted, pairs.positions, pairs.mask)
    )
    base = base_units(net, clean, corrupted, padding, zero)
    brute = BruteForce(net, partition, options.get("split_qkv", True))

    def logits_of(mask):
        with torch.no_grad():
            return brute.run(clean, positions, base, torch.from_numpy(mask.astype(float)), zero=zero, padding=padding)

    targets = Targets(torch.from_numpy(pairs.answers), torch.from_numpy(pairs.distractors))
    return sequential(net, partition, whole_model(net, pairs), logits_of, targets, metric, tau, **options)


def check(graph, expected, some=True):
    kept, tested, change = expected
    np.testing.assert_array_equal(graph.columns["kept"], kept)
    np.testing.assert_array_equal(graph.columns["tested"], tested)
    np.testing.assert_allclose(graph.weight, change, rtol=0, atol=1e-10 * max(1, np.abs(change).max()))
    assert not some or 0 < kept.sum() < len(kept)


def middle(net, partition, pairs, metric="kl", **options):
    """A threshold that removes some edges: between what two edges do when all others are there, and so at neither."""
    exact = effective_connectivity(net, pairs, partition, "exact", metric=metric, **options)
    effects = np.sort(np.abs(exact.weight))
    return float(effects[len(effects) // 2 - 1 : len(effects) // 2 + 1].mean())


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize("zero", [False, True])
def test_equals_the_sequential_definition(variant, zero):
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(n=2, t=4, padded=True)
    partition = Partition.modules(net)
    baseline = "zero" if zero else "counterfactual"
    tau = middle(net, partition, pairs, baseline=baseline)
    expected = by_brute_force(net, partition, pairs, "kl", tau, zero=zero, sign=1)
    check(effective_connectivity(net, pairs, partition, "acdc", baseline=baseline, tau=tau), expected)


@pytest.mark.parametrize("metric, sign", [("logit_difference", -1), ("cross_entropy", 1), ("accuracy", -1)])
@pytest.mark.parametrize("absolute", [False, True])
def test_other_metrics_and_joined_channels(metric, sign, absolute):
    net, pairs = tiny_network("llama", dtype=torch.float64), make_pairs(n=3, t=4)
    partition = Partition.modules(net)
    expected = by_brute_force(net, partition, pairs, metric, 0.05, sign=sign, absolute=absolute, split_qkv=False)
    graph = effective_connectivity(
        net, pairs, partition, "acdc", metric=metric, tau=0.05, absolute=absolute, split_qkv=False
    )
    check(graph, expected, some=metric != "accuracy")


def parts(net):
    """Groups of heads, interleaved; neurons in three parts; a split embedding."""
    rng = np.random.default_rng(0)
    labels = {}
    for site in net.architecture.node_sites:
        if site.kind == "attn":
            labels[site.name] = np.repeat(np.arange(site.n_heads) % 2, site.n_units // site.n_heads)
        elif site.kind in ("mlp", "embed"):
            labels[site.name] = np.concatenate([[0, 1, 2], rng.integers(0, 3, site.n_units - 3)])
        else:
            labels[site.name] = np.zeros(site.n_units, int)
    return Partition.from_labels(labels)


def dead(net):
    """The first head of every layer and some neurons and coordinates belong to no node."""
    rng = np.random.default_rng(0)
    labels = {}
    for site in net.architecture.node_sites:
        if site.kind == "attn":
            labels[site.name] = np.repeat(np.arange(site.n_heads) - 1, site.n_units // site.n_heads)
        elif site.kind in ("mlp", "embed"):
            labels[site.name] = np.concatenate([[0, 1, -1], rng.integers(-1, 2, site.n_units - 3)])
        else:
            labels[site.name] = np.zeros(site.n_units, int)
    return Partition.from_labels(labels)


def by_runner(net, partition, pairs, metric, tau, sign=1):
    """The sequential definition on the edge-ablation runner, which is proven against brute force elsewhere."""
    frame = CircuitMasks(net, partition, True)

    def logits_of(mask):
        return torch.cat([logits[0] for _, logits in run_masks(net, frame, mask[None], pairs)])

    targets = Targets(torch.from_numpy(pairs.answers), torch.from_numpy(pairs.distractors))
    return sequential(net, partition, whole_model(net, pairs), logits_of, targets, metric, tau, sign=sign)


@pytest.mark.parametrize("variant, make", [("gpt2", Partition.heads), ("neox", parts), ("gemma2", dead)])
def test_finer_partitions_and_batches(variant, make):
    shorter = {"num_hidden_layers": 2} if variant == "gemma2" else {}
    net, pairs = tiny_network(variant, dtype=torch.float64, **shorter), make_pairs(n=2, t=3, padded=True)
    partition = make(net)
    tau = middle(net, partition, pairs)
    expected = by_runner(net, partition, pairs, "kl", tau)
    graphs = [acdc(net, pairs, partition, tau=tau, batch_size=size) for size in (None, 1)]
    for graph in graphs:
        check(graph, expected)
    again = acdc(net, pairs, partition, tau=tau)
    assert (again.weight == graphs[0].weight).all()


@pytest.mark.parametrize("at_once", [1, 3])
def test_the_number_of_trials_at_once_does_not_matter(at_once, monkeypatch):
    net, pairs = tiny_network("llama", dtype=torch.float64), make_pairs(n=2, t=4)
    partition = Partition.heads(net)
    expected = acdc(net, pairs, partition, tau=0.02)
    start = _Trials.__init__

    def limited(self, *arguments):
        start(self, *arguments)
        self.at_once, self.cached = at_once, False

    monkeypatch.setattr(_Trials, "__init__", limited)
    check(acdc(net, pairs, partition, tau=0.02), (*(expected.columns[c] for c in ("kept", "tested")), expected.weight))


@pytest.mark.parametrize("zero, fine", [(False, False), (True, False), (False, True)])
def test_chain(zero, fine):
    net, pairs = chain(), Images(n=3)
    partition = Partition.channels(net)
    if fine:  # parts that cut through channels, and dead units
        partition = Partition.from_labels(
            {
                s.name: np.arange(3) if s.kind == "logits" else (np.arange(s.n_units) // 2) % 3 - 1
                for s in net.architecture.node_sites
            }
        )
    baseline = "zero" if zero else "counterfactual"
    frame = CircuitMasks(net, partition, True)

    def logits_of(mask):
        return torch.cat([logits[0] for _, logits in run_masks(net, frame, mask[None], pairs, baseline=baseline)])

    targets = Targets(torch.from_numpy(pairs.answers), torch.from_numpy(pairs.distractors))
    tau = middle(net, partition, pairs, baseline=baseline) / 20
    expected = sequential(net, partition, whole_model(net, pairs), logits_of, targets, "kl", tau, sign=1)
    for size in (None, 2):
        graph = acdc(net, pairs, partition, baseline=baseline, tau=tau, batch_size=size)
        check(graph, expected)


def is_true(graph, case):
    """Which edges carry the algorithm of a compiled network."""
    ends = zip(graph.source, graph.target, graph.channel, strict=True)
    names = graph.node_names
    return np.array([(names[s], names[t], graph.channels[c]) in case.true_edges for s, t, c in ends])


@pytest.mark.parametrize("norm", ["none", "layer"])
@pytest.mark.parametrize("name", CASES)
def test_keeps_exactly_the_true_edges_of_compiled_networks(name, norm):
    case = compile_case(name, norm=norm)
    pairs = PromptPairs(**case.examples(32))
    graph = effective_connectivity(case.net, pairs, Partition.heads(case.net), "acdc")
    np.testing.assert_array_equal(graph.columns["kept"], is_true(graph, case))


def test_several_thresholds():
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs(n=2, t=4)
    partition = Partition.modules(net)
    taus = (0.001, 0.03, 0.3)
    removed = [~acdc(net, pairs, partition, tau=tau).columns["kept"] for tau in taus]
    expected = np.full(len(removed[0]), NEVER * 0.3)
    for tau, gone in reversed(list(zip(taus, removed, strict=True))):
        expected[gone] = tau
    for given in (taus, "0.3,0.001,0.03"):
        graph = acdc(net, pairs, partition, taus=given)
        np.testing.assert_array_equal(graph.weight, expected)
        np.testing.assert_array_equal(graph.columns["kept"], expected > 0.3)
    assert len(set(expected)) > 2
    assert len(AUTOCIRCUIT) == 20 and min(AUTOCIRCUIT) == 1e-5 and max(AUTOCIRCUIT) == pytest.approx(0.09)


def test_thresholds_at_the_ends():
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs(n=2, t=4)
    partition = Partition.modules(net)
    none = acdc(net, pairs, partition, tau=1e9)
    assert not none.columns["kept"].any()
    # With every edge into the logits gone the rest is dead, and goes untested.
    np.testing.assert_array_equal(none.columns["tested"], none.target == none.n_nodes - 1)
    assert acdc(net, pairs, partition, metric="cross_entropy", tau=0).columns["kept"].any()


def test_refuses():
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs()
    partition = Partition.modules(net)
    with pytest.raises(DataError, match="must be at least 0"):
        acdc(net, pairs, partition, tau=-1.0)
    with pytest.raises(DataError, match="numbers joined by commas"):
        acdc(net, pairs, partition, taus="small")
