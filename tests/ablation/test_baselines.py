"""Baselines against loops over single examples, and circuits that run on them against brute force, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compgraph.ablation.baselines import make_baseline
from compgraph.ablation.run import ablate_nodes, run_graph
from compgraph.connectivity.effective import effective_connectivity
from compgraph.data.batches import batch_of, batches
from compgraph.data.prompts import PromptPairs
from compgraph.errors import DataError
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition
from tests.brute import BruteForce
from tests.connectivity.effective.test_eap import Images, chain, cutting, make_pairs
from tests.models.tiny import ONE_PER_FAMILY, VOCABULARY, tiny_network

NAMES = ["mean", "position-mean", "resample", "noise"]


def mixed(n=7, t=6, seed=0):
    """Prompts of several lengths, padded on the right or on the left."""
    rng = np.random.default_rng(seed)
    clean = rng.integers(0, VOCABULARY, (n, t))
    mask = np.ones((n, t), bool)
    for i, cut in enumerate(rng.integers(0, 4, n)):
        mask[i, (slice(t - cut, t) if i % 2 else slice(0, cut))] = False
    mask[:2] = True
    return PromptPairs(clean, None, clean[:, :1], (clean[:, :1] + 1) % VOCABULARY, mask=mask)


def alone(net, pairs, i, sites):
    """Units of the real tokens of one example, run without padding."""
    tokens = torch.from_numpy(pairs.clean[i][pairs.mask[i]])[None]
    return net.run(tokens, capture=sites).units


def everything(net):
    sites = [site.name for site in net.architecture.node_sites[:-1]]
    return [*sites, *(f"{s}.pattern" for s in sites if s.startswith("attn"))]


def all_units(baseline, net, pairs, sites, size=3):
    """Example -> site -> units at its real tokens, in batches of a size."""
    found = []
    for batch in batches(net, pairs, size):
        units = baseline.units(net, batch, sites)
        for k in range(len(batch)):
            real = batch.mask[k]
            one = {s: u[k] for s, u in units.items()}
            found.append({s: u[:, real][:, :, real] if s.endswith("pattern") else u[real] for s, u in one.items()})
    return found


@pytest.mark.parametrize("other", [False, True], ids=["own", "reference"])
@pytest.mark.parametrize("variant", ["gpt2", "neox", "gemma2"])
def test_means_are_those_of_the_examples_run_alone(variant, other):
    net, pairs = tiny_network(variant, dtype=torch.float64), mixed()
    reference = mixed(9, 8, seed=5) if other else None
    sites, source = everything(net), reference if other else pairs
    runs = [alone(net, source, i, sites) for i in range(source.n)]
    for name in ("mean", "position-mean"):
        found = all_units(make_baseline(name, net, pairs, reference=reference), net, pairs, sites)
        for units in found:
            for site, value in units.items():
                if site.endswith("pattern"):
                    t = value.shape[-1]
                    rows = [[run[site][0, :, q, :t] for run in runs if run[site].shape[-1] > q] for q in range(t)]
                    short = [[torch.nn.functional.pad(r, (0, t - r.shape[-1])) for r in row] for row in rows]
                    expected = torch.stack([torch.stack(row).mean(0) for row in short], 1)
                    np.testing.assert_allclose(value.sum(-1).numpy(), 1, rtol=0, atol=1e-12)
                elif name == "mean":
                    expected = torch.cat([run[site][0] for run in runs]).mean(0).expand_as(value)
                else:
                    at = [[run[site][0, k] for run in runs if run[site].shape[1] > k] for k in range(len(value))]
                    expected = torch.stack([torch.stack(rows).mean(0) for rows in at])
                np.testing.assert_allclose(value.numpy(), expected.numpy(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("other", [False, True], ids=["own", "reference"])
def test_resampling_is_the_run_of_another_example_of_the_same_length(other):
    net, pairs = tiny_network("llama", dtype=torch.float64), mixed(12)
    reference = mixed(9, 8, seed=5) if other else None
    source, sites = reference if other else pairs, everything(net)
    baseline = make_baseline("resample", net, pairs, reference=reference, seed=3)
    for i, units in enumerate(all_units(baseline, net, pairs, sites)):
        donor = int(baseline.donors[i])
        length, given = int(pairs.mask[i].sum()), int(source.mask[donor].sum())
        assert given >= length
        assert other or donor != i
        if given > length:
            same = (source.mask.sum(1) == length).sum() - (not other)
            assert same == 0, "a longer donor though there is one of the same length"
        run = alone(net, source, donor, sites)
        for site, value in units.items():
            expected = run[site][0, :, :length, :length] if site.endswith("pattern") else run[site][0, :length]
            np.testing.assert_allclose(value.numpy(), expected.numpy(), rtol=0, atol=1e-10)
    assert baseline.about()["baseline_cut"] == sum(
        source.mask[baseline.donors].sum(1) > pairs.mask.sum(1)
    )  # fmt: skip
    seeds = {tuple(make_baseline("resample", net, pairs, seed=seed).donors) for seed in range(4)}
    assert len(seeds) > 1


def test_noise_has_the_mean_and_covariance_of_the_site():
    net = tiny_network("gpt2", dtype=torch.float64)
    pairs = make_pairs(400, 5)
    baseline = make_baseline("noise", net, pairs, seed=1)
    site = "mlp.0"
    runs = [net.run(b.clean, b.mask, capture=[site]) for b in batches(net, pairs, 64)]
    real = torch.cat([run.units[site].flatten(0, 1) for run in runs])
    drawn = torch.cat([baseline.units(net, b, [site])[site].flatten(0, 1) for b in batches(net, pairs, 100)])
    width = real.std(0)
    assert ((drawn.mean(0) - real.mean(0)).abs() < 5 * width / len(drawn) ** 0.5 + 1e-12).all()
    covariance, found = (np.cov(x.numpy().T, ddof=0) for x in (real, drawn))
    error = 5 * np.sqrt((np.outer(np.diag(covariance), np.diag(covariance)) + covariance**2) / len(drawn))
    assert (np.abs(found - covariance) < error + 1e-9).all()
    lagged = (drawn[1:] - drawn.mean(0)).T @ (drawn[:-1] - drawn.mean(0)) / len(drawn)
    assert (lagged.abs() < 5 * torch.outer(width, width) / len(drawn) ** 0.5 + 1e-9).all(), "draws depend on each other"


@pytest.mark.parametrize("name", NAMES)
def test_batches_do_not_matter_and_seeds_do(name):
    net, pairs = tiny_network("neox", dtype=torch.float64), mixed(12)
    sites = everything(net)
    one, three, again, other = (
        all_units(make_baseline(name, net, pairs, seed=seed), net, pairs, sites, size)
        for size, seed in ((12, 0), (3, 0), (12, 0), (12, 1))
    )
    for a, b, c in zip(one, three, again, strict=True):
        for site in sites:
            np.testing.assert_allclose(a[site].numpy(), b[site].numpy(), rtol=0, atol=1e-10)
            np.testing.assert_array_equal(a[site].numpy(), c[site].numpy())
    moved = any(not torch.equal(a["mlp.0"], b["mlp.0"]) for a, b in zip(one, other, strict=True))
    assert moved == (name in ("resample", "noise"))


@pytest.mark.parametrize("name", [*NAMES, "optimal"])
@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
def test_circuits_and_node_ablation_equal_brute_force(variant, name):
    net = tiny_network(variant, dtype=torch.float64)
    pairs = make_pairs(4, padded=True)
    pairs = PromptPairs(pairs.clean, None, pairs.answers, pairs.distractors, mask=np.ones_like(pairs.mask))
    for partition in (Partition.heads(net), cutting(net, dead=0), Partition.units(net)):
        options = {"steps": 2} if name == "optimal" else {}
        baseline = make_baseline(name, net, pairs, seed=2, partition=partition, options=options)
        full = ComputationalGraph.from_architecture(net, partition)
        mask = np.random.default_rng(0).random(full.n_edges) < 0.6
        base = baseline.units(net, batch_of(net, pairs, np.arange(pairs.n)), everything(net))
        brute = BruteForce(net, partition, True)
        with torch.no_grad():
            expected = brute.run(
                torch.from_numpy(pairs.clean), torch.from_numpy(pairs.positions), base, torch.from_numpy(mask * 1.0)
            )
        found = run_graph(net, full.subgraph(mask), pairs, baseline=baseline)
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=0, atol=1e-10)
        found = run_graph(net, full, pairs, baseline=baseline)
        model = net.run(torch.from_numpy(pairs.clean), positions=torch.from_numpy(pairs.positions)).logits
        np.testing.assert_allclose(found.numpy(), model.numpy(), rtol=0, atol=1e-10)
    if net.spec.family == "gemma2":
        return  # the norm behind a site ties its heads: a head's write depends on which others are ablated
    heads = Partition.heads(net)
    keep = np.ones(heads.n_nodes, bool)
    keep[heads.node_slice("attn.1").start] = False
    full = ComputationalGraph.from_architecture(net, heads)
    cut = full.subgraph(keep[full.source])
    baseline = make_baseline(name, net, pairs, seed=2, partition=heads, options=options)
    logits = ablate_nodes(net, heads, [keep], pairs, baseline=baseline)[0]
    expected = run_graph(net, cut, pairs, baseline=baseline)
    np.testing.assert_allclose(logits.numpy(), expected.numpy(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_images(name):
    net, pairs = chain(), Images(20)
    sites = [site.name for site in net.architecture.node_sites[:-1]]
    baseline = make_baseline(name, net, pairs, seed=1)
    units = baseline.units(net, batch_of(net, pairs, np.arange(5)), sites)
    run = net.run(torch.from_numpy(pairs.clean).to(net.dtype), capture=sites).units
    for site in sites:
        assert units[site].shape == (5, net.architecture.site(site).n_units)
        if name in ("mean", "position-mean"):
            np.testing.assert_allclose(units[site].numpy(), run[site].mean(0).expand(5, -1).numpy(), rtol=0, atol=1e-10)
        if name == "resample":
            np.testing.assert_allclose(units[site].numpy(), run[site][baseline.donors[:5]].numpy(), rtol=0, atol=1e-12)


def test_results_say_where_the_values_came_from():
    net, pairs, reference = tiny_network("gpt2"), mixed(), mixed(8, 7, seed=9)
    partition = Partition.heads(net)
    graph = effective_connectivity(net, pairs, partition, "eap", baseline="mean", reference=reference)
    assert graph.attributes["baseline"] == "mean"
    assert graph.attributes["baseline_data"] == reference.digest
    own = effective_connectivity(net, pairs, partition, "eap", baseline="noise", seed=4)
    assert own.attributes["baseline_data"] == "own"
    assert own.attributes["baseline_seed"] == 4


def test_refuses():
    net, pairs = tiny_network("gpt2"), mixed()
    mask = np.arange(6) < np.arange(7)[:, None] % 5 + 2
    lone = PromptPairs(pairs.clean, None, pairs.answers, pairs.distractors, mask=mask)
    with pytest.raises(DataError, match="'resample': there is no other example as long as"):
        make_baseline("resample", net, lone.subset([0, 4]))
    short = make_baseline("position-mean", net, pairs, reference=mixed(4, 4))
    with pytest.raises(DataError, match="a prompt has 6 tokens, and the longest of the reference data 4"):
        short.units(net, batch_of(net, pairs, np.arange(7)), ["mlp.0"])
    with pytest.raises(DataError, match="'zero' takes nothing from other data; those that do: mean, position-mean"):
        make_baseline("zero", net, pairs, reference=pairs)
    with pytest.raises(DataError, match=r"'average' is not known; valid are .*position-mean"):
        make_baseline("average", net, pairs)
