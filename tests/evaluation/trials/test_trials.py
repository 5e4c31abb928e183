"""What tests of a study hand to the library: examples, circuits, regions; and what they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from compgraph import catalogue
from compgraph.ablation.baselines import make_baseline
from compgraph.ablation.circuits import masks_for
from compgraph.ablation.run import run_graph
from compgraph.attribution.record import node_attributions
from compgraph.attribution.scores import scores_by_item
from compgraph.attribution.some import SomeItems
from compgraph.config.tests import METHODS
from compgraph.connectivity.effective import effective_connectivity
from compgraph.data.holding_out import examples_for, held_out
from compgraph.errors import DataError, GraphError
from compgraph.evaluation.block_ablation import block_ablation
from compgraph.evaluation.class_ablation import random_partition
from compgraph.evaluation.concentration import inequality, lorenz_curves
from compgraph.evaluation.faithfulness import faithfulness
from compgraph.evaluation.profiles import NamedLabels, joined
from compgraph.evaluation.separability import task_separability
from compgraph.evaluation.stability import stability
from compgraph.evaluation.trials.trial import Given
from compgraph.evaluation.verdict import verdict
from compgraph.graph import ComputationalGraph
from compgraph.metrics import Targets, get_metric
from compgraph.partition import Partition
from tests.connectivity.effective.test_eap import chain, make_pairs
from tests.models.tiny import tiny_network

SHARED = {"baseline": "counterfactual", "batch_size": None, "seed": 0}
ONE = {"selection": "top", "options": {}, "metric": "logit_difference", "examples": "held-out", "alpha": 0.05, **SHARED}
MADE_BY = {
    "method": "eap", "metric": "logit_difference", "baseline": "counterfactual", "split_qkv": True, "seed": 0,
    "qk_fix": False, "grad_drop": False, "keep": 0, "keep_overall": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def given() -> Given:
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs(n=24)
    pairs.task[:] = np.array(["x", "y"])[np.arange(24) % 2]
    graph = effective_connectivity(net, examples_for(pairs, 0.5, "chosen").subset(np.arange(12)), Partition.heads(net))
    graph.attributes["held_out"] = 0.5
    attributions = node_attributions(net, pairs, positions="all")
    return Given(net, pairs, graph=graph, made_by=MADE_BY, attributions=attributions)


def run(name: str, given: Given, **settings):
    return catalogue.load(catalogue.TESTS[name])(given, **settings)


def test_every_method_has_its_settings():
    """Fields of the config are exactly the keywords of the function, so that no call can fail for its keywords."""
    import inspect

    from compgraph.cli.tests import NOT_SETTINGS

    assert list(METHODS) == list(catalogue.TESTS)
    for name, model in METHODS.items():
        keywords = set(inspect.signature(catalogue.load(catalogue.TESTS[name])).parameters) - {"given"}
        assert set(model.model_fields) - set(NOT_SETTINGS) == keywords, name


def test_attributions_of_some_examples_are_those_of_these_examples_alone(given):
    keep = held_out(given.pairs, 0.5)
    partition = Partition.heads(given.net)
    some = np.concatenate(list(scores_by_item(SomeItems(given.attributions, keep), partition)))
    alone = node_attributions(given.net, given.pairs.subset(np.flatnonzero(keep)), positions="all")
    np.testing.assert_allclose(some, np.concatenate(list(scores_by_item(alone, partition))), atol=1e-12)
    assert set(given.attributions_of("held-out").item) == set(np.flatnonzero(keep))


def test_minimality_is_of_the_pruned_circuit_on_the_examples_held_out(given):
    settings = {"by": "edge", "reference": "inflated", "random": "size", "n_random": 19, "n_bootstrap": 50}
    found = run("minimality", given, size=0.4, **settings, **ONE)
    circuit = given.graph.top(int(0.4 * given.graph.n_edges)).prune()
    edges, row = found.tables["edges"], found.tables["circuit"].iloc[0]
    assert len(edges) == circuit.n_edges == row["n_edges"]
    held = examples_for(given.pairs, 0.5, "held-out")
    measure, targets = get_metric("logit_difference"), Targets(*map(torch.from_numpy, (held.answers, held.distractors)))
    value = measure(run_graph(given.net, circuit, held), targets)
    assert row["value"] == pytest.approx(float(value.mean()), abs=1e-10)
    first = circuit.subgraph(np.arange(circuit.n_edges) > 0)
    loss = (measure(run_graph(given.net, first, held), targets) - value).square().mean()
    assert edges["loss"].iloc[0] == pytest.approx(float(loss), abs=1e-10)
    assert f"of its {circuit.n_edges} edges" in found.verdict


@pytest.mark.parametrize("name", ["minimality", "circuit-tests"])
def test_a_circuit_without_a_path_is_an_empty_result_that_says_so(given, name):
    settings = {
        "minimality": {"by": "edge", "reference": "inflated", "n_bootstrap": 0},
        "circuit-tests": {"necessity": "random", "q": 0.9, "epsilon": 0.1, "n_permutations": 9},
    }[name]
    found = run(name, given, size=1e-3, random="size", n_random=5, **settings, **ONE)
    assert all(table.empty for table in found.tables.values())
    assert "no path" in found.verdict and found.notes == (found.verdict,)


def test_stability_is_of_the_graph_made_again_from_disjoint_samples(given):
    found = run("stability", given, samples=3, sizes=[0.1, 0.5], by="abs", metrics=["logit_difference"], **SHARED)
    chosen = examples_for(given.pairs, 0.5, "chosen")
    rows = np.random.default_rng(0).permutation(12).reshape(3, 4)
    part = Partition.heads(given.net)
    again = [effective_connectivity(given.net, chosen.subset(np.sort(one)), part) for one in rows]
    expected = stability({"samples": again}, [0.1, 0.5])
    pd.testing.assert_frame_equal(found.tables["circuits"].drop(columns="n_examples"), expected)
    assert len(found.tables["areas"]) == 3
    with pytest.raises(DataError, match="samples is 13"):
        run("stability", given, samples=13, sizes=[0.5], by="abs", metrics=["logit_difference"], **SHARED)


def test_what_a_baseline_learns_is_from_the_chosen_examples_and_shared_with_the_stage_ablation(given, tmp_path):
    one = replace(given, cache=tmp_path)
    held, chosen = (examples_for(given.pairs, 0.5, which) for which in ("held-out", "chosen"))
    frame = masks_for(given.net, given.graph)
    staged = make_baseline(
        "optimal", given.net, held, reference=chosen, partition=frame.partition, cache=tmp_path
    )  # fmt: skip
    mine = one.baseline("optimal", held, 0)
    assert mine._key(given.net) == staged._key(given.net) and mine.folder == tmp_path
    assert one.baseline("mean", held, 0).data.n == held.n


def again(net, pairs, **options):
    graph = effective_connectivity(net, examples_for(pairs, 0.5, "chosen"), Partition.heads(net), **options)
    graph.attributes["held_out"] = 0.5
    return graph, pairs


def test_graphs_made_again_are_compared_on_examples_that_none_was_made_from(given):
    other = make_pairs(n=24, seed=5)
    some = held_out(given.pairs, 0.5)  # of either half of the others as many are known
    other.clean[np.flatnonzero(~some)[:4]] = given.pairs.clean[np.flatnonzero(some)[:4]]
    there, steps = again(given.net, other), again(given.net, given.pairs, method="eap-ig-inputs")
    one = replace(given, replicates={"seeds": {"there": there}, "phrasings": {"there": there, "steps": steps}})
    settings = {"sizes": [0.1, 0.5], "by": "abs", "metrics": ["logit_difference"], "among": "layers", "n_null": 19}
    found = run("reproducibility", one, **settings, **SHARED)
    table, areas = found.tables["circuits"], found.tables["areas"]
    pd.testing.assert_frame_equal(
        table[table["source"] == "seeds"].iloc[:, :13], stability({"seeds": [given.graph, there[0]]}, [0.1, 0.5])
    )
    assert set(areas[areas["source"] == "phrasings"]["graph"]) == {"this", "there", "steps"}
    assert set(areas["data"]) == {"this", "there"}  # `steps` is of the same examples
    seen = {one.tobytes() for one in examples_for(other, 0.5, "chosen").clean}
    tested = examples_for(given.pairs, 0.5, "held-out")
    lost = sum(row.tobytes() in seen for row in tested.clean)
    here = areas[(areas["source"] == "seeds") & (areas["data"] == "this")]
    assert lost and set(here["n_seen"]) == {lost} and set(here["n_examples"]) == {tested.n - lost}
    assert "seeds: circuits of" in found.verdict and "random ones" in found.verdict and not found.notes
    with pytest.raises(DataError, match="none are given"):
        run("reproducibility", given, **settings, **SHARED)


AGAINST = {"sites": None, "sizes": [0.1, 0.5], "metrics": ["logit_difference"], "examples": "held-out", **SHARED}


def test_random_nodes_have_graphs_and_circuits_of_their_own(given):
    found = run("against-random", given, n_random=2, n_bootstrap=20, **AGAINST)
    chosen, held = (examples_for(given.pairs, 0.5, which) for which in ("chosen", "held-out"))
    graphs, nulls = [], []
    for draw in range(2):
        part = random_partition(Partition.heads(given.net), seed=draw)
        assert [part.part_sizes(site).tolist() for site in part.sites] == [
            given.partition.part_sizes(site).tolist() for site in part.sites
        ]
        graphs.append(effective_connectivity(given.net, chosen, part))
        nulls.append(faithfulness(given.net, graphs[-1], held, [0.1, 0.5], n_bootstrap=0).table["faithfulness"])
    table = found.tables["circuits"]
    expected = faithfulness(given.net, given.graph, held, [0.1, 0.5], n_bootstrap=20).table
    np.testing.assert_allclose(table["faithfulness"], expected["faithfulness"])
    np.testing.assert_allclose(table["null_mean"], np.mean(nulls, axis=0), rtol=1e-9)
    assert set(table["p"]) <= {1 / 3, 2 / 3, 1.0}
    pd.testing.assert_frame_equal(found.tables["inequality"], inequality(given.graph, graphs))
    pd.testing.assert_frame_equal(found.tables["carried"], lorenz_curves(given.graph, graphs))
    assert "random nodes" in found.verdict


def test_single_units_have_no_random_counterpart(given):
    part = Partition.mixed(given.net, {"mlp.*": "units"})
    graph = effective_connectivity(given.net, examples_for(given.pairs, 0.5, "chosen"), part)
    one = Given(given.net, given.pairs, graph=graph, made_by=MADE_BY)
    found = run("against-random", one, n_random=2, n_bootstrap=0, **AGAINST)
    assert found.tables["circuits"]["null_mean"].isna().all() and "no random counterpart" in found.notes[0]
    elsewhere = run("against-random", given, n_random=1, n_bootstrap=0, **AGAINST | {"sites": ["mlp.*"]})
    assert elsewhere.summary["n_random"] == 0
    with pytest.raises(GraphError, match="matches no site"):
        run("against-random", given, n_random=1, n_bootstrap=0, **AGAINST | {"sites": ["conv.*"]})


def test_a_graph_without_its_parameters_cannot_be_made_again(given):
    with pytest.raises(DataError, match="parameters of this one are not known"):
        run("against-random", replace(given, made_by={}), n_random=1, n_bootstrap=0, **AGAINST)


def test_every_division_is_ablated_at_the_same_sites(given):
    """Regions serve by the examples that are not held out, and each division is what block ablation says of it."""
    whole = {"attn.0": "heads"}
    parts = {"heads": Partition.mixed(given.net, whole), "mixed": random_partition(Partition.mixed(given.net, whole))}
    one = Given(given.net, given.pairs, attributions=given.attributions, partitions=parts)
    settings = {"sign": "support", "metrics": ["logit_difference"], "among": "site", "n_null": 2, "n_bootstrap": 0}
    found = run("region-ablation", one, held_out=0.5, least=0.0, **settings, **SHARED)
    assert found.summary["sites"] == ["attn.0"]
    rows = held_out(given.pairs, 0.5)
    held = given.pairs.subset(np.flatnonzero(rows))
    for name, part in parts.items():
        nodes = part.node_slice("attn.0")
        labels = np.full(part.n_nodes, -1)
        labels[nodes] = np.arange(nodes.stop - nodes.start)
        serving = task_separability(
            SomeItems(given.attributions, ~rows), part, given.pairs.task, labels, sign="support", n_permutations=0
        ).serving()
        expected = block_ablation(
            given.net, part, held, labels, serving, metrics=["logit_difference"], among="site", n_null=2, n_bootstrap=0
        )
        rows_of = found.tables["tasks"]["partition"] == name
        own = found.tables["tasks"][rows_of].drop(columns="partition").reset_index(drop=True)
        pd.testing.assert_frame_equal(own, expected.table)
    assert "heads" in found.verdict and "mixed" in found.verdict


def test_blocks_serve_by_the_chosen_examples_and_are_ablated_on_the_others(given):
    settings = {"sign": "support", "least": 0.0, "metrics": ["logit_difference"], "among": "kind", "n_null": 3}
    blocks = NamedLabels(given.graph.node_names, np.arange(given.graph.n_nodes) % 4)
    one = Given(given.net, given.pairs, graph=given.graph, attributions=given.attributions, blocks=blocks)
    found = run("block-ablation", one, n_bootstrap=20, **settings, **SHARED)
    assert set(found.tables["tasks"]["n_examples"]) == {6}
    separate = run("separability", one, sign="abs", weigh="examples", n_permutations=9, seed=0)
    assert len(separate.tables["blocks"]) == 4 and separate.summary["index"] == separate.tables["index"]["index"][0]


def test_regions_are_blocks_cut_at_sites():
    net = chain()
    units = Partition.units(net)
    site = next(name for name in units.sites if name.startswith("linear"))
    nodes = units.node_slice(site)
    graph = ComputationalGraph.from_architecture(net, units)
    labels = np.full(units.n_nodes, -1)
    labels[nodes] = np.arange(nodes.stop - nodes.start) % 3 + 4
    labels[nodes.start] = -1
    found = joined(graph, NamedLabels(units.node_names, labels))
    assert list(found.sites) == [site]
    # Labels 4, 5, 6 become 0, 1, 2; a unit in no block is dead.
    np.testing.assert_array_equal(found.labels[site], [-1, *((np.arange(nodes.stop - nodes.start) % 3)[1:])])
    with pytest.raises(GraphError, match="none of the"):
        joined(graph, NamedLabels(units.node_names, np.full(units.n_nodes, -1)))


ROW = {"fraction": 0.03, "metric": "logit_difference", "faithfulness": 0.912, "low": 0.89, "high": 0.93, "reason": ""}
CHANCE = {"null_mean": 0.12, "p": 1 / 1201}


@pytest.mark.parametrize(
    ("row", "needed", "said"),
    [
        (
            ROW | CHANCE,
            [True] * 16 + [False] * 4,
            "This circuit of 3 % of the edges keeps 0.91 ± 0.02 of the logit difference, random ones 0.12, p < 0.001;"
            " 4 of its 20 edges are not needed.",
        ),
        (ROW, None, "This circuit of 3 % of the edges keeps 0.91 ± 0.02 of the logit difference."),
        (ROW | CHANCE | {"p": 0.04}, [True], "0.12, p = 0.04; all of its 1 edges are needed."),
        (ROW | {"faithfulness": np.nan, "reason": "no loss"}, [False], "by logit difference: no loss; 1 of its 1"),
    ],
)  # fmt: skip
def test_the_sentence(row, needed, said):
    edges = None if needed is None else pd.DataFrame({"source": "a", "needed": needed})
    assert said in verdict(row, edges)


def test_each_division_has_its_own_chance():
    from compgraph.evaluation.trials.class_ablation import _random

    net = chain()
    site = next(name for name in Partition.units(net).sites if name.startswith("linear"))
    n = net.architecture.site(site).n_units
    halves, odd = (np.arange(n) >= n // 2).astype(int), (np.arange(n) >= n - 1).astype(int)
    parts = {
        name: Partition.mixed(net, {site: Partition.from_labels({site: one})})
        for name, one in {"a": halves, "b": 1 - halves, "c": odd}.items()
    }
    drawn = _random(parts, 2, 0)
    assert set(drawn) == {"random like a, b", "random like c"} and all(len(draws) == 2 for draws in drawn.values())
    assert set(_random({"a": parts["a"]}, 1, 0)) == {"random"} and _random(parts, 0, 0) == {}
