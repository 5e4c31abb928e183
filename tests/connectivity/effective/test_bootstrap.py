"""Bootstrap intervals and sign consistency against a plain loop over resamples."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compgraph.connectivity.effective.attribution import effective_connectivity
from compgraph.connectivity.effective.bootstrap import Bootstrap
from compgraph.errors import DataError, GraphError
from compgraph.partition import Partition
from tests.connectivity.effective.test_eap import make_pairs
from tests.models.tiny import tiny_network


def test_equals_a_loop_over_resamples_in_any_batches():
    rng = np.random.default_rng(0)
    scores = rng.normal(np.array([0.0, 0.5, -1.0, 0.1, 0.0]), size=(30, 5))
    scores[:, 4] = 0
    whole, parts = (Bootstrap(30, 5, 200, seed=3) for _ in range(2))
    whole.add(scores, np.arange(30), slice(0, 5))
    for rows in (np.arange(0, 7), np.arange(7, 30)):
        parts.add(scores[rows][:, :2], rows, slice(0, 2))
        parts.add(scores[rows][:, 2:], rows, slice(2, 5))
    found, again = (one.columns(scores.mean(0)) for one in (whole, parts))
    means = np.array([np.repeat(scores, counts, axis=0).mean(0) for counts in whole.counts])
    assert (whole.counts.sum(1) == 30).all()
    for name, tail in (("low", 0.025), ("high", 0.975)):
        np.testing.assert_allclose(found[name], np.quantile(means, tail, axis=0), atol=1e-12)
        np.testing.assert_allclose(again[name], found[name], atol=1e-12)
    same = [(np.sign(column) == np.sign(column.mean())).mean() for column in scores.T]
    np.testing.assert_array_equal(found["sign_consistency"], same)


def test_width_is_that_of_the_standard_error():
    scores = np.random.default_rng(1).normal(size=(400, 1))
    boot = Bootstrap(400, 1, 2000, seed=0)
    boot.add(scores, np.arange(400), slice(0, 1))
    columns = boot.columns(scores.mean(0))
    width = float((columns["high"] - columns["low"])[0])
    assert width == pytest.approx(2 * 1.96 * scores.std() / 20, rel=0.06)


@pytest.mark.parametrize("method", ["eap", "exact", "information-flow-routes", "attention-rollout"])
def test_columns_of_the_methods(method):
    net = tiny_network("gpt2", dtype=torch.float64)
    pairs = make_pairs(9)
    partition = Partition.heads(net)
    plain = effective_connectivity(net, pairs, partition, method)
    graph = effective_connectivity(net, pairs, partition, method, bootstrap=50, batch_size=4)
    np.testing.assert_allclose(graph.weight, plain.weight, atol=1e-10)
    low, high = graph.columns["low"], graph.columns["high"]
    assert (low <= high).all()
    assert ((low <= graph.weight) & (graph.weight <= high)).mean() > 0.9
    assert ((graph.columns["sign_consistency"] >= 0) & (graph.columns["sign_consistency"] <= 1)).all()
    assert graph.attributes["bootstrap"] == 50
    assert "low" not in plain.columns


def test_refuses():
    net = tiny_network("gpt2", dtype=torch.float64)
    pairs = make_pairs(3)
    with pytest.raises(GraphError, match=r"'acdc' does not average over examples"):
        effective_connectivity(net, pairs, Partition.heads(net), "acdc", bootstrap=10)
    with pytest.raises(DataError, match=r"bootstrap is 10000000000: with .* edges it can be at most"):
        effective_connectivity(net, pairs, Partition.heads(net), "eap", bootstrap=10**10)
