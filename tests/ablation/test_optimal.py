"""Optimal constants against a closed form, single nodes against explicit passes, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compgraph.ablation.baselines import make_baseline
from compgraph.ablation.run import ablate_nodes, run_graph
from compgraph.ablation.single_nodes import SingleNodes
from compgraph.connectivity.effective import effective_connectivity
from compgraph.data.batches import batch_of
from compgraph.data.images import ImagePairs
from compgraph.errors import DataError
from compgraph.graph import ComputationalGraph
from compgraph.metrics import Targets, kl, logit_difference
from compgraph.models.sequential import Sequential
from compgraph.partition import Partition
from tests.connectivity.effective.feature_brute import halves, with_features
from tests.connectivity.effective.test_eap import Images, chain, cutting, make_pairs
from tests.models.tiny import ONE_PER_FAMILY, tiny_network


def weighted_distance(logits, targets):
    """Squared distance from the clean run, examples of class k weighted by 1 + k."""
    return (1 + targets.answers[:, 0]) * (logits - targets.reference).square().sum(-1)


weighted_distance.needs_reference = weighted_distance.lower_is_better = True


def test_constants_of_a_linear_chain_are_weighted_means():
    """The output is linear in each part, so that the optimum of a quadratic loss is a weighted mean of its units."""
    rng = np.random.default_rng(0)
    layers = [{"type": "flatten"}, {"type": "linear", "features": 4}, {"type": "linear", "features": 6}]
    weights = {"linear.0.weight": (4, 5), "linear.0.bias": (4,), "logits.weight": (6, 4), "logits.bias": (6,)}
    net = Sequential(layers, (1, 1, 5), {k: torch.from_numpy(rng.standard_normal(v)) for k, v in weights.items()})
    classes = rng.integers(0, 6, (12, 1))
    images = rng.standard_normal((12, 1, 1, 5)) + classes[:, :, None, None]
    pairs = ImagePairs(images, None, classes)
    partition = Partition.from_labels({"input": [0] * 5, "linear.0": [0, 1, 0, -1], "logits": [0] * 6})
    metric = f"{__name__}:weighted_distance"
    options = {"steps": 600, "examples": 12, "metric": metric}
    made = make_baseline("optimal", net, pairs, partition=partition, options=options)
    batch = batch_of(net, pairs, np.arange(12))
    found = made.units(net, batch, ["linear.0"])["linear.0"]
    units = net.run(batch.clean, capture=["linear.0"]).units["linear.0"]
    weight = torch.from_numpy(1.0 + classes)
    expected = (weight * units).sum(0) / weight.sum()
    expected[3] = units[:, 3].mean()  # dead: the mean
    np.testing.assert_allclose(found.numpy(), expected.expand(12, -1).numpy(), rtol=0, atol=1e-4)
    assert (expected - units.mean(0))[:3].abs().min() > 0.01


def networks():
    for variant in ONE_PER_FAMILY:
        net = tiny_network(variant, dtype=torch.float64)
        yield pytest.param(net, cutting(net, dead=1), make_pairs(n=3, t=4, padded=True), id=variant)
    net = with_features(tiny_network("gpt2", dtype=torch.float64), {"mlp.0": "write", "attn.1": "write"})
    yield pytest.param(net, halves(net), make_pairs(n=3, t=4), id="features")
    yield pytest.param(chain(), Partition.channels(chain()), Images(n=3), id="chain")


@pytest.mark.parametrize(("net", "partition", "pairs"), list(networks()))
def test_losses_of_single_nodes_and_their_gradients_are_those_of_explicit_passes(net, partition, pairs, monkeypatch):
    monkeypatch.setattr("compgraph.ablation.single_nodes.MEMORY", 200_000)  # few nodes a pass
    batch = batch_of(net, pairs, np.arange(3))
    sites = [site.name for site in net.architecture.node_sites[:-1]]
    generator = torch.Generator().manual_seed(0)
    value = {s: torch.randn(partition.size(s), generator=generator, dtype=torch.float64) for s in sites}
    held = {site: one.clone().requires_grad_() for site, one in value.items()}
    clean = net.run(batch.clean, batch.mask, positions=batch.positions).logits
    seen = dict.fromkeys(sites, 0)

    def explicit(site, part, constant):
        own = torch.from_numpy(partition.labels[site] == part)
        edit = {site: lambda units: torch.where(own, constant, units)}
        logits = net.run(batch.clean, batch.mask, positions=batch.positions, edit=edit).logits
        return kl(logits, Targets(reference=clean)).mean()

    single = SingleNodes(net, partition, kl)
    for site, parts, losses in single.losses(batch, sites, lambda name: held[name]):
        seen[site] += len(losses)
        expected = [explicit(site, p, value[site]) for p in range(parts.start, parts.stop)]
        np.testing.assert_allclose(losses.detach(), expected, rtol=0, atol=1e-12)
        losses.sum().backward()
    assert seen == {site: partition.n_parts(site) for site in sites}
    for site in sites:
        step = 1e-5 * torch.randn(partition.size(site), generator=generator, dtype=torch.float64)
        change = sum(
            explicit(site, p, value[site] + step) - explicit(site, p, value[site] - step)
            for p in range(partition.n_parts(site))
        )
        np.testing.assert_allclose(float(2 * held[site].grad @ step), float(change), rtol=1e-4, atol=1e-11)


@pytest.mark.parametrize("variant", ["gpt2", "gemma2"])
def test_no_node_does_worse_than_at_its_mean_and_most_do_better(variant):
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(n=10, t=5)
    heads = Partition.heads(net)
    nodes = np.arange(heads.n_nodes - 1)
    keep = nodes[:, None] != np.arange(heads.n_nodes)
    reference = ablate_nodes(net, heads, [np.ones(heads.n_nodes, bool)], pairs)[0]
    options = {"steps": 30, "examples": 4}
    learned = make_baseline("optimal", net, pairs, partition=heads, options=options)

    def losses(baseline):
        runs = ablate_nodes(net, heads, keep, pairs, baseline=baseline)
        return torch.stack([kl(one, Targets(reference=reference)).mean() for one in runs])

    optimal, mean = losses(learned), losses("mean")
    assert (optimal <= mean * (1 + 1e-12)).all()
    assert (optimal < 0.99 * mean).double().mean() > 0.5
    wild = make_baseline("optimal", net, pairs, partition=heads, options=options | {"learning_rate": 100.0})
    assert (losses(wild) <= mean * (1 + 1e-12)).all()


def test_constants_depend_on_data_and_seed_alone(tmp_path, monkeypatch):
    net, pairs, other = tiny_network("neox"), make_pairs(n=9, t=5), make_pairs(n=7, t=5, seed=3)
    monkeypatch.setattr(net, "digest", "a network")
    heads, batch = Partition.heads(net), batch_of(net, pairs, np.arange(2))
    settings = {"partition": heads, "options": {"steps": 5, "examples": 4}}

    def constants(sites=("attn.0", "mlp.1"), **changed):
        made = make_baseline("optimal", net, pairs, **settings | changed)
        return made.units(net, batch, sites) | {"about": made.about()}

    one, again, alone = constants(), constants(), constants(["mlp.1"])
    assert torch.equal(one["mlp.1"], again["mlp.1"]) and torch.equal(one["mlp.1"], alone["mlp.1"])
    assert not torch.equal(one["mlp.1"], constants(seed=1)["mlp.1"])
    assert not torch.equal(one["mlp.1"], constants(reference=other)["mlp.1"])
    assert one["about"]["baseline_data"] == "own"
    assert constants(reference=other)["about"]["baseline_data"] == other.digest
    constants(cache=tmp_path)
    monkeypatch.setattr("compgraph.ablation.optimal.Optimal._learn", None)
    assert torch.equal(constants(cache=tmp_path)["attn.0"], one["attn.0"])
    for file in tmp_path.rglob("*.constants"):
        file.write_bytes(b"torn")
    with pytest.raises(TypeError):
        constants(cache=tmp_path)


def test_effective_methods_say_it_and_count_no_pass_of_learning():
    net, pairs = tiny_network("llama", dtype=torch.float64), make_pairs(n=4, t=4)
    heads = Partition.heads(net)
    made = make_baseline("optimal", net, pairs, partition=heads, options={"steps": 3})
    graph = effective_connectivity(net, pairs, heads, "exact", baseline=made)
    assert (graph.attributes["baseline"], graph.attributes["baseline_steps"]) == ("optimal", 3)
    edge = int(np.abs(graph.weight).argmax())
    full = ComputationalGraph.from_architecture(net, heads)
    cut = full.subgraph(np.arange(full.n_edges) != edge)
    ablated, clean = (run_graph(net, one, pairs, baseline=made) for one in (cut, full))
    targets = Targets(torch.from_numpy(pairs.answers), torch.from_numpy(pairs.distractors))
    expected = (logit_difference(ablated, targets) - logit_difference(clean, targets)).mean()
    np.testing.assert_allclose(graph.weight[edge], float(expected), rtol=1e-6, atol=1e-12)
    again = effective_connectivity(net, pairs, heads, "exact", baseline=made)
    assert again.attributes["passes"] == graph.attributes["passes"]


def test_refuses():
    net, pairs = tiny_network("gpt2"), make_pairs(n=3, t=4)
    heads = Partition.heads(net)
    with pytest.raises(DataError, match="'optimal' is learned for the nodes of a partition; none is given"):
        make_baseline("optimal", net, pairs)
    with pytest.raises(DataError, match="'optimal' has no option 'epochs'; its options: steps, examples"):
        make_baseline("optimal", net, pairs, partition=heads, options={"epochs": 3})
    with pytest.raises(DataError, match="steps is 0; it must be at least 1"):
        make_baseline("optimal", net, pairs, partition=heads, options={"steps": 0})
    with pytest.raises(DataError, match=r"steps is 0\.5; it must be of type int"):
        make_baseline("optimal", net, pairs, partition=heads, options={"steps": 0.5})
    with pytest.raises(DataError, match="'accuracy' has no gradient"):
        make_baseline("optimal", net, pairs, partition=heads, options={"metric": "accuracy"})
    made = make_baseline("optimal", net, pairs, partition=heads)
    modules = ComputationalGraph.from_architecture(net, Partition.modules(net))
    with pytest.raises(DataError, match=r"was learned for the nodes of Partition\(heads"):
        run_graph(net, modules, pairs, baseline=made)
