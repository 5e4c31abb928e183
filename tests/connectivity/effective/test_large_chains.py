"""Strongest edges of chains (CNN, MLP), against the graph of all edges, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compgraph.connectivity.blockwise.score_matrix import open_score_matrix
from compgraph.connectivity.effective import chain_blocks, effective_connectivity, products
from compgraph.data.images import ImagePairs
from compgraph.errors import ModelError
from compgraph.models.modules import from_module
from compgraph.partition import Partition
from tests.connectivity.effective.test_eap import Images, chain
from tests.connectivity.effective.test_large import (
    ALL,
    assert_same,
    counted,
    in_order,
    small_budgets,
    stored_edges,
    strongest_of,
)


@pytest.fixture(params=[64, 2, 0])
def few(request, monkeypatch):
    """Sites of how many nodes are pulled back or pushed forward node by node."""
    monkeypatch.setattr(products, "FEW", request.param)


def strided():
    """A chain with a strided, grouped convolution and a pooling that cuts off a border; its head has no bias."""
    torch.manual_seed(1)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, stride=2),
        torch.nn.Tanh(),
        torch.nn.Conv2d(4, 4, 2, groups=2, padding=1),
        torch.nn.ReLU(),
        torch.nn.AvgPool2d(3),
        torch.nn.Flatten(),
        torch.nn.Linear(4, 3, bias=False),
    ).double()
    return from_module(module, (1, 8, 8))


def mixed(net):
    """Units, and pixels in three groups with a dead one."""
    labels = dict(Partition.units(net).labels)
    n = len(labels["input"])
    labels["input"] = np.concatenate([[0, 1, 2, -1], np.random.default_rng(0).integers(0, 3, n - 4)])
    return Partition.from_labels(labels)


@pytest.mark.parametrize("made", [chain, strided])
@pytest.mark.parametrize("granularity", ["units", "channels", "modules"])
def test_all_edges_kept_are_the_dense_graph(made, granularity, few):
    net, pairs = made(), Images(n=3)
    partition = getattr(Partition, granularity)(net)
    dense = effective_connectivity(net, pairs, partition)
    graph = effective_connectivity(net, pairs, partition, keep=ALL)
    assert graph.n_edges == dense.n_edges
    assert_same(graph, dense)
    assert graph.attributes["histogram"] == counted(graph.weight)


@pytest.mark.parametrize("method", ["eap", "clean-corrupted", "eap-ig-inputs"])
def test_strongest_and_block_sizes(method, few, monkeypatch):
    net, pairs = chain(), Images(n=5)
    for partition in (Partition.units(net), mixed(net)):
        dense = effective_connectivity(net, pairs, partition, method)
        with monkeypatch.context() as smaller:
            whole = effective_connectivity(net, pairs, partition, method, keep=3, keep_overall=20)
            assert_same(whole, dense, 3, 20)
            small_budgets(smaller)
            for size in (None, 2):
                options = {"batch_size": size, "keep": 3, "keep_overall": 20}
                graph = effective_connectivity(net, pairs, partition, method, **options)
                assert_same(graph, dense, 3, 20)
                np.testing.assert_array_equal(in_order(graph)[0], in_order(whole)[0])
                assert graph.attributes["histogram"] == whole.attributes["histogram"]


def test_ties_go_to_the_first_edge(few):
    """Outside the field of a convolution, and behind dead units, all scores are zero."""
    net, pairs = chain(), Images(n=1)
    partition = Partition.units(net)
    every = effective_connectivity(net, pairs, partition, keep=ALL)
    assert (every.weight == 0).mean() > 0.5
    for k in (1, 20):
        graph = effective_connectivity(net, pairs, partition, keep=k, keep_overall=3 * k)
        expected = strongest_of(in_order(every)[0], every.weight, every.target, k, 3 * k)
        np.testing.assert_array_equal(in_order(graph)[0], in_order(every)[0][expected])


def test_blocks_stay_within_the_memory(monkeypatch):
    """No array of all scores between two sites is ever there."""
    net, pairs = chain(), Images(n=2)
    monkeypatch.setattr(products, "FEW", 0)
    sizes = []
    into = chain_blocks.ChainBlocks.into
    small_budgets(monkeypatch)
    monkeypatch.setattr(
        chain_blocks.ChainBlocks,
        "into",
        lambda self, site: (sizes.append(block.scores.numel()) or block for block in into(self, site)),
    )
    graph = effective_connectivity(net, pairs, Partition.units(net), keep=1)
    assert max(sizes) <= 64 < graph.attributes["n_edges_scored"] / 50


def test_matrix_of_all_scores(few, tmp_path, monkeypatch):
    small_budgets(monkeypatch)
    images = Images(n=2)
    net, pairs = chain(), ImagePairs(images.clean, images.corrupted, images.answers, images.distractors)
    partition = mixed(net)
    dense = effective_connectivity(net, pairs, partition)
    effective_connectivity(net, pairs, partition, matrix=tmp_path / "m.json")
    found = np.array(list(stored_edges(dense, open_score_matrix(tmp_path / "m.json"))))
    np.testing.assert_allclose(found, dense.weight, rtol=1e-6, atol=1e-6 * np.abs(dense.weight).max())


def test_windows_that_overlap_are_refused():
    module = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.MaxPool2d(3, stride=1), torch.nn.Flatten(), torch.nn.Linear(32, 3)
    )
    net = from_module(module.double(), (1, 8, 8))
    with pytest.raises(ModelError, match="pooling windows overlap"):
        effective_connectivity(net, Images(n=2), Partition.units(net), keep=2)
