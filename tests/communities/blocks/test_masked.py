from __future__ import annotations

import math

import numpy as np
import pytest

from compgraph.communities import adjusted_rand, fit_sbm
from compgraph.communities.blocks.masked import MaskedModel, MaskedState
from compgraph.communities.pairs import allowed_pairs
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from tests.communities.graphs import groups, layered, transformer, undirected

GRAPH, _ = layered(transformer(n_layers=4, n_heads=8), 0, split_qkv=False)
ALLOWED = allowed_pairs(GRAPH)


def circuit(ratio: float, seed: int, density: float = 0.3) -> tuple[ComputationalGraph, np.ndarray]:
    """Allowed pairs kept at random, `ratio` times more often inside two groups."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(groups(GRAPH.n_nodes, 2))
    inside = labels[GRAPH.source] == labels[GRAPH.target]
    chance = 2 * density / (1 + ratio) * np.where(inside, ratio, 1)
    return GRAPH.subgraph(rng.random(GRAPH.n_edges) < chance), labels


def model(kinds: np.ndarray | None = None) -> MaskedModel:
    graph, _ = circuit(2.0, seed=3)
    return MaskedModel.of(graph.source.astype(np.int64), graph.target.astype(np.int64), ALLOWED, kinds)


def test_the_description_length_is_the_formula_written_out() -> None:
    made, labels = model(), np.random.default_rng(0).integers(3, size=GRAPH.n_nodes).astype(np.int32)
    n = len(labels)
    nats = 0.0
    for r in range(3):
        for s in range(3):
            pair = np.ix_(labels == r, labels == s)
            edges, expected = made.edges[pair].sum(), made.expected[pair].sum()
            nats += (edges + 1) * math.log(expected + 1) - math.lgamma(edges + 1)
    nats -= sum(math.log(p) for p in made.expected[made.edges > 0])
    nats += math.log(n) + math.log(math.comb(n - 1, 2)) + math.lgamma(n + 1)
    nats -= sum(math.lgamma((labels == r).sum() + 1) for r in range(3))
    assert made.length(labels) == pytest.approx(nats, rel=1e-12)


@pytest.mark.parametrize("kinds", [None, np.arange(GRAPH.n_nodes) % 2])
def test_moves_and_merges_change_the_length_as_they_say(kinds: np.ndarray | None) -> None:
    made = model(kinds)
    labels = np.random.default_rng(1).integers(2, size=GRAPH.n_nodes).astype(np.int32)
    state = MaskedState(made, labels * 2 + (0 if kinds is None else kinds.astype(np.int32)))
    before = made.length(state.labels)
    for node in range(0, GRAPH.n_nodes, 3):
        nats = state._with_node(node, *state._profile(node), fixed=False)
        here = nats[state.labels[node]]
        for block in np.flatnonzero(np.isfinite(nats)):
            moved = state.labels.copy()
            moved[node] = block
            assert made.length(moved) - before == pytest.approx(nats[block] - here, abs=1e-9)
    merges = state._merges()
    for first, second in np.argwhere(np.isfinite(merges)):
        merged = np.where(state.labels == second, first, state.labels)
        assert made.length(merged) - before == pytest.approx(merges[first, second], abs=1e-9)
    rng = np.random.default_rng(0)
    changed = state.sweep(rng)[1] + state.merge() + state.sweep(rng, np.inf)[1]
    assert made.length(state.labels) - before == pytest.approx(changed, abs=1e-9)
    if kinds is not None:
        assert all(len(np.unique(kinds[state.labels == block])) == 1 for block in range(state.n_blocks))


@pytest.mark.parametrize("seed", range(3))
def test_random_circuits_on_an_architecture_are_one_block(seed: int) -> None:
    graph, _ = circuit(1.0, seed)
    fit = fit_sbm(graph, weights=None, n_runs=1)
    assert fit.n_blocks == 1
    assert (fit.parameters["engine"], fit.parameters["judge"]) == ("masked", "closed form")
    assert fit.description_length == fit.description_length_configuration


def test_planted_groups_of_a_circuit_are_recovered() -> None:
    graph, labels = circuit(8.0, seed=0)
    fit = fit_sbm(graph, weights=None, n_runs=1)
    assert adjusted_rand(fit.labels, labels) > 0.9
    assert fit.parts["nats"].sum() == pytest.approx(fit.description_length)
    assert fit.pattern == "assortative"
    assert fit.compression_configuration > 0


def test_blocks_within_levels_keep_to_them() -> None:
    graph, _ = circuit(8.0, seed=1)
    fit = fit_sbm(graph, weights=None, constraint="levels", n_runs=1)
    level = graph.node_columns["level"]
    assert all(len(np.unique(level[fit.labels == block])) == 1 for block in range(fit.n_blocks))
    assert fit.gain >= 0


def test_what_the_masked_model_is_not_for() -> None:
    graph, _ = circuit(1.0, seed=0)
    for options in ({"degree_corrected": False}, {"engine": "dense"}, {"nested": "always"}):
        with pytest.raises(GraphError, match="presence among allowed pairs"):
            fit_sbm(graph, weights=None, **options)
    with pytest.raises(GraphError, match="needs a directed graph with an architecture"):
        fit_sbm(undirected(6, 1, 0.0, 0), constraint="levels")
