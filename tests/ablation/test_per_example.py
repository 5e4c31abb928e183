"""Node ablation with nodes of its own for every example, against one run per example, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compgraph.ablation.per_example import ablate_nodes_by_example
from compgraph.ablation.run import ablate_nodes, run_graph
from compgraph.data.images import ImagePairs
from compgraph.errors import DataError, GraphError
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition
from tests.connectivity.effective.test_eap import chain, cutting, make_pairs
from tests.models.tiny import ONE_PER_FAMILY, VARIANTS, tiny_network


def masks(partition, n, seed=0, runs=3):
    """Random ones; the first run keeps everything for the first example, the last nothing for the last."""
    keep = np.random.default_rng(seed).random((runs, n, partition.n_nodes)) < 0.6
    keep[0, 0], keep[-1, -1] = True, False
    return keep


def one_by_one(net, partition, keep, pairs, baseline):
    rows = [
        [ablate_nodes(net, partition, [run[i]], pairs.subset([i]), baseline=baseline)[0] for i in range(pairs.n)]
        for run in keep
    ]
    return torch.stack([torch.cat(row) for row in rows]).numpy()


def images(n=5, seed=0):
    rng = np.random.default_rng(seed)
    clean, corrupted = rng.normal(size=(2, n, 1, 8, 8))
    answers = rng.integers(0, 3, n)
    return ImagePairs(clean, corrupted, answers, (answers + 1) % 3)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("baseline", ["counterfactual", "zero"])
def test_equals_one_run_per_example(variant, baseline):
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(n=4, padded=True)
    for partition in (Partition.heads(net), Partition.modules(net)):
        keep = masks(partition, pairs.n)
        logits = ablate_nodes_by_example(net, partition, keep, pairs, baseline=baseline)
        expected = one_by_one(net, partition, keep, pairs, baseline)
        assert np.abs(expected[0] - expected[1]).max() > 1e-3  # the masks matter
        np.testing.assert_allclose(logits.numpy(), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
def test_parts_that_cut_through_heads_and_dead_units(variant):
    net, pairs = tiny_network(variant, dtype=torch.float64), make_pairs(n=3)
    partition = cutting(net)
    keep = masks(partition, pairs.n)
    for baseline in ("counterfactual", "zero"):
        logits = ablate_nodes_by_example(net, partition, keep, pairs, baseline=baseline)
        expected = one_by_one(net, partition, keep, pairs, baseline)
        np.testing.assert_allclose(logits.numpy(), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("baseline", ["counterfactual", "zero", "mean"])
@pytest.mark.parametrize("granularity", ["channels", "units"])
def test_chains(baseline, granularity):
    net, pairs = chain(), images()
    partition = getattr(Partition, granularity)(net)
    keep = masks(partition, pairs.n)
    keep[1][:, : partition.node_slice("conv.1").start] = True  # the pass starts late
    logits = ablate_nodes_by_example(net, partition, keep, pairs, baseline=baseline)
    expected = [ablate_nodes(net, partition, list(keep[:, i]), pairs, baseline=baseline)[:, i] for i in range(pairs.n)]
    np.testing.assert_allclose(logits.numpy(), np.stack(expected, 1), rtol=0, atol=1e-10)


@pytest.mark.parametrize("size", [1, 2, 100])
def test_batches_and_ends(size):
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs(n=5, padded=True)
    partition = Partition.heads(net)
    keep = masks(partition, pairs.n, runs=4)
    keep[1], keep[2] = True, False
    logits = ablate_nodes_by_example(net, partition, keep, pairs, batch_size=size).numpy()
    whole = ablate_nodes_by_example(net, partition, keep, pairs).numpy()
    np.testing.assert_allclose(logits, whole, rtol=0, atol=1e-12)
    mask, positions = torch.from_numpy(pairs.mask), torch.from_numpy(pairs.positions)
    clean, corrupted = (
        net.run(torch.from_numpy(x), mask, positions=positions).logits.detach() for x in (pairs.clean, pairs.corrupted)
    )
    np.testing.assert_allclose(logits[1], clean, rtol=0, atol=1e-12)
    np.testing.assert_allclose(logits[2], corrupted, rtol=0, atol=1e-10)


def test_a_whole_mlp_that_is_kept_keeps_its_output_bias_though_some_units_are_dead():
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs()
    labels = {site.name: np.zeros(site.n_units, int) for site in net.architecture.node_sites}
    labels["mlp.0"][:3] = -1
    partition = Partition.from_labels(labels)
    keep = np.ones((1, pairs.n, partition.n_nodes), bool)
    logits = ablate_nodes_by_example(net, partition, keep, pairs, baseline="zero")[0]
    full = run_graph(net, ComputationalGraph.from_architecture(net, partition), pairs, baseline="zero")
    np.testing.assert_allclose(logits.numpy(), full.numpy(), rtol=0, atol=1e-10)


def test_what_does_not_fit():
    net, pairs = tiny_network("gpt2"), make_pairs()
    partition = Partition.heads(net)
    with pytest.raises(GraphError, match=r"keep has shape \[2, 3, 4\]; it must be \[runs, 3 examples"):
        ablate_nodes_by_example(net, partition, np.ones((2, 3, 4), bool), pairs)
    keep = np.ones((1, pairs.n, partition.n_nodes), bool)
    with pytest.raises(GraphError):
        ablate_nodes_by_example(tiny_network("llama"), partition, keep, pairs)
    with pytest.raises(DataError, match="valid are counterfactual"):
        ablate_nodes_by_example(net, partition, keep, pairs, baseline="nothing")
