from __future__ import annotations

import numpy as np
import pytest

from compgraph.communities import adjusted_rand, fit_sbm, sample_blocks
from compgraph.communities.blocks.library import reproducible
from compgraph.errors import GraphError
from compgraph.graph import ComputationalGraph
from tests.communities.graphs import chain, groups, layered, positive, transformer, undirected

gt = pytest.importorskip("graph_tool", reason="graph-tool is not installed")


def random_graph(n: int, inside: float, outside: float, seed: int) -> ComputationalGraph:
    """Unweighted undirected graph of two groups."""
    rng = np.random.default_rng(seed)
    labels = groups(n, 2)
    chance = np.where(labels[:, None] == labels, inside, outside)
    edges = np.triu(rng.random((n, n)) < chance, 1).astype(float)
    return ComputationalGraph.from_matrix(edges + edges.T, drop_zeros=True)


# ---- nothing there ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.01, 1.0, 1e4])
@pytest.mark.parametrize("n", [20, 50])
def test_independent_weights_of_any_scale_are_one_block(n: int, scale: float) -> None:
    fit = fit_sbm(undirected(n, 1, 0.0, seed=n, scale=scale), n_runs=1)
    assert fit.n_blocks == 1
    assert fit.gain == 0
    assert fit.compression == 0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("unequal", [0.0, 1.5])
def test_structureless_scores_on_an_architecture_are_one_block(seed: int, unequal: float) -> None:
    graph, _ = layered(transformer(), seed=seed, unequal=unequal)
    assert fit_sbm(graph, n_runs=1, seed=seed).n_blocks == 1


def test_random_graphs_without_weights_are_one_block() -> None:
    assert fit_sbm(random_graph(40, 0.2, 0.2, seed=0), weights=None, n_runs=1).n_blocks == 1


def test_heavy_tails_are_one_block_by_their_scores() -> None:
    rng = np.random.default_rng(0)
    weights = np.triu(rng.standard_t(1.5, size=(30, 30)), 1)
    graph = ComputationalGraph.from_matrix(weights + weights.T)
    assert fit_sbm(graph, standardise="scores", n_runs=1).n_blocks == 1


# ---- planted ----------------------------------------------------------------------------------------------


def test_planted_groups_are_recovered_where_graph_tools_own_search_finds_nothing() -> None:
    graph = undirected(40, 3, 2.0, seed=1)
    fit = fit_sbm(graph, n_runs=2)
    assert adjusted_rand(fit.labels, groups(40, 3)) == 1
    assert fit.gain > 100
    assert fit.agreement == 1


def test_a_constant_factor_changes_nothing() -> None:
    fits = [fit_sbm(undirected(30, 2, 1.5, seed=2, scale=scale), n_runs=1) for scale in (1.0, 1e-5)]
    assert np.array_equal(fits[0].labels, fits[1].labels)
    assert fits[0].description_length == fits[1].description_length
    assert fits[0].n_blocks == 2


def test_planted_groups_on_an_architecture_are_recovered() -> None:
    graph, labels = layered(transformer(n_heads=8), seed=0, ratio=6.0, unequal=1.0)
    fit = fit_sbm(graph, n_runs=1)
    assert adjusted_rand(fit.labels, labels) > 0.85
    assert fit.parameters["constraint"] == "layers"


def test_depth_is_found_only_without_the_constraint() -> None:
    architecture = transformer(n_layers=4)
    graph, _ = layered(architecture, seed=3)
    kept = graph.subgraph(np.random.default_rng(0).random(graph.n_edges) < 0.3)
    level = graph.node_columns["level"]
    free = fit_sbm(kept, constraint="none", weights=None, n_runs=1)
    assert free.n_blocks > 1
    deep = [level[free.labels == block].mean() for block in range(free.n_blocks)]
    assert np.ptp(deep) > 3  # its blocks are early and late
    assert fit_sbm(kept, n_runs=1).n_blocks == 1


def test_exponential_weights_and_nested_models() -> None:
    graph = positive(48, 4, 8.0, seed=0)
    fit = fit_sbm(graph, weights="real-exponential", nested="always", n_runs=1)
    assert adjusted_rand(fit.labels, groups(48, 4)) > 0.95
    assert fit.nested


def test_degrees_are_corrected_for_where_that_is_shorter() -> None:
    rng = np.random.default_rng(3)
    n, labels = 60, groups(60, 2)
    activity = rng.pareto(2.0, size=n) + 0.5
    chance = np.outer(activity, activity) * np.where(labels[:, None] == labels, 0.3, 0.02)
    edges = np.triu(rng.random((n, n)) < chance, 1).astype(float)
    graph = ComputationalGraph.from_matrix(edges + edges.T, drop_zeros=True)
    both = fit_sbm(graph, weights=None, n_runs=1)
    each = [fit_sbm(graph, weights=None, n_runs=1, degree_corrected=choice) for choice in (True, False)]
    assert both.description_length == min(fit.description_length for fit in each)
    assert [fit.degree_corrected for fit in each] == [True, False]


# ---- the numbers are graph-tool's -------------------------------------------------------------------------


def test_description_lengths_are_those_of_graph_tool() -> None:
    from graph_tool import inference

    graph = undirected(30, 2, 1.5, seed=4)
    fit = fit_sbm(graph, n_runs=1, nested=False)
    weights = (graph.weight - graph.weight.mean()) / graph.weight.std()
    made = graph.to_graph_tool()
    recs = [made.new_edge_property("double", vals=weights)]
    lengths = []
    for labels in (fit.labels, np.zeros(30, int)):
        options = {"recs": recs, "rec_types": ["real-normal"], "deg_corr": fit.degree_corrected}
        state = inference.BlockState(made, b=made.new_vertex_property("int", vals=labels), **options)
        lengths.append(state.entropy())
    assert fit.description_length == pytest.approx(lengths[0], abs=1e-5)
    # The reference is the better of both models without blocks, so never longer than this one.
    assert fit.description_length_one_block <= lengths[1] + 1e-5
    assert fit.gain == fit.description_length_one_block - fit.description_length


def test_nested_description_lengths_are_those_of_graph_tool() -> None:
    from graph_tool import inference

    graph = undirected(30, 3, 2.0, seed=5)
    fit = fit_sbm(graph, n_runs=1, nested="always", degree_corrected=False)
    assert fit.n_blocks == 3
    weights = (graph.weight - graph.weight.mean()) / graph.weight.std()
    made = graph.to_graph_tool()
    options = {
        "recs": [made.new_edge_property("double", vals=weights)],
        "rec_types": ["real-normal"],
        "deg_corr": False,
    }
    assert len(fit.levels) == 1
    state = inference.NestedBlockState(made, bs=[fit.labels, np.zeros(3, int)], state_args=options)
    assert fit.description_length == pytest.approx(state.entropy(), abs=1e-5)


def test_nested_is_kept_only_if_it_is_shorter() -> None:
    graph = undirected(30, 2, 1.5, seed=4)
    fits = {nested: fit_sbm(graph, n_runs=1, nested=nested) for nested in (True, False, "always")}
    shortest = min(fits[False].description_length, fits["always"].description_length)
    assert fits[True].description_length == pytest.approx(shortest, abs=1e-6)


def test_a_hierarchy_is_found_where_there_is_one() -> None:
    rng = np.random.default_rng(6)
    n, fine, coarse = 96, groups(96, 8), groups(96, 2)
    chance = 0.02 + 0.1 * (coarse[:, None] == coarse) + 0.7 * (fine[:, None] == fine)
    edges = np.triu(rng.random((n, n)) < chance, 1).astype(float)
    graph = ComputationalGraph.from_matrix(edges + edges.T, drop_zeros=True)
    fit = fit_sbm(graph, weights=None, nested="always", n_runs=1)
    assert adjusted_rand(fit.levels[0], fine) > 0.95
    assert len(fit.levels) > 1
    assert adjusted_rand(fit.levels[-1], coarse) > 0.95


# ---- runs, seeds, options ---------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_fit_whatever_ran_before() -> None:
    graph = undirected(24, 2, 1.0, seed=7)
    first = fit_sbm(graph, seed=3, n_runs=2)
    fit_sbm(positive(12, 2, 3.0, seed=1), seed=99, n_runs=1)
    again = fit_sbm(graph, seed=3, n_runs=2)
    assert np.array_equal(first.labels, again.labels)
    assert first.runs.equals(again.runs)
    assert first.summary() == again.summary()


def test_threads_are_handed_back() -> None:
    before = gt.openmp_get_num_threads()
    with reproducible(0):
        assert gt.openmp_get_num_threads() == 1
    assert gt.openmp_get_num_threads() == before


def test_runs_are_listed_and_the_best_is_kept() -> None:
    fit = fit_sbm(undirected(30, 3, 1.2, seed=8), n_runs=3)
    assert fit.runs["run"].tolist() == [0, 1, 2]
    assert fit.description_length == fit.runs["description_length"].min()
    assert -1 <= fit.agreement <= 1


def test_weak_evidence_is_not_enough() -> None:
    graph, _ = layered(transformer(n_layers=2, n_heads=4), seed=0)
    free = fit_sbm(graph, odds=1.0, n_runs=1)
    assert 0 < free.gain < np.log(100)
    asked = fit_sbm(graph, n_runs=1)
    assert asked.n_blocks == 1
    assert "less than the odds of 100" in asked.notes[-1]


def test_a_given_number_of_blocks() -> None:
    graph = undirected(30, 3, 2.0, seed=9)
    fit = fit_sbm(graph, n_blocks=3, n_runs=1)
    assert adjusted_rand(fit.labels, groups(30, 3)) == 1
    for wanted in (1, 5, 30):
        assert fit_sbm(graph, n_blocks=wanted, n_runs=1).n_blocks == wanted
    with pytest.raises(GraphError, match="31 blocks were asked for, but only 30"):
        fit_sbm(graph, n_blocks=31)


@pytest.mark.parametrize("n", [30, 60])
def test_both_engines_agree_and_graph_tool_judges(n: int) -> None:
    graph = undirected(n, 3, 2.0, seed=n)
    dense, alone = (fit_sbm(graph, engine=engine, nested=False, n_runs=1) for engine in ("dense", "graph-tool"))
    assert dense.parameters["engine"] == "dense"
    assert dense.parameters["judge"] == f"graph-tool {gt.__version__.split()[0]}"
    assert np.array_equal(dense.labels, alone.labels)
    assert dense.description_length == pytest.approx(alone.description_length, rel=1e-12)


def test_odds_between_models_are_differences_of_description_lengths() -> None:
    fit = fit_sbm(undirected(40, 3, 2.0, seed=1), n_runs=2)
    models = fit.models.set_index(["model", "degree_corrected"])
    assert models.index.is_unique
    assert models["log_odds"].min() == 0
    one = models.loc["one block"]
    assert one["description_length"].min() == fit.description_length_one_block
    assert (one["log_odds"] >= fit.gain).all()
    assert set(models.loc["flat"].index) == {True, False}
    assert models.loc["nested", "n_blocks"].tolist() == [3]
    assert fit.runs["overlap"].tolist() == [1, 1]


@pytest.mark.parametrize("informative", [True, False])
def test_weights_are_told_from_edges(informative: bool) -> None:
    rng = np.random.default_rng(0)
    labels = groups(60, 2)
    inside = labels[:, None] == labels
    edges = rng.random((60, 60)) < np.where(inside, 0.7, 0.3)
    weights = np.triu(edges * (rng.normal(size=(60, 60)) + 1.5 * inside * informative), 1)
    graph = ComputationalGraph.from_matrix(weights + weights.T, drop_zeros=True)
    models = fit_sbm(graph, nested=False, n_runs=1, degree_corrected=False, engine="dense").models
    (odds,) = models.loc[~models["weighted"], "log_odds"]
    assert (odds > 50) == informative


def test_discrete_weights() -> None:
    rng = np.random.default_rng(0)
    labels = groups(40, 2)
    counts = np.triu(rng.poisson(np.where(labels[:, None] == labels, 6, 3)), 1).astype(float)
    graph = ComputationalGraph.from_matrix(counts + counts.T)
    for weights in ("discrete-poisson", "discrete-binomial"):
        fit = fit_sbm(graph, weights=weights, n_runs=1, nested=False)
        assert adjusted_rand(fit.labels, labels) == 1
    with pytest.raises(GraphError, match="need whole numbers"):
        fit_sbm(undirected(8, 1, 0.0, seed=0), weights="discrete-poisson")


# ---- degenerate graphs ------------------------------------------------------------------------------------


def test_nodes_without_evidence_are_in_no_block() -> None:
    graph, _ = layered(transformer(n_heads=8), seed=0, ratio=6.0)
    silent = graph.subgraph((graph.source != 1) & (graph.target != 1))
    fit = fit_sbm(silent, n_runs=1)
    assert fit.n_blocks > 1
    assert np.flatnonzero(fit.labels == -1).tolist() == [1]
    assert fit.blocks["source"].min() == 0


@pytest.mark.parametrize(
    "graph",
    [
        ComputationalGraph([], [], [], None, []),
        ComputationalGraph(["a"], [], [], None, []),
        ComputationalGraph(["a", "b"], [], [], None, [], directed=False),
        ComputationalGraph(["a", "b", "c"], [0], [1], None, [-1.0], directed=False),
        layered(chain(), 0)[0],
    ],
    ids=["empty", "one node", "no edge", "one edge", "chain of modules"],
)
def test_graphs_that_hold_nothing_are_at_most_one_block(graph: ComputationalGraph) -> None:
    fit = fit_sbm(graph, n_runs=1)
    assert fit.n_blocks <= 1
    assert len(fit.labels) == graph.n_nodes


def test_degree_correction_means_nothing_on_an_architecture() -> None:
    with pytest.raises(GraphError, match="the architecture decides"):
        fit_sbm(layered(transformer(), 0)[0], degree_corrected=True)


@pytest.mark.parametrize(
    "options",
    [
        {"nested": "sometimes"},
        {"degree_corrected": "yes"},
        {"n_runs": 0},
        {"moves": "blind"},
        {"effort": 0},
        {"odds": 0.5},
        {"n_blocks": 0},
        {"engine": "numpy"},
    ],
)
def test_settings_that_mean_nothing_are_refused(options: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        fit_sbm(undirected(6, 1, 0.0, seed=0), **options)


def test_graphs_of_other_libraries_are_accepted() -> None:
    graph = undirected(24, 2, 2.5, seed=0)
    given = (graph, graph.to_networkx(), graph.to_igraph(), graph.matrix())
    fits = [fit_sbm(one, nested=False, n_runs=1) for one in given]
    assert [fit.labels.tolist() for fit in fits] == [groups(24, 2).tolist()] * 4
    assert fit_sbm({"x": given[1], "y": graph}, nested=False, n_runs=1).n_blocks == 2
    drawn = sample_blocks(given[1], fits[1], n_samples=2, thin=1)
    assert drawn.names == graph.node_names
