from __future__ import annotations

import numpy as np
import pytest

from compgraph.connectivity.structural.composition import compute
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition
from compgraph.statistics import network_statistics
from compgraph.statistics.nulls.network import network
from tests.models.tiny import tiny_network


def test_graphs_of_random_networks_are_cut_as_the_graph_is() -> None:
    net = tiny_network("gpt2")

    def make(one) -> ComputationalGraph:
        return compute(one, Partition.heads(one), rotated=0).top(12)

    graph = make(net)
    drawn = network(net, make, 5, how="rotated", seed=3)
    assert [one.n_edges for one in drawn] == [12] * 5
    assert len({tuple(one.weight.tolist()) for one in [graph, *drawn]}) == 6
    fewer = network(net, make, 2, how="rotated", seed=3)
    assert np.array_equal(fewer[1].weight, drawn[1].weight)
    row = network_statistics(graph, ["span"], null="network", null_graphs=drawn, seed=3).iloc[0]
    assert row["n_nulls"] == 5
    assert row["p"] >= 2 / 6
    assert row["value"] == pytest.approx(network_statistics(graph, ["span"], n_nulls=0)["value"][0])
