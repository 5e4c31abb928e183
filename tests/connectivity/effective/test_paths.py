"""eap-gp and ceap against explicit loops over paths and edges, in float64."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from compgraph.connectivity.effective import effective_connectivity
from compgraph.errors import DataError, GraphError
from compgraph.metrics import Targets, logit_difference
from compgraph.partition import Partition
from tests.connectivity.effective import references
from tests.connectivity.effective.references import Case
from tests.connectivity.effective.test_eap import Images, chain, make_pairs
from tests.models.tiny import ONE_PER_FAMILY, tiny_network


def check(graph, expected, tolerance=1e-10):
    scale = float(expected.abs().max())
    assert scale > 1e-6
    np.testing.assert_allclose(graph.weight, expected.mean(0).numpy(), rtol=0, atol=tolerance * scale)
    stderr = expected.std(0).numpy() / np.sqrt(len(expected))
    np.testing.assert_allclose(graph.columns["stderr"], stderr, rtol=0, atol=1e-7 * scale)


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize("method, zero", [("eap-gp", False), ("ceap", False), ("ceap", True)])
def test_equals_loops(variant, method, zero):
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(n=2, t=4, padded=True)
    partition = Partition.heads(net)
    case = Case(net, partition, pairs, zero=zero)
    reference = {"eap-gp": references.eap_gp, "ceap": references.ceap}[method]
    baseline = "zero" if zero else "counterfactual"
    check(effective_connectivity(net, pairs, partition, method, baseline=baseline, steps=3), reference(case, 3), 1e-9)


def test_step_size_zero_baseline_and_cut_batches(monkeypatch):
    net, pairs = tiny_network("llama", dtype=torch.float64), make_pairs(n=3, t=4, padded=True)
    partition = Partition.heads(net)
    expected = references.eap_gp(Case(net, partition, pairs, zero=True), 2, 0.3)
    for memory in (2**27, 1):
        monkeypatch.setattr("compgraph.connectivity.effective.eap_gp.MEMORY_FOR_LOGITS", memory)
        graph = effective_connectivity(net, pairs, partition, "eap-gp", baseline="zero", steps=2, step_size=0.3)
        check(graph, expected, 1e-9)
    apart = effective_connectivity(
        net, pairs, partition, "eap-gp", baseline="zero", steps=2, step_size=0.3, batch_size=1
    )
    np.testing.assert_allclose(apart.weight, graph.weight, atol=1e-10 * np.abs(graph.weight).max())


def test_where_nothing_pulls_the_path_stays():
    """Corrupted equal to clean: no gradient at the start, all changes zero, and no division by it."""
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs(n=2, t=4)
    pairs = type(pairs)(pairs.clean, pairs.clean.copy(), pairs.answers, pairs.distractors)
    assert (effective_connectivity(net, pairs, Partition.heads(net), "eap-gp").weight == 0).all()


def change_of_metric(net, pairs):
    targets = Targets(torch.from_numpy(pairs.answers), torch.from_numpy(pairs.distractors))
    positions = None if pairs.positions is None else torch.from_numpy(pairs.positions)
    with torch.no_grad():
        clean, corrupted = (
            logit_difference(net.run(torch.from_numpy(x), positions=positions).logits, targets).mean()
            for x in (pairs.clean, pairs.corrupted)
        )
    return float(corrupted - clean)


@pytest.mark.parametrize("kind", ["transformer", "chain"])
def test_conductance_is_complete_at_both_ends(kind):
    """Scores out of the input and scores into the output both sum to the metric's change; the error falls like 1/m."""
    if kind == "chain":
        net, pairs, make = chain(), Images(), Partition.channels
    else:
        net, pairs, make = tiny_network("qwen3", dtype=torch.float64), make_pairs(n=2, t=4), Partition.heads
    partition = make(net)
    expected = change_of_metric(net, pairs)
    errors = []
    for steps in (40, 320):
        graph = effective_connectivity(net, pairs, partition, "ceap", steps=steps)
        into = np.isin(graph.target, graph.outputs)
        out_of = np.isin(graph.source, graph.inputs)
        errors.append([abs(graph.weight[edges].sum() - expected) for edges in (out_of, into)])
    assert (np.array(errors[1]) < 0.02 * abs(expected) + 0.01).all()
    assert (np.array(errors[1]) < np.array(errors[0]) / 4).all()


def test_one_step_of_conductance_is_the_gradient_at_the_corrupted_run():
    net, pairs = tiny_network("neox", dtype=torch.float64), make_pairs()
    swapped = type(pairs)(pairs.corrupted, pairs.clean, pairs.answers, pairs.distractors)
    partition = Partition.heads(net)
    one = effective_connectivity(net, pairs, partition, "ceap", steps=1)
    np.testing.assert_allclose(one.weight, -effective_connectivity(net, swapped, partition).weight, atol=1e-12)


def test_finer_than_heads_adds_up():
    net, pairs = tiny_network("llama", dtype=torch.float64), make_pairs(n=2, t=4)
    for method in ("ceap", "eap-gp"):
        fine = effective_connectivity(net, pairs, Partition.units(net), method, steps=2)
        heads = effective_connectivity(net, pairs, Partition.heads(net), method, steps=2)
        into = [g.weight[np.isin(g.target, g.outputs)].sum() for g in (fine, heads)]
        assert into[0] == pytest.approx(into[1], rel=1e-10)


def test_resampling():
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs(n=11, t=4)
    partition = Partition.heads(net)
    graph = effective_connectivity(net, pairs, partition, "ceap", steps=2, resamples=3, seed=5, batch_size=4)
    plain = effective_connectivity(net, pairs, partition, "ceap", steps=2)
    np.testing.assert_allclose(graph.weight, plain.weight, atol=1e-12)
    dealt = np.random.default_rng(5).permutation(11)
    own = [
        effective_connectivity(net, pairs.subset(dealt[3 * k : 3 * k + 3]), partition, "ceap", steps=2).weight
        for k in range(3)
    ]
    np.testing.assert_allclose(graph.columns["resample_std"], np.std(own, axis=0, ddof=1), atol=1e-12)
    about = graph.attributes["resampling"]
    assert (about["samples"], about["examples"]) == (3, 3)
    for fraction, value in about["jaccard"].items():
        n = int(float(fraction) * len(own[0]))
        tops = [set(np.argsort(-np.abs(w))[:n]) for w in own]
        assert value == pytest.approx(np.mean([len(a & b) / len(a | b) for a, b in combinations(tops, 2)]))
    assert min(about["jaccard"].values()) < 1


@pytest.mark.parametrize(
    "options, match",
    [
        ({"method": "ceap", "steps": 0}, "steps is 0"),
        ({"method": "eap-gp", "steps": 0}, "steps is 0"),
        ({"method": "eap-gp", "step_size": 0.0}, "step_size is 0"),
        ({"method": "ceap", "resamples": 1}, "resamples is 1"),
        ({"method": "ceap", "resamples": 4}, "resamples is 4; with 3 examples"),
    ],
)
def test_refuses(options, match):
    net, pairs = tiny_network("gpt2"), make_pairs()
    with pytest.raises(DataError, match=match):
        effective_connectivity(net, pairs, Partition.heads(net), **options)


def test_random():
    net, pairs = tiny_network("gpt2"), make_pairs()
    partition = Partition.heads(net)
    first, again, other = (effective_connectivity(net, pairs, partition, "random", seed=s) for s in (3, 3, 4))
    assert (first.weight == again.weight).all() and not (first.weight == other.weight).any()
    assert (first.weight < 0).any()
    uniform = effective_connectivity(net, pairs, partition, "random", distribution="uniform", seed=3)
    assert ((uniform.weight >= 0) & (uniform.weight < 1)).all()
    assert effective_connectivity(chain(), Images(), Partition.channels(chain()), "random").n_edges == 46
    with pytest.raises(GraphError, match="distribution 'cauchy'"):
        effective_connectivity(net, pairs, partition, "random", distribution="cauchy")
