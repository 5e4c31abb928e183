from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from compgraph.communities import adjusted_rand, fit_sbm
from compgraph.communities.blocks.problem import describe
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from tests.communities.graphs import groups, layered, transformer, undirected

pytest.importorskip("graph_tool", reason="graph-tool is not installed")

from compgraph.communities.blocks.states import States


@pytest.mark.parametrize("degree_corrected", [True, False])
def test_layers_are_told_one_by_one_and_the_partition_once(degree_corrected: bool) -> None:
    problem = describe([undirected(20, 2, 1.0, 0), undirected(20, 2, -1.0, 1), undirected(20, 1, 0.0, 2)])
    labels = groups(20, 4).astype(np.int32)
    together = States(problem.observed).parts((labels,), degree_corrected, nested=False)
    apart = [
        States(replace(problem, layers=(layer,)).observed).parts((labels,), degree_corrected, nested=False)
        for layer in problem.layers
    ]
    for name, nats in together.items():
        expected = apart[0][name] if name == "partition" else sum(one[name] for one in apart)
        assert nats == pytest.approx(expected, abs=1e-6)
    length = States(problem.observed).flat_length(labels, degree_corrected)
    assert length == pytest.approx(sum(together.values()), abs=1e-6)


def test_layers_that_share_groups_are_described_shorter_together() -> None:
    fit = fit_sbm({"plus": undirected(30, 2, 1.0, 0), "minus": undirected(30, 2, -1.0, 1)}, n_runs=1, nested=False)
    assert adjusted_rand(fit.labels, groups(30, 2)) == 1
    apart = fit.models.set_index("model").loc["layers apart"]
    assert apart["log_odds"] > 0
    signs = [np.sign(np.diff(fit.block_matrix(value="value", layer=name).to_numpy()[0])) for name in ("plus", "minus")]
    assert signs[0] == -signs[1]
    with pytest.raises(ValueError, match="layer must be one of 'plus', 'minus'"):
        fit.block_matrix(layer="zero")


def test_layers_with_other_groups_each_are_better_apart_and_the_fit_says_so() -> None:
    shuffled = np.random.default_rng(0).permutation(30)
    other = undirected(30, 2, 2.0, 1).matrix(signed=True)[np.ix_(shuffled, shuffled)]
    fit = fit_sbm([undirected(30, 2, 2.0, 0), ComputationalGraph.from_matrix(other)], n_runs=1, nested=False)
    assert any("blocks of its own for every layer would save" in note for note in fit.notes)


def test_channels_are_layers() -> None:
    graph, labels = layered(transformer(n_heads=8), seed=0, ratio=6.0)
    fit = fit_sbm(graph, layers="channels", nested=False, n_runs=1)
    assert fit.parameters["layer_names"] == ["direct", "q", "k", "v"]
    assert adjusted_rand(fit.labels, labels) > 0.85
    empty, _ = layered(transformer(n_heads=8), seed=1)
    assert fit_sbm(empty, layers="channels", nested=False, n_runs=1).n_blocks == 1


def test_signs_are_a_second_weight() -> None:
    rng = np.random.default_rng(0)
    labels = groups(30, 2)
    sign = np.where(rng.random((30, 30)) < np.where(labels[:, None] == labels, 0.9, 0.1), 1, -1)
    weights = np.triu(rng.exponential(size=(30, 30)) * sign, 1)
    graph = ComputationalGraph.from_matrix(weights + weights.T)
    fit = fit_sbm(graph, weights=["real-exponential", "sign"], n_runs=1)
    assert adjusted_rand(fit.labels, labels) == 1
    assert fit.parameters["weights"] == ["real-exponential", "sign"]
    positive = ComputationalGraph.from_matrix(np.abs(weights + weights.T))
    same = fit_sbm(positive, weights=["real-normal", "sign"], n_runs=1)
    assert any("one sign" in note for note in same.notes)


def test_directed_and_undirected_layers_meet_without_directions() -> None:
    effective, _ = layered(transformer(n_layers=2, n_heads=4), seed=0)
    names = effective.node_names[1:-1]
    functional = ComputationalGraph.from_matrix(undirected(len(names), 1, 0.0, 0).matrix(signed=True), names=names)
    fit = fit_sbm({"effective": effective, "functional": functional}, nested=False, n_runs=1)
    assert not fit.directed
    assert fit.names == effective.node_names
    assert sum("in none" in note for note in fit.notes) == 2


def test_graphs_that_cannot_be_layers_are_refused_by_name() -> None:
    circuit, _ = layered(transformer(), seed=0)
    plain = undirected(8, 1, 0.0, 0)
    with pytest.raises(GraphError, match="layer 'layer 0': presence among allowed pairs"):
        fit_sbm([circuit, circuit], weights=None)
    with pytest.raises(GraphError, match="layer 'b' has no pair"):
        fit_sbm({"a": plain, "b": plain.subgraph(np.zeros(plain.n_edges, bool))})
    with pytest.raises(GraphError, match="explained by the same things"):
        fit_sbm([plain, ComputationalGraph.from_matrix(np.full((8, 8), 0.5))])
    with pytest.raises(GraphError, match="several graphs are layers already"):
        fit_sbm([plain, plain], layers="channels")
    with pytest.raises(GraphError, match="no graph was given"):
        fit_sbm([])


def test_bipartite_blocks_keep_to_their_side() -> None:
    rng = np.random.default_rng(0)
    labels = np.concatenate([groups(40, 2), 2 + groups(40, 2)])
    chance = np.where(labels[:40, None] + 2 == labels[40:], 0.8, 0.1)
    source, target = np.nonzero(rng.random((40, 40)) < chance)
    names = [str(k) for k in range(80)]
    graph = ComputationalGraph(names, source, target + 40, None, np.ones(len(source)), directed=False)
    fit = fit_sbm(graph, weights=None, constraint="bipartite", n_runs=1)
    assert adjusted_rand(fit.labels, labels) > 0.9
    alone = fit_sbm(graph, weights=None, constraint="bipartite", n_runs=1, odds=1e300)
    assert alone.n_blocks == 2  # one for each side
    with pytest.raises(GraphError, match="odd cycles"):
        fit_sbm(undirected(6, 1, 0.0, 0), constraint="bipartite")
