"""Curves against scikit-learn; methods against compiled networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from compgraph.catalogue import EFFECTIVE
from compgraph.errors import GraphError
from compgraph.evaluation.ground_truth import edge_recovery, interpbench_auroc, recover_known, true_mask
from compgraph.graph import ComputationalGraph
from compgraph.models.compiled import CASES, compile_case
from tests.circuits.graphs import architecture, names, scored

MASK = np.array([1, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1], dtype=bool)

THOROUGH: dict[str, dict[str, Any]] = {
    "exact": {"n": 12},
    "acdc": {"n": 12},
    "edge-pruning": {"n": 12},
}
"""Methods that must find every true edge of a network without noise before any other, and how they are run: all their
options are defaults, and those of edge-pruning were chosen on other programs (`benchmarks.edge_pruning_settings`)."""


@pytest.mark.parametrize("by", ["abs", "signed", "negative"])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_scikit_learn(by, ties, seed):
    rng = np.random.default_rng(seed)
    weight = rng.integers(-3, 4, 12).astype(float) if ties else rng.normal(size=12)
    labels = rng.permutation(MASK)
    found = edge_recovery(scored(weight), labels, by=by)
    values = {"abs": np.abs(weight), "signed": weight, "negative": -weight}[by]
    assert found.auroc == pytest.approx(roc_auc_score(labels, values), abs=1e-12)
    assert found.auprc == pytest.approx(average_precision_score(labels, values), abs=1e-12)
    fpr, tpr, thresholds = roc_curve(labels, values, drop_intermediate=False)
    np.testing.assert_allclose(found.table["fpr"], fpr)
    np.testing.assert_allclose(found.table["tpr"], tpr)
    np.testing.assert_allclose(found.table["threshold"], thresholds)
    precision, recall, _ = precision_recall_curve(labels, values)
    np.testing.assert_allclose(found.table["precision"], precision[::-1])
    np.testing.assert_allclose(found.table["tpr"], recall[::-1])


def test_curves_run_from_nothing_to_everything_with_ties_together():
    weight = np.array([3, -3, 2, 2, -2, 0, 0, 0, 0, 0, 0, 0.0])
    table = edge_recovery(scored(weight), np.arange(12) < 3).table
    assert table["n_edges"].tolist() == [0, 2, 5, 12]
    assert table["true_positives"].tolist() == [0, 2, 3, 3]
    assert table["false_positives"].tolist() == [0, 0, 2, 9]
    assert table["threshold"].tolist() == [np.inf, 3, 2, 0]
    assert table[["fpr", "tpr"]].iloc[0].tolist() == [0, 0] and table[["fpr", "tpr"]].iloc[-1].tolist() == [1, 1]


def test_perfect_worst_and_blind_scores():
    assert edge_recovery(scored(MASK * 1.0), MASK).auroc == 1 == edge_recovery(scored(MASK * 1.0), MASK).auprc
    assert edge_recovery(scored(~MASK * 1.0), MASK).auroc == 0
    blind = edge_recovery(scored(np.ones(12)), MASK)
    assert blind.auroc == 0.5 and blind.auprc == pytest.approx(MASK.mean()) and len(blind.table) == 2


def test_tolerance_makes_rounding_a_tie():
    weight = np.where(MASK, 0.0, 1e-15)
    weight[0] = 1.0
    assert edge_recovery(scored(weight), MASK).auroc < 0.3
    assert edge_recovery(scored(weight), MASK, tolerance=1e-12).auroc == pytest.approx(0.5 + 0.5 / MASK.sum())
    assert edge_recovery(scored(np.zeros(12)), MASK, tolerance=1e-12).auroc == 0.5


def test_true_edges_by_name_circuit_and_mask():
    graph = scored()
    circuit = graph.subgraph(MASK)
    for form in (MASK, circuit, names(circuit)):
        np.testing.assert_array_equal(true_mask(graph, form), MASK)


def test_channels_that_the_graph_does_not_tell_apart_are_joined():
    from compgraph.partition import Partition

    net = architecture()
    joined = ComputationalGraph.from_architecture(net, Partition.heads(net), split_qkv=False)
    found = true_mask(
        joined, {("embed", "attn.0/head.0", "q"), ("embed", "attn.0/head.0", "v"), ("embed", "logits", "")}
    )
    assert names(joined.subgraph(found)) == {("embed", "attn.0/head.0", ""), ("embed", "logits", "")}


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ({("embed", "attn.9/head.0", "q")}, r"true edge embed -> attn.9/head.0 \(q\) is not an edge"),
        ({("embed", "attn.0/head.0", "")}, "true edge embed -> attn.0/head.0 is not an edge"),
        (set(), "0 of 12 edges are true"),
        (np.ones(12, bool), "12 of 12 edges are true"),
        (np.ones(11, bool), r"must be boolean of shape \(12,\), not \(11,\)"),
    ],
)
def test_bad_truths(edges, message):
    with pytest.raises(GraphError, match=message):
        edge_recovery(scored(), edges)


def plain_circuit(graph, n_edges):
    """The n edges that growth from the output takes, without those on no path from an input: bool [edges]."""
    import networkx as nx

    source, target = np.asarray(graph.source), np.asarray(graph.target)
    reached, kept = {*graph.outputs.tolist()}, set()
    for _ in range(n_edges):
        options = [e for e in range(graph.n_edges) if e not in kept and target[e] in reached]
        best = max(options, key=lambda e: (abs(graph.weight[e]), -e), default=None)
        if best is None:
            break
        kept.add(best)
        reached.add(int(source[best]))
    paths = nx.DiGraph([(int(source[e]), int(target[e])) for e in kept])
    paths.add_nodes_from(range(graph.n_nodes))
    inputs = set(np.flatnonzero([name == "embed" for name in graph.node_names]).tolist())
    below = inputs.union(*(nx.descendants(paths, node) for node in inputs))
    return np.array([e in kept and int(source[e]) in below for e in range(graph.n_edges)])


@pytest.mark.parametrize("seed", range(6))
def test_the_interpbench_variant_is_that_of_plain_loops(seed):
    graph = scored(np.random.default_rng(seed).normal(size=12))
    sizes = (0.05, 0.1, 0.3, 0.6, 1.0)
    circuits = [plain_circuit(graph, int(size * 12)) for size in sizes]
    tpr, fpr = ([float(kept[labels].mean()) for kept in circuits] for labels in (MASK, ~MASK))
    expected = np.trapz(tpr, fpr) / fpr[-1]
    assert interpbench_auroc(graph, MASK, sizes=sizes) == pytest.approx(expected, abs=1e-12)


def test_the_interpbench_variant_starts_at_its_smallest_circuit():
    graph = scored(MASK + 0.0)
    assert edge_recovery(graph, MASK).auroc == 1
    # One circuit without false edges and the whole graph: a trapezoid from the first one's true positives.
    first = plain_circuit(graph, int(0.3 * 12))
    assert not first[~MASK].any() and 0 < first[MASK].mean() < 1
    expected = (first[MASK].mean() + 1) / 2
    assert interpbench_auroc(graph, MASK, sizes=(0.3, 1.0)) == pytest.approx(expected, abs=1e-12)
    with pytest.raises(GraphError, match=r"the largest circuit \(0.3 of the edges\) holds no false edge"):
        interpbench_auroc(graph, MASK, sizes=(0.1, 0.3))
    with pytest.raises(GraphError, match="0 of 12 edges are true"):
        interpbench_auroc(graph, np.zeros(12, bool))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("method", [method for method in THOROUGH if method in EFFECTIVE])
def test_thorough_methods_find_the_true_edges(method, name):
    table = recover_known([method], [compile_case(name)], **THOROUGH[method]).areas
    assert table["auroc"].tolist() == [1.0] and table["auprc"].tolist() == [1.0]
    assert table[["case", "method", "n_true"]].iloc[0].tolist() == [name, method, len(compile_case(name).true_edges)]


@pytest.mark.parametrize(
    "options", [{"norm": "rms"}, {"norm": "layer", "rotation": 1}, {"noise": 0.01}, {"rotation": 1, "noise": 0.01}]
)
def test_exact_effects_find_them_in_any_basis_behind_any_norm_and_under_noise(options):
    cases = [compile_case(name, **options) for name in ("induction", "frac-prevs")]
    assert recover_known(["exact"], cases, n=12).areas["auroc"].tolist() == [1.0, 1.0]


def test_gradients_are_blind_where_a_function_saturates_and_fall_into_the_trap():
    """What the cases are for: errors of first-order scores that are known beforehand."""
    cases = [compile_case("frac-prevs"), compile_case("two-branch")]
    table = recover_known(["eap", "eap-ig-inputs"], cases, n=32).areas
    found = table.set_index(["case", "method"])["auroc"]
    assert found["frac-prevs", "eap"] == 0.625  # only the last of four edges has a gradient
    assert found["frac-prevs", "eap-ig-inputs"] == 1
    assert found["two-branch", "eap"] < found["two-branch", "eap-ig-inputs"]


def test_options_reach_their_method():
    case = compile_case("frac-prevs")
    one, many = (
        recover_known(["eap-ig-inputs"], [case], n=8, options={"eap-ig-inputs": {"steps": steps}}).areas
        for steps in (1, 5)
    )
    assert one["auroc"][0] < many["auroc"][0] == 1  # one step takes the gradient at the corrupted prompt alone
