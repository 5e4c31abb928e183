from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from compgraph.communities.sbm_weights import evidence, normal_scores
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from tests.communities.graphs import chain, layered, positive, transformer, undirected


def test_standardised_weights_have_mean_zero_and_deviation_one() -> None:
    graph = undirected(12, 2, 1.0, seed=0, scale=30.0)
    seen = evidence(graph, "real-normal", True, "auto")
    assert seen.constraint == "none"
    assert seen.value.mean() == pytest.approx(0, abs=1e-8)
    assert seen.value.std() == pytest.approx(1, abs=1e-8)
    assert seen.transform["deviation"] == pytest.approx(graph.weight.std())
    assert len(seen.value) == 12 * 11 / 2  # each pair once


@pytest.mark.parametrize("standardise", [True, "scores"])
@pytest.mark.parametrize("constant", [1e-7, 3.0, 1e9])
def test_a_constant_factor_changes_nothing(standardise: bool | str, constant: float) -> None:
    graph = undirected(12, 2, 1.0, seed=0)
    scaled = undirected(12, 2, 1.0, seed=0, scale=constant)
    values = [evidence(g, "real-normal", standardise, "none").value for g in (graph, scaled)]
    assert np.array_equal(*values)


def test_exponential_weights_are_divided_by_their_mean() -> None:
    seen = evidence(positive(10, 1, 1.0, seed=0), "real-exponential", True, "none")
    assert seen.value.mean() == pytest.approx(1, abs=1e-8)
    assert (seen.value >= 0).all()


def test_unstandardised_weights_are_left_as_they_are() -> None:
    graph = undirected(8, 1, 0.0, seed=1, scale=5.0)
    assert np.array_equal(evidence(graph, "real-normal", False, "none").value, graph.weight)


def test_normal_scores_are_normal_whatever_the_distribution() -> None:
    values = np.random.default_rng(0).standard_cauchy(500)
    scores = normal_scores(values)
    assert stats.kstest(scores, "norm").statistic < 0.01
    assert np.array_equal(np.argsort(scores), np.argsort(values))
    assert normal_scores([2.0, 2.0, 2.0]).tolist() == [0, 0, 0]


def test_layered_values_are_free_of_strengths_and_of_a_constant() -> None:
    architecture = transformer()
    plain, _ = layered(architecture, seed=1)
    unequal, _ = layered(architecture, seed=1, unequal=2.0)
    factor = ComputationalGraph.from_architecture(architecture, plain.partition, 1e-6 * plain.weight)
    values = [evidence(g, "real-normal", True, "auto").value for g in (plain, unequal, factor)]
    assert np.array_equal(values[0], values[2])
    assert values[0] == pytest.approx(values[1], abs=1e-4)
    assert evidence(plain, "real-normal", True, "auto").constraint == "layers"


def test_values_of_heads_and_of_mlps_are_spread_alike() -> None:
    # log (|q| + |k| + |v|) varies less than the log of one channel.
    graph, _ = layered(transformer(n_layers=4), seed=2)
    seen = evidence(graph, "real-normal", True, "layers")
    into_heads = np.char.startswith(graph.node_columns["site"].astype(str), "attn")[seen.target]
    spread = [seen.value[into_heads].std(), seen.value[~into_heads].std()]
    assert spread[0] == pytest.approx(spread[1], rel=0.05)


def test_weight_zero_and_lone_pairs_are_left_out_with_a_note() -> None:
    graph, _ = layered(transformer(), seed=3)
    weight = graph.weight.copy()
    weight[graph.source == 1] = 0  # the first head writes nothing
    silent = ComputationalGraph.from_architecture(graph.architecture, graph.partition, weight)
    seen = evidence(silent, "real-normal", True, "layers")
    assert 1 not in seen.source
    assert any("weight zero" in note for note in seen.notes)
    # Every head of the first layer reads the embedding alone: that pair is explained by the head's strength.
    assert not np.isin(seen.target, np.arange(1, 7)).any()
    assert any("explain them fully" in note for note in seen.notes)


def test_equal_weights_hold_no_evidence() -> None:
    graph, _ = layered(transformer(), seed=4)
    equal = ComputationalGraph.from_architecture(graph.architecture, graph.partition)
    assert not evidence(equal, "real-normal", True, "layers").value.any()
    complete = ComputationalGraph.from_matrix(np.full((5, 5), 0.3))
    seen = evidence(complete, "real-normal", True, "none")
    assert seen.value is None
    assert "all weights are equal" in seen.notes[0]


def test_what_cannot_be_explained_is_refused() -> None:
    graph = undirected(8, 1, 0.0, seed=0)
    with pytest.raises(GraphError, match=r"at least 0, and \d+ of 28 are negative"):
        evidence(graph, "real-exponential", True, "none")
    with pytest.raises(GraphError, match="needs a directed graph with an architecture"):
        evidence(graph, "real-normal", True, "layers")
    with pytest.raises(GraphError, match="constraint='none'"):
        evidence(layered(chain(), 0)[0], "real-exponential", True, "auto")


@pytest.mark.parametrize(
    ("weights", "standardise", "constraint"),
    [("normal", True, "auto"), ("real-normal", "rank", "auto"), ("real-normal", True, "level"), ("sign", True, "auto")],
)
def test_words_that_mean_nothing_are_refused(weights: str, standardise: object, constraint: str) -> None:
    with pytest.raises(ValueError, match=r"must be|goes beside"):
        evidence(undirected(5, 1, 0.0, seed=0), weights, standardise, constraint)
