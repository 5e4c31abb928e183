"""What runs under node and edge ablation, measured by changing weights, is what the definitions say."""

from __future__ import annotations

import numpy as np
import pytest

from compgraph.errors import DataError
from compgraph.evaluation.wiring import NETWORKS, WIDTHS, find_wiring


@pytest.fixture(scope="module")
def found():
    return find_wiring()


def used(found, network):
    rows = found.edges[(found.edges["network"] == network) & found.edges["used"]]
    return set(zip(rows["source"], rows["target"], strict=True))


def test_edge_ablation_runs_the_circuit_and_node_ablation_all_edges_between_its_nodes(found):
    circuit = used(found, "circuit")
    assert used(found, "edge ablation") == circuit
    nodes = {end for edge in circuit for end in edge}
    between = {edge for edge in used(found, "model") if set(edge) <= nodes}
    assert used(found, "node ablation") == between > circuit


def test_numbers_of_the_networks(found):
    assert list(dict.fromkeys(found.edges["network"])) == list(NETWORKS)
    whole = found.networks.set_index("network")
    n_edges = sum(np.multiply(WIDTHS[:-1], WIDTHS[1:]))
    assert whole.loc["model", "n_edges"] == n_edges == len(found.edges) / 4
    assert whole.loc["model", "kl"] == 0 and whole.loc["model", "accuracy"] > 0.95
    assert (whole.loc[["node ablation", "edge ablation"], "kl"] > 0.1).all()


def test_the_same_seed_gives_the_same_networks(found):
    again = find_wiring()
    assert again.edges.equals(found.edges) and again.networks.equals(found.networks)


def test_a_circuit_without_a_path_is_refused():
    with pytest.raises(DataError, match="the 1 strongest edges hold no path"):
        find_wiring(1)
