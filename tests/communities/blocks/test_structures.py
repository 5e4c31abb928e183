from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from compgraph.communities import BlockModel, adjusted_rand, fit_sbm
from compgraph.communities.blocks.core_counts import CoreCounts
from compgraph.communities.blocks.generated import KINDS
from compgraph.communities.blocks.pattern import pattern
from compgraph.communities.blocks.problem import describe
from compgraph.communities.blocks.states import States
from compgraph.communities.blocks.structures import STRUCTURES, CorePeriphery, Structure
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from tests.communities.graphs import undirected

pytest.importorskip("graph_tool", reason="graph-tool is not installed")

NAMES = {"modular": "assortative", "core-periphery": "core-periphery", "ordered": "ordered", "random": "one block"}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_structure_is_found_and_named(kind: str, tmp_path: object) -> None:
    graph, labels = KINDS[kind](seed=1)
    fit = fit_sbm(graph, weights=None, structure="select", n_runs=1)
    assert adjusted_rand(fit.labels, labels) > 0.9
    assert fit.pattern == NAMES[kind]
    models = fit.models.set_index(["model", "degree_corrected"])
    refused = fit.models[~fit.models["comparable"]]
    assert refused["description_length"].isna().all()
    assert refused["reason"].tolist() == ["it knows no directions" if graph.directed else "an order needs directions"]
    assert models.loc["overlapping", "log_odds"].min() >= 0
    assert fit.parts["nats"].sum() == pytest.approx(fit.description_length)
    again = BlockModel.load(_saved(fit, tmp_path))
    assert again.summary() == fit.summary()


def _saved(fit: BlockModel, folder: object) -> object:
    fit.save(folder)
    return folder


def star(seed: int) -> tuple[ComputationalGraph, np.ndarray]:
    """Random edges between nodes of very unequal degrees: a core by degrees alone."""
    rng = np.random.default_rng(seed)
    pull = np.exp(rng.normal(size=60))
    drawn = rng.random((60, 60)) < np.minimum(0.05 * pull[:, None] * pull, 1)
    edges = np.triu(drawn, 1).astype(float)
    return ComputationalGraph.from_matrix(edges + edges.T, drop_zeros=True), pull


def test_cores_and_orders_are_told_apart_and_neither_is_found_in_random_graphs() -> None:
    kept = {kind: [] for kind in ("core-periphery", "ordered", "random")}
    for kind, fits in kept.items():
        for seed in range(10, 13):
            graph, labels = KINDS[kind](n=80, seed=seed)
            fit = fit_sbm(graph, weights=None, structure="select", n_runs=1, nested=False)
            fits.append((fit.structure, fit.pattern))
            if kind == "core-periphery":
                assert adjusted_rand(fit.labels, labels) > 0.8
                assert fit.labels[0] == 0  # the core is block 0
    assert kept["core-periphery"] == [("core-periphery", "core-periphery")] * 3
    assert [pattern for _, pattern in kept["ordered"]] == ["ordered"] * 3
    assert [pattern for _, pattern in kept["random"]] == ["one block"] * 3


def test_unequal_degrees_alone_are_no_core() -> None:
    found = [fit_sbm(star(seed)[0], weights=None, structure="select", n_runs=1, nested=False) for seed in range(6)]
    assert sum(fit.n_blocks > 1 for fit in found) <= 1


@pytest.mark.parametrize("directed", [True, False])
@pytest.mark.parametrize("n_core", [1, 3, 6])
def test_a_core_is_told_in_the_share_of_counts_that_are_in_order(n_core: int, directed: bool) -> None:
    rng, labels = np.random.default_rng(n_core), (np.arange(7) >= n_core).astype(np.int32)
    chance = np.array([[0.9, 0.5], [0.5, 0.1]])[np.ix_(labels, labels)]
    open_to = ~np.eye(7, dtype=bool) if directed else np.tri(7, k=-1).T > 0
    source, target = np.nonzero((rng.random((7, 7)) < chance) & open_to)
    counts = CoreCounts.of(source, target, labels, directed)
    total, every, good = len(source), 0, 0
    for a in range(total + 1):
        for m in range(total + 1 - a):
            ways = m + 1 if directed else 1
            every += ways
            good += ways * replace(counts, edges=(a, m, total - a - m)).in_order
    assert counts.log_share == pytest.approx(math.log(good / every), abs=1e-12)
    graph = ComputationalGraph(list("abcdefg"), source, target, None, np.ones(total), directed=directed)
    states = States(describe(graph, weights=None).observed)
    if counts.in_order:
        core = CorePeriphery(states, 1)
        length = core.length(core.state(labels, False))
        assert length == pytest.approx(states.flat_length(labels, False) + counts.log_share, abs=1e-9)


@pytest.mark.parametrize("structure", [STRUCTURES[name] for name in STRUCTURES])
@pytest.mark.parametrize("kind", ["random", "ordered"])
def test_one_block_costs_the_same_in_every_structure(structure: type[Structure], kind: str) -> None:
    graph, _ = KINDS[kind](n=30, seed=0)
    problem, whole = describe(graph, weights=None), np.zeros(30, np.int32)
    if structure.refusal(problem):
        return
    states = States(problem.observed)
    made = structure(states, effort=1)
    for choice in structure.degree_corrected:
        assert made.length(made.state(whole, choice)) == pytest.approx(states.flat_length(whole, choice), abs=1e-6)


def test_a_planted_order_is_numbered_along_the_edges() -> None:
    graph, labels = KINDS["ordered"](seed=0)
    fit = fit_sbm(graph, weights=None, structure="ordered", n_runs=1)
    assert fit.structure == "ordered"
    assert np.array_equal(fit.labels, labels)


def test_memberships_are_shares_of_edges() -> None:
    rng = np.random.default_rng(0)
    shares = np.zeros((60, 2))
    shares[:24, 0] = shares[36:, 1] = 1
    shares[24:36] = 0.6
    edges = np.triu(rng.random((60, 60)) < np.minimum(0.6 * shares @ shares.T, 1), 1).astype(float)
    graph = ComputationalGraph.from_matrix(edges + edges.T, drop_zeros=True)
    fit = fit_sbm(graph, weights=None, structure="overlapping", n_runs=1)
    table = fit.memberships
    assert table.groupby("node")["share"].sum().to_numpy() == pytest.approx(1)
    largest = table.loc[table.groupby("node")["share"].idxmax()].set_index("node")["block"]
    assert adjusted_rand(largest[list(graph.node_names)].to_numpy(), fit.labels) == 1
    assert adjusted_rand(fit.labels[np.r_[:24, 36:60]], np.repeat([0, 1], 24)) > 0.9


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"structure": "assortative"}, "presence of edges alone"),
        ({"structure": "ordered", "weights": None}, "an order needs directions"),
    ],
)
def test_what_a_structure_does_not_serve(options: dict, said: str) -> None:
    with pytest.raises(GraphError, match=said):
        fit_sbm(undirected(8, 1, 0.0, 0), **options)


def test_words_that_are_no_structure() -> None:
    with pytest.raises(ValueError, match="structure must be one of any, select, assortative, core-periphery"):
        fit_sbm(undirected(8, 1, 0.0, 0), structure="modular")


@pytest.mark.parametrize(
    ("ties", "directed", "name"),
    [
        ([[1.0]], False, "one block"),
        ([[3, 1], [1, 2]], False, "assortative"),
        ([[3, 2], [2, 1]], False, "core-periphery"),
        ([[1, 3], [3, 2]], False, "disassortative"),
        ([[5, 4, 3], [4, 3, 1], [3, 1, 0]], False, "core-periphery"),
        ([[1, 9, 0], [1, 1, 9], [0, 1, 1]], True, "ordered"),
        ([[0, 9, 0], [0, 0, 9], [9, 0, 0]], True, "disassortative"),
        ([[1, math.nan], [math.nan, math.nan]], False, "mixed"),
        ([[3, 1, 2], [1, 0, 5], [2, 5, 1]], False, "mixed"),
    ],
)
def test_patterns(ties: list[list[float]], directed: bool, name: str) -> None:
    assert pattern(np.array(ties, float), directed) == name
