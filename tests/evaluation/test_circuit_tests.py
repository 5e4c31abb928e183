"""Minimality, the five tests and knock-outs on a network whose circuit is known, and on tiny real ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from compgraph.ablation.run import run_graph
from compgraph.connectivity.effective import effective_connectivity
from compgraph.data.prompts import PromptPairs
from compgraph.errors import DataError, GraphError
from compgraph.evaluation import scores as scoring
from compgraph.evaluation.circuit_tests import TESTS, circuit_tests
from compgraph.evaluation.ground_truth import true_mask
from compgraph.evaluation.inflated import inflated_circuits
from compgraph.evaluation.knock_out import knock_in_out
from compgraph.evaluation.minimality import minimality
from compgraph.evaluation.random_circuits import is_connected, pruned, random_circuits
from compgraph.evaluation.scores import rank_p
from compgraph.graph import ComputationalGraph
from compgraph.metrics import Targets, get_metric
from compgraph.models.compiled import compile_case
from compgraph.multiple_testing import benjamini_hochberg
from compgraph.partition import Partition
from tests.connectivity.effective.test_eap import make_pairs
from tests.models.tiny import tiny_network


@pytest.fixture(scope="module")
def known():
    """Network, data, all edges, which are true."""
    case = compile_case("two-branch")
    pairs = PromptPairs(**case.examples(48, 0), task=case.name)
    full = ComputationalGraph.from_architecture(case.net, Partition.heads(case.net))
    return case.net, pairs, full, true_mask(full, case.true_edges)


@pytest.fixture(scope="module")
def tiny():
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs(n=6)
    return net, pairs, effective_connectivity(net, pairs, Partition.heads(net))


def edge(graph, source, target, channel):
    names = np.array(graph.node_names)
    found = (names[graph.source] == source) & (names[graph.target] == target)
    found &= np.array(graph.channels)[graph.channel] == channel
    assert found.sum() == 1
    return int(np.flatnonzero(found)[0])


def passing(net, graph, mask, pairs, **options):
    table = circuit_tests(
        net, graph.subgraph(mask), pairs, n_random=60, n_permutations=199, necessity="disjoint", **options
    ).set_index("test")
    assert tuple(table.index) == TESTS
    return table


# ---- the five tests --------------------------------------------------------------------------------------------


def test_the_true_circuit_passes_all_five(known):
    net, pairs, full, true = known
    table = passing(net, full, true, pairs)
    assert table["passes"].all(), table
    assert table["n"].tolist() == [48, 48, int(true.sum()), 60, 60]


def test_single_precision_does_not_change_the_verdict():
    case = compile_case("induction", dtype=torch.float32, rotation=1)
    pairs = PromptPairs(**case.examples(32, 0), task=case.name)
    full = ComputationalGraph.from_architecture(case.net, Partition.heads(case.net))
    table = passing(case.net, full, true_mask(full, case.true_edges), pairs)
    assert table["passes"].all() and "32 ties" in table.loc["equivalence", "note"], table


def test_a_superfluous_edge_is_caught_by_minimality_alone(known):
    net, pairs, full, true = known
    more = true.copy()
    more[edge(full, "embed", "attn.1/head.1", "q")] = True
    table = passing(net, full, more, pairs)
    assert table.index[~table["passes"]].tolist() == ["minimality"]
    assert "1 of 9 edges are superfluous" in table.loc["minimality", "note"]
    rows = minimality(net, full.subgraph(more), pairs)
    assert rows.loc[~rows["needed"], "name"].tolist() == ["embed -> attn.1/head.1 (q)"]


@pytest.mark.parametrize("missing", [("embed", "attn.1/head.1", "v"), ("attn.0/head.2", "attn.1/head.2", "k")])
def test_a_missing_edge_is_caught(known, missing):
    net, pairs, full, true = known
    less = true.copy()
    less[edge(full, *missing)] = False
    less = pruned(full, less)
    table = passing(net, full, less, pairs)
    assert not table.loc["equivalence", "passes"] and table.loc["equivalence", "p"] < 1e-4


def test_a_random_circuit_fails(known):
    net, pairs, full, true = known
    other = random_circuits(full, true, 1, "size", seed=5)[0]
    table = passing(net, full, other, pairs)
    assert not table.loc[["equivalence", "sufficiency", "partial necessity"], "passes"].any()


def test_statistics_are_those_of_circuits_run_one_by_one(tiny):
    net, pairs, graph = tiny
    circuit = graph.top(40).prune()
    table = circuit_tests(net, circuit, pairs, n_random=5, kind="layers", seed=2).set_index("test")
    measure = get_metric("logit_difference")
    targets = Targets(torch.from_numpy(pairs.answers), torch.from_numpy(pairs.distractors))

    def score(some, baseline="counterfactual"):
        return measure(run_graph(net, some, pairs), targets).numpy()

    full = ComputationalGraph.from_architecture(net, Partition.heads(net))
    mask = full.mask_of(circuit)
    model, own, left = score(full), score(circuit), score(full.subgraph(~mask))
    assert table.loc["equivalence", "statistic"] == pytest.approx(abs((own > model).mean() - 0.5))
    random = random_circuits(full, mask, 5, "layers", seed=2)
    others = [((model - score(full.subgraph(one))) ** 2).mean() for one in random]
    assert table.loc["sufficiency", "statistic"] == (((model - own) ** 2).mean() < others).sum()
    others = [((model - score(full.subgraph(~one))) ** 2).mean() for one in random]
    assert table.loc["partial necessity", "statistic"] == (((model - left) ** 2).mean() > others).sum()


def test_results_do_not_depend_on_batches_or_passes(tiny, monkeypatch):
    net, pairs, graph = tiny
    circuit = graph.top(30).prune()
    first = circuit_tests(net, circuit, pairs, n_random=4)
    monkeypatch.setattr(scoring, "MEMORY", 5 * 41 * 8 * 2)  # five circuits a pass at two examples a batch
    second = circuit_tests(net, circuit, pairs, n_random=4, batch_size=2)
    assert first.drop(columns=["statistic", "p"]).equals(second.drop(columns=["statistic", "p"]))
    np.testing.assert_allclose(first["statistic"], second["statistic"], atol=1e-9)
    np.testing.assert_allclose(first["p"], second["p"])


# ---- minimality ------------------------------------------------------------------------------------------------


def test_every_true_edge_and_node_is_needed(known):
    net, pairs, full, true = known
    rows = minimality(net, full.subgraph(true), pairs)
    assert len(rows) == true.sum() and rows["needed"].all() and (rows["change"] < 0).all()
    nodes = minimality(net, full.subgraph(true), pairs, by="node", reference="random", kind="size")
    assert nodes["name"].tolist() == ["attn.0/head.2", "attn.1/head.1", "attn.1/head.2", "mlp.1"]
    assert (nodes["loss"] > 1).all() and nodes["p"].between(1 / 200, 1).all()


@pytest.mark.parametrize("reference", ["inflated", "random"])
def test_losses_are_those_of_single_removals(tiny, reference):
    net, pairs, graph = tiny
    circuit = graph.top(25).prune()
    rows = minimality(net, circuit, pairs, reference=reference, n_random=9, kind="size")
    measure = get_metric("logit_difference")
    targets = Targets(torch.from_numpy(pairs.answers), torch.from_numpy(pairs.distractors))
    before = measure(run_graph(net, circuit, pairs), targets).numpy()
    assert len(rows) == circuit.n_edges
    for k in range(0, circuit.n_edges, 5):
        after = measure(run_graph(net, circuit.subgraph(np.arange(circuit.n_edges) != k), pairs), targets).numpy()
        assert rows["loss"][k] == pytest.approx(((before - after) ** 2).mean(), abs=1e-12)
        assert rows["change"][k] == pytest.approx((after - before).mean(), abs=1e-12)
        assert rows["source"][k] == circuit.edges["source"][k] and rows["channel"][k] == circuit.edges["channel"][k]


def test_edges_that_do_nothing_are_not_needed_though_rounding_stirs(known):
    net, pairs, full, true = known
    idle = true.copy()
    idle[edge(full, "embed", "attn.0/head.2", "q")] = True  # attends by position: its queries are constants
    rows = minimality(net, full.subgraph(idle), pairs, reference="random", kind="size").set_index("name")
    assert rows.loc["embed -> attn.0/head.2 (q)", "loss"] == 0 and rows.loc["embed -> attn.0/head.2 (q)", "p"] == 1


def test_needed_edges_are_found_at_the_promised_rate_of_false_ones():
    """The table's p and q on made-up losses: false discoveries stay below the level, planted ones are found."""
    false, found, p_null = [], [], []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        reference = rng.exponential(size=399)
        losses = rng.exponential(size=20) + 20 * (np.arange(20) < 5)
        p = np.array([rank_p(one, reference) for one in losses])
        needed = benjamini_hochberg(p) <= 0.1
        false.append(needed[5:].sum() / max(1, needed.sum()))
        found.append(needed[:5].mean())
        p_null.append(p[-1])
    assert np.mean(false) < 0.1 and np.mean(found) > 0.99
    assert kstest(p_null, "uniform").pvalue > 1e-3


def test_inflated_circuits_add_one_path(known):
    _, _, full, true = known
    masks, new = inflated_circuits(full, true, 40, seed=1)
    for mask, one in zip(masks, new, strict=True):
        assert mask[one] and not true[one] and (mask | true == mask).all() and is_connected(full, mask)
        added = np.flatnonzero(mask & ~true)
        assert len(set(full.target[added])) == len(added)  # at most one edge into each node of a path
    assert len(set(new.tolist())) > 10
    np.testing.assert_array_equal(masks, inflated_circuits(full, true, 40, seed=1)[0])
    with pytest.raises(GraphError, match="none to add"):
        inflated_circuits(full, np.ones(full.n_edges, bool), 1)


# ---- knock-in and knock-out ------------------------------------------------------------------------------------


def test_a_circuit_without_back_up_has_no_overlap(known):
    net, pairs, full, true = known
    row = knock_in_out(net, [full.subgraph(true)], pairs).iloc[0]
    assert [row["faithfulness"], row["completeness"], row["overlap"]] == pytest.approx([1, 0, 0], abs=1e-6)


@pytest.mark.parametrize("ablation", ["edge", "node"])
def test_knock_outs_are_runs_of_the_complement(tiny, ablation):
    net, pairs, graph = tiny
    circuits = [graph.top(30).prune(), graph.top(60)]
    table = knock_in_out(net, circuits, pairs, ablation=ablation, metrics=["logit_difference", "kl"])
    full = ComputationalGraph.from_architecture(net, Partition.heads(net))
    rows = table[table["metric"] == "logit_difference"]
    measure = get_metric("logit_difference")
    targets = Targets(torch.from_numpy(pairs.answers), torch.from_numpy(pairs.distractors))

    def mean(mask):
        return float(measure(run_graph(net, full.subgraph(mask), pairs, ablation=ablation), targets).mean())

    model, empty = mean(np.ones(full.n_edges, bool)), mean(np.zeros(full.n_edges, bool))
    for circuit, (_, row) in zip(circuits, rows.iterrows(), strict=True):
        mask = full.mask_of(circuit)
        if ablation == "edge":
            left = ~mask
        else:
            used = set(circuit.edges["source"]) | set(circuit.edges["target"])
            free = np.array([n not in used or n in ("embed", "logits") for n in full.node_names])
            left = free[full.source] & free[full.target]
        f, c = (mean(mask) - empty) / (model - empty), (mean(left) - empty) / (model - empty)
        assert [row["faithfulness"], row["completeness"]] == pytest.approx([f, c], abs=1e-9)
        assert row["overlap"] == pytest.approx(f + c - 1, abs=1e-9)
        assert row["overlap_low"] <= row["overlap"] <= row["overlap_high"]


# ---- refusals --------------------------------------------------------------------------------------------------


def test_refusals(tiny):
    net, pairs, graph = tiny
    circuit = graph.top(30).prune()
    empty = graph.subgraph(np.zeros(graph.n_edges, bool))
    with pytest.raises(GraphError, match="by 'head'"):
        minimality(net, circuit, pairs, by="head")
    with pytest.raises(GraphError, match="reference 'paths'"):
        minimality(net, circuit, pairs, reference="paths")
    with pytest.raises(GraphError, match="node ablation cannot tell"):
        minimality(net, circuit, pairs, ablation="node")
    with pytest.raises(GraphError, match="no edge that could be removed"):
        minimality(net, empty, pairs)
    with pytest.raises(GraphError, match="no edges; there is nothing to test"):
        circuit_tests(net, empty, pairs)
    with pytest.raises(GraphError, match="necessity 'some'"):
        circuit_tests(net, circuit, pairs, necessity="some")
    with pytest.raises(GraphError, match="on no path from an input"):
        circuit_tests(net, graph.top(3), pairs)
    with pytest.raises(GraphError, match="circuits is empty"):
        knock_in_out(net, [], pairs)
    with pytest.raises(DataError, match="logit_diff'"):
        minimality(net, circuit, pairs, "logit_diff")
