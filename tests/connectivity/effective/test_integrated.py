"""Methods that average gradients over several runs, against autograd on nudged edges, in float64."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from compgraph.connectivity.effective import effective_connectivity
from compgraph.errors import DataError
from compgraph.metrics import Targets, logit_difference
from compgraph.partition import Partition
from tests.connectivity.effective.test_eap import Images, by_autograd, chain, make_pairs
from tests.models.tiny import ONE_PER_FAMILY, tiny_network

clean_corrupted = partial(effective_connectivity, method="clean-corrupted")
eap_ig_activations = partial(effective_connectivity, method="eap-ig-activations")
eap_ig_inputs = partial(effective_connectivity, method="eap-ig-inputs")

STEPS = 3


def inputs(clean, baseline):
    return [(1 / STEPS, {"embed": baseline + k / STEPS * (clean - baseline)}) for k in range(STEPS)]


def ends(clean, baseline):
    return [(0.5, {}), (0.5, {"embed": baseline})]


def activations(net):
    sites = [s.name for s in net.architecture.node_sites[1:-1]]
    weight = 1 / (STEPS * (1 + len(sites)))

    def runs(clean, baseline):
        shares = [k / STEPS for k in range(1, STEPS + 1)]
        embed = [(weight, {"embed": baseline + a * (clean - baseline)}) for a in shares]
        return embed + [(weight, {"edit": (site, a)}) for site in sites for a in shares]

    return runs


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("method", ["clean-corrupted", "eap-ig-inputs", "eap-ig-activations"])
def test_equals_autograd(variant, zero, method):
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(n=2, t=4, padded=True)
    partition = Partition.heads(net)
    runs = {"clean-corrupted": ends, "eap-ig-inputs": inputs, "eap-ig-activations": activations(net)}[method]
    options = {} if method == "clean-corrupted" else {"steps": STEPS}
    expected = by_autograd(net, pairs, partition, runs=runs, zero=zero).mean(0).numpy()
    graph = effective_connectivity(
        net, pairs, partition, method, baseline="zero" if zero else "counterfactual", **options
    )
    np.testing.assert_allclose(graph.weight, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


def test_input_scores_sum_to_the_change_of_the_metric():
    """Completeness: the error of the left Riemann sum falls like 1 / steps."""
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs(n=4)
    partition = Partition.heads(net)
    targets = Targets(torch.from_numpy(pairs.answers), torch.from_numpy(pairs.distractors))
    with torch.no_grad():
        clean, corrupted = (
            logit_difference(
                net.run(torch.from_numpy(x), positions=torch.from_numpy(pairs.positions)).logits, targets
            ).mean()
            for x in (pairs.clean, pairs.corrupted)
        )
    errors = []
    for steps in (20, 40, 80, 160):
        graph = eap_ig_inputs(net, pairs, partition, steps=steps)
        errors.append(abs(graph.weight[graph.source == 0].sum() - float(corrupted - clean)))
    assert errors[-1] < 0.02 * abs(float(corrupted - clean))
    assert errors[-1] < errors[0] / 4


def test_chain_completeness_and_ends():
    net, pairs = chain(), Images()
    partition = Partition.channels(net)
    targets = Targets(torch.from_numpy(pairs.answers), torch.from_numpy(pairs.distractors))
    clean, corrupted = (
        logit_difference(net.run(torch.from_numpy(x)).logits, targets).mean() for x in (pairs.clean, pairs.corrupted)
    )
    graph = eap_ig_inputs(net, pairs, partition, steps=400)
    total = graph.weight[graph.source == 0].sum()
    assert total == pytest.approx(float(corrupted - clean), abs=2e-3 * np.abs(graph.weight).sum())
    first, second = (effective_connectivity(net, p, partition) for p in (pairs, _swapped(pairs)))
    both = clean_corrupted(net, pairs, partition)
    np.testing.assert_allclose(both.weight, (first.weight - second.weight) / 2, atol=1e-12)


def _swapped(pairs):
    other = Images()
    other.clean, other.corrupted = pairs.corrupted, pairs.clean
    return other


def test_one_step_of_activations_is_eap():
    net, pairs = tiny_network("llama", dtype=torch.float64), make_pairs()
    partition = Partition.heads(net)
    plain = effective_connectivity(net, pairs, partition)
    np.testing.assert_allclose(eap_ig_activations(net, pairs, partition, steps=1).weight, plain.weight, atol=1e-12)


@pytest.mark.parametrize("method", [eap_ig_inputs, eap_ig_activations])
def test_zero_steps(method):
    net, pairs = tiny_network("gpt2"), make_pairs()
    with pytest.raises(DataError, match="steps is 0"):
        method(net, pairs, Partition.heads(net), steps=0)
