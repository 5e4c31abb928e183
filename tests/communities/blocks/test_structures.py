from __future__ import annotations

import math

import numpy as np
import pytest

from compgraph.communities import BlockModel, adjusted_rand, fit_sbm
from compgraph.communities.blocks.generated import KINDS
from compgraph.communities.blocks.pattern import pattern
from compgraph.communities.blocks.problem import describe
from compgraph.communities.blocks.states import States
from compgraph.communities.blocks.structures import STRUCTURES, Structure
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
    with pytest.raises(ValueError, match="structure must be one of any, select, assortative"):
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
