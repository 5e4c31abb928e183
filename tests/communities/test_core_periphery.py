from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from compgraph.communities import core_periphery, find_communities
from compgraph.communities.pairs import allowed_pairs, node_pairs
from compgraph.graph import ComputationalGraph
from tests.communities.graphs import layered, positive, transformer


def planted(seed: int, n: int = 30, core: int = 8, ratio: float = 5.0) -> ComputationalGraph:
    rng = np.random.default_rng(seed)
    inside = np.arange(n) < core
    weights = rng.exponential(size=(n, n)) * np.where(inside[:, None] | inside, ratio, 1.0)
    return ComputationalGraph.from_matrix(np.triu(weights, 1) + np.triu(weights, 1).T)


def test_the_core_is_found_and_is_more_than_chance() -> None:
    found = find_communities(planted(0), "core-periphery", n_nulls=39)
    assert (found.labels == (np.arange(30) >= 8)).all()
    assert found.p == 1 / 40
    assert found.n_beyond_chance == 2
    assert found.chance is not None and found.chance.null == "pairs"


def test_the_rich_core_is_found() -> None:
    labels = core_periphery.find(planted(1), rule="rich-core").labels
    assert (labels[:8] == 0).all()
    assert (labels[8:] == 1).mean() > 0.8


def correlation(graph: ComputationalGraph, core: np.ndarray) -> float:
    weights, allowed = node_pairs(graph).matrix(), allowed_pairs(graph)
    pattern = (core[:, None] | core)[allowed].astype(float)
    return np.corrcoef(weights[allowed], pattern)[0, 1] if np.ptp(pattern) else -1.0


@pytest.mark.parametrize("graph", [planted(0, n=9, core=3), layered(transformer(1, 3), seed=0)[0]])
def test_no_other_core_has_a_higher_correlation(graph: ComputationalGraph) -> None:
    cores = (np.array(core) for core in product([False, True], repeat=graph.n_nodes))
    best = max(correlation(graph, core) for core in cores)
    assert core_periphery.find(graph).quality == pytest.approx(best, abs=1e-9)


def test_no_node_does_better_on_the_other_side() -> None:
    graph = positive(20, 1, 1.0, seed=3)
    found = core_periphery.find(graph)
    core = found.labels == 0
    assert found.quality == pytest.approx(correlation(graph, core), abs=1e-9)
    assert max(correlation(graph, core ^ (np.arange(20) == node)) for node in range(20)) <= found.quality + 1e-9


def test_equal_pairs_have_no_core() -> None:
    found = find_communities(ComputationalGraph.from_matrix(np.ones((5, 5))), "core-periphery")
    assert math.isnan(found.quality)
    assert found.n_beyond_chance is None
    assert "no core stands out" in found.notes[0]
    assert found.summary()["quality"] is None
