"""eap against autograd on an explicit mask per edge, in float64, over every family."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import compgraph.metrics as metrics
from compgraph.architectural import architectural_edges
from compgraph.connectivity.effective import effective_connectivity, products
from compgraph.connectivity.effective.streams import StreamScorer
from compgraph.data.prompts import PromptPairs
from compgraph.errors import DataError, GraphError, ModelError
from compgraph.models.modules import from_module
from compgraph.models.sequential import Sequential
from compgraph.partition import Partition
from tests.brute import gradient_scores
from tests.models.tiny import ONE_PER_FAMILY, VARIANTS, VOCABULARY, tiny_network


def make_pairs(n: int = 3, t: int = 6, seed: int = 0, padded: bool = False) -> PromptPairs:
    rng = np.random.default_rng(seed)
    clean, corrupted = rng.integers(0, VOCABULARY, (2, n, t))
    answers = rng.permuted(np.tile(np.arange(VOCABULARY), (n, 1)), axis=1)
    mask = np.ones((n, t), bool)
    if padded:
        mask[1, : t // 2] = False
    return PromptPairs(clean, corrupted, answers[:, :2], answers[:, 2:3], mask=mask)


def clean_run(clean, baseline):
    return [(1.0, {})]


def by_autograd(net, pairs, partition, metric="logit_difference", runs=clean_run, **options):
    measure = metrics.get_metric(metric)
    answers, distractors = torch.from_numpy(pairs.answers), torch.from_numpy(pairs.distractors)

    def one(logits, b):
        return measure(logits, metrics.Targets(answers[b : b + 1], distractors[b : b + 1]))

    return gradient_scores(
        net,
        partition,
        torch.from_numpy(pairs.clean),
        torch.from_numpy(pairs.corrupted),
        torch.from_numpy(pairs.positions),
        one,
        runs,
        padding=torch.from_numpy(pairs.mask),
        **options,
    )


SPLITTABLE = [v for v in VARIANTS if v != "gemma2-plain"]  # its bias before a post-norm belongs to no node


@pytest.mark.parametrize("variant", SPLITTABLE)
@pytest.mark.parametrize("granularity", ["heads", "modules"])
def test_equals_autograd_on_edge_masks(variant, granularity):
    net = tiny_network(variant, dtype=torch.float64)
    partition = getattr(Partition, granularity)(net)
    pairs = make_pairs(padded=True)
    expected = by_autograd(net, pairs, partition)
    graph = effective_connectivity(net, pairs, partition)
    scale = expected.abs().max()
    assert scale > 1e-6
    np.testing.assert_allclose(graph.weight, expected.mean(0).numpy(), rtol=0, atol=1e-10 * float(scale))
    stderr = expected.std(0).numpy() / np.sqrt(pairs.n)
    np.testing.assert_allclose(graph.columns["stderr"], stderr, rtol=0, atol=1e-7 * float(scale))


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize("granularity", ["heads", "modules"])
def test_gradients_at_streams_give_what_gradients_at_readings_give(variant, granularity, monkeypatch):
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(padded=True)
    partition = getattr(Partition, granularity)(net)
    whole = StreamScorer(net, partition, False).whole
    assert "logits" in whole and ("attn.0" in whole) == (granularity == "modules")
    fast = effective_connectivity(net, pairs, partition, split_qkv=False)
    monkeypatch.setattr(StreamScorer, "from_streams", False)
    assert StreamScorer(net, partition, False).whole == []
    slow = effective_connectivity(net, pairs, partition, split_qkv=False)
    np.testing.assert_allclose(fast.weight, slow.weight, rtol=0, atol=1e-12 * np.abs(slow.weight).max())


@pytest.mark.parametrize("variant", ["gpt2", "neox", "llama", "gemma2"])
@pytest.mark.parametrize("split_qkv", [True, False])
def test_zero_baseline_and_joined_channels(variant, split_qkv):
    net = tiny_network(variant, dtype=torch.float64)
    partition, pairs = Partition.heads(net), make_pairs()
    expected = by_autograd(net, pairs, partition, zero=True, split_qkv=split_qkv).mean(0).numpy()
    graph = effective_connectivity(net, pairs, partition, baseline="zero", split_qkv=split_qkv)
    np.testing.assert_allclose(graph.weight, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize("variant", ["gpt2", "llama", "gemma2"])
def test_neuron_parts_and_groups_of_heads(variant):
    net = tiny_network(variant, dtype=torch.float64)
    rng = np.random.default_rng(1)
    labels = {}
    for site in net.architecture.node_sites:
        if site.kind == "attn":
            per_head = np.arange(site.n_heads) % 2
            labels[site.name] = np.repeat(per_head, site.n_units // site.n_heads)
        elif site.kind in ("mlp", "embed"):
            labels[site.name] = np.concatenate([[0, 1, 2], rng.integers(0, 3, site.n_units - 3)])
        else:
            labels[site.name] = np.zeros(site.n_units, int)
    partition, pairs = Partition.from_labels(labels), make_pairs()
    expected = by_autograd(net, pairs, partition, metric="cross_entropy").mean(0).numpy()
    graph = effective_connectivity(net, pairs, partition, metric="cross_entropy")
    np.testing.assert_allclose(graph.weight, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


def cutting(net, seed=0, dead=-1):
    """Parts that cut through heads at every second attention site, random groups of neurons elsewhere."""
    rng = np.random.default_rng(seed)
    labels = {}
    for site in net.architecture.node_sites:
        if site.kind == "attn" and site.name.endswith("1"):
            labels[site.name] = np.repeat(np.arange(site.n_heads), site.n_units // site.n_heads)
        elif site.kind in ("mlp", "attn"):
            labels[site.name] = np.concatenate([[0, 1, 2, dead], rng.integers(0, 3, site.n_units - 4)])
        else:
            labels[site.name] = np.zeros(site.n_units, int)
    return Partition.from_labels(labels)


@pytest.mark.parametrize("variant", [v for v in ONE_PER_FAMILY])
@pytest.mark.parametrize("few", [64, 2])
@pytest.mark.parametrize("zero", [False, True])
def test_patterns_as_nodes(variant, few, zero, monkeypatch):
    """Whatever the order of the products: nodes carried as streams (few) or as units."""
    monkeypatch.setattr(products, "FEW", few)
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(n=2, t=4, padded=True)
    partition = cutting(net)
    for split in (True, False):
        expected = by_autograd(net, pairs, partition, zero=zero, split_qkv=split)
        graph = effective_connectivity(
            net, pairs, partition, baseline="zero" if zero else "counterfactual", split_qkv=split
        )
        atol = 1e-10 * float(expected.abs().max())
        np.testing.assert_allclose(graph.weight, expected.mean(0).numpy(), rtol=0, atol=atol)
        if few == 64:
            np.testing.assert_allclose(graph.columns["stderr"], expected.std(0).numpy() / 2**0.5, atol=1e-6)
        else:
            assert "stderr" not in graph.columns


@pytest.mark.parametrize("variant", ["gpt2", "llama", "gemma2"])
def test_any_partition_is_the_sum_of_its_refinement(variant):
    """units -> parts that cut through heads -> heads -> modules, along both ends of every edge."""
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(n=2, t=4)
    units = effective_connectivity(net, pairs, Partition.units(net))
    heads = effective_connectivity(net, pairs, Partition.heads(net))
    site, label = units.node_columns["site"], units.node_columns["label"]
    names = []
    for s, k in zip(site, label, strict=True):
        if s.startswith("attn"):
            head = int(k) if s.endswith("pattern") else int(k) // net.spec.d_head
            names.append(f"{s.removesuffix('.pattern')}/head.{head}")
        else:
            names.append(s)
    order = {name: k for k, name in enumerate(heads.node_names)}
    coarse = np.array([order[name] for name in names])
    sums: dict[tuple[int, int, str], float] = {}
    for s, t, c, w in zip(units.source, units.target, units.channel, units.weight, strict=True):
        if coarse[s] != coarse[t]:  # pattern -> part stays inside the head
            key = (coarse[s], coarse[t], units.channels[c])
            sums[key] = sums.get(key, 0.0) + w
    for s, t, c, w in zip(heads.source, heads.target, heads.channel, heads.weight, strict=True):
        assert sums.pop((s, t, heads.channels[c])) == pytest.approx(w, abs=1e-10)
    assert not sums


def test_modules_are_sums_of_heads():
    net = tiny_network("llama", dtype=torch.float64)
    pairs = make_pairs()
    fine = effective_connectivity(net, pairs, Partition.heads(net))
    coarse = effective_connectivity(net, pairs, Partition.modules(net))
    site = fine.node_columns["site"]
    order = {name: k for k, name in enumerate(coarse.node_names)}
    sums = np.zeros(coarse.n_edges)
    key = {(s, t, c): k for k, (s, t, c) in enumerate(zip(coarse.source, coarse.target, coarse.channel, strict=True))}
    for s, t, c, w in zip(fine.source, fine.target, fine.channel, fine.weight, strict=True):
        sums[key[(order[site[s]], order[site[t]], c)]] += w
    np.testing.assert_allclose(coarse.weight, sums, atol=1e-12)


def test_batches_and_order_of_examples_do_not_matter():
    net = tiny_network("gpt2", dtype=torch.float64)
    partition, pairs = Partition.heads(net), make_pairs(n=7, padded=True)
    whole = effective_connectivity(net, pairs, partition)
    for size in (1, 2, 5):
        parts = effective_connectivity(net, pairs, partition, batch_size=size)
        np.testing.assert_allclose(parts.weight, whole.weight, atol=1e-13)
        np.testing.assert_allclose(parts.columns["stderr"], whole.columns["stderr"], atol=1e-10)
    shuffled = pairs.subset(np.random.default_rng(0).permutation(pairs.n))
    np.testing.assert_allclose(effective_connectivity(net, shuffled, partition).weight, whole.weight, atol=1e-13)
    again = effective_connectivity(net, pairs, partition)
    assert (again.weight == whole.weight).all()


def chain(seed: int = 0) -> Sequential:
    torch.manual_seed(seed)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(4, 3, 3),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(12, 5),
        torch.nn.ReLU(),
        torch.nn.Linear(5, 3),
    ).double()
    return from_module(module, (1, 8, 8))


class Images:
    """The fields of ImagePairs that attribution reads."""

    def __init__(self, n: int = 4, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.n = n
        self.clean, self.corrupted = rng.normal(size=(2, n, 1, 8, 8))
        self.answers = rng.integers(0, 3, (n, 1))
        self.distractors = (self.answers + 1) % 3
        self.mask = self.positions = None
        self.ids = np.array([f"image/{k}" for k in range(n)])
        self.task = np.full(n, "images")


def chain_by_autograd(net, pairs, partition):
    """Minus the derivative of the metric with respect to a mask on every (part, part) block of every reader."""
    source, target, _ = architectural_edges(net, partition)
    edge = {(int(s), int(t)): k for k, (s, t) in enumerate(zip(source, target, strict=True))}
    sites = [s.name for s in net.architecture.node_sites]
    answers, distractors = torch.from_numpy(pairs.answers), torch.from_numpy(pairs.distractors)
    clean, corrupted = torch.from_numpy(pairs.clean), torch.from_numpy(pairs.corrupted)
    base = net.run(corrupted, capture=sites[:-1]).units
    rows = []
    for b in range(pairs.n):
        mask = torch.ones(len(source), dtype=torch.float64, requires_grad=True)
        x = net.input_units(clean[b : b + 1])
        for u, v in itertools.pairwise(sites):
            matrix = net.reader(v).matrix()
            own = torch.from_numpy(net.pre_labels(v, partition.labels[v]).astype(int))
            weight = torch.zeros_like(matrix)
            keep = torch.zeros_like(matrix)
            for i, s in enumerate(range(partition.node_slice(u).start, partition.node_slice(u).stop)):
                for j, t in enumerate(range(partition.node_slice(v).start, partition.node_slice(v).stop)):
                    block = (own == j)[:, None] & torch.from_numpy(partition.labels[u] == i)[None]
                    keep = keep + mask[edge[(s, t)]] * block
            weight = matrix * keep
            anchor = base[u][b : b + 1]
            pre = net.pre_activations(v, anchor) + ((x - anchor) @ weight.T).reshape(1, *net.pre_shape(v))
            x = net.units_from(v, pre)
        targets = metrics.Targets(answers[b : b + 1], distractors[b : b + 1])
        rows.append(-torch.autograd.grad(metrics.logit_difference(x, targets).sum(), mask)[0])
    return torch.stack(rows)


@pytest.mark.parametrize("granularity", ["modules", "heads", "channels", "units"])
def test_chain_equals_autograd(granularity):
    net, pairs = chain(), Images()
    partition = getattr(Partition, granularity)(net)
    if granularity == "units":  # single pixels of the input would make 10^4 edges: leave it whole
        partition = Partition.mixed(net, {"input": "modules", "*": "units"})
    expected = chain_by_autograd(net, pairs, partition)
    graph = effective_connectivity(net, pairs, partition)
    np.testing.assert_allclose(graph.weight, expected.mean(0).numpy(), atol=1e-12)
    np.testing.assert_allclose(graph.columns["stderr"], expected.std(0).numpy() / 2, atol=1e-10)


def test_refuses_what_it_cannot_serve():
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs()
    partition = Partition.heads(net)
    with pytest.raises(DataError, match="kl"):
        effective_connectivity(net, pairs, partition, metric="kl")
    with pytest.raises(DataError, match="accuracy"):
        effective_connectivity(net, pairs, partition, metric="accuracy")
    with pytest.raises(DataError, match="baseline 'median'"):
        effective_connectivity(net, pairs, partition, baseline="median")
    with pytest.raises(GraphError, match="method 'eep'"):
        effective_connectivity(net, pairs, partition, method="eep")
    biased = tiny_network("gemma2-plain", dtype=torch.float64)
    with pytest.raises(ModelError, match="output bias in front of a post-norm"):
        effective_connectivity(biased, pairs, Partition.heads(biased))
    alone = PromptPairs(pairs.clean, None, pairs.answers, pairs.distractors)
    with pytest.raises(DataError, match="counterfactual"):
        effective_connectivity(net, alone, partition)
