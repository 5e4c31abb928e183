"""Faithfulness curves: ends, pooling, intervals, areas, refusals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from compgraph.ablation.run import run_graph
from compgraph.connectivity.effective import effective_connectivity
from compgraph.data.prompts import PromptPairs
from compgraph.errors import DataError, GraphError
from compgraph.evaluation.curve import curve_of
from compgraph.evaluation.faithfulness import FRACTIONS, faithfulness
from compgraph.metrics import Targets, kl, logit_difference
from compgraph.models.counting import count_passes
from compgraph.partition import Partition
from tests.connectivity.effective.test_eap import Images, chain, make_pairs
from tests.models.tiny import tiny_network


@pytest.fixture(scope="module")
def setting():
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs(n=12)
    # What the network says on the clean input is right, what it says on the corrupted one wrong: something to keep.
    best = [
        net.run(torch.from_numpy(x), positions=torch.from_numpy(pairs.positions)).logits.topk(2).indices.numpy()
        for x in (pairs.clean, pairs.corrupted)
    ]
    wrong = np.where(best[1][:, :1] == best[0][:, :1], best[1][:, 1:], best[1][:, :1])
    pairs = type(pairs)(pairs.clean, pairs.corrupted, best[0][:, :1], wrong)
    return net, pairs, effective_connectivity(net, pairs, Partition.heads(net))


def test_equals_direct_computation(setting):
    net, pairs, graph = setting
    curve = faithfulness(net, graph, pairs, [0.05, 0.3, 1.0], metrics=["logit_difference", "kl"])
    table = curve.table
    assert list(table["fraction"].unique()) == pytest.approx(
        [int(f * graph.n_edges) / graph.n_edges for f in (0.05, 0.3, 1)]
    )
    with torch.no_grad():
        model, empty = (
            net.run(torch.from_numpy(x), positions=torch.from_numpy(pairs.positions)).logits
            for x in (pairs.clean, pairs.corrupted)
        )
    targets = Targets(torch.from_numpy(pairs.answers), torch.from_numpy(pairs.distractors), model)
    for n, rows in table.groupby("n_edges"):
        logits = run_graph(net, graph.top(int(n)), pairs)
        for name, metric in (("logit_difference", logit_difference), ("kl", kl)):
            m, e, c = (float(metric(x, targets).mean()) for x in (model, empty, logits))
            row = rows[rows["metric"] == name].iloc[0]
            assert row["value"] == pytest.approx(c, abs=1e-10)
            assert row["faithfulness"] == pytest.approx((c - e) / (m - e), abs=1e-10)
            assert row["low"] <= row["faithfulness"] <= row["high"]
    full = table[table["fraction"] == 1]
    np.testing.assert_allclose(full["faithfulness"], 1, atol=1e-10)


def test_sizes_as_numbers_and_shares(setting):
    net, pairs, graph = setting
    curve = faithfulness(net, graph, pairs, [0, 7, graph.n_edges])
    assert list(curve.table["n_edges"]) == [0, 7, graph.n_edges]
    assert curve.table["faithfulness"].iloc[0] == pytest.approx(0, abs=1e-12)
    with pytest.raises(GraphError, match=r"n_edges 1\.5"):
        faithfulness(net, graph, pairs, [1.5])
    with pytest.raises(GraphError, match="n_edges 100000"):
        faithfulness(net, graph, pairs, [100000])


def test_pruning_changes_nothing_under_counterfactuals(setting):
    net, pairs, graph = setting
    plain, pruned = (faithfulness(net, graph, pairs, [0.1, 0.3], prune=p).table for p in (False, True))
    np.testing.assert_allclose(plain["value"], pruned["value"], atol=1e-10)
    assert (pruned["n_edges"] <= plain["n_edges"]).all()


def test_tasks_have_rows_of_their_own_and_pool_to_all(setting):
    net, pairs, graph = setting
    pairs = pairs.subset(np.arange(pairs.n))
    pairs.task[:5] = "first"
    table = faithfulness(net, graph, pairs, [0.2], by_task=True).table.set_index("task")
    assert set(table.index) == {"all", "first", "prompts"}
    pooled = (5 * table.loc["first", "value"] + 7 * table.loc["prompts", "value"]) / 12
    assert table.loc["all", "value"] == pytest.approx(pooled)


def test_a_notebook_shows_the_curve(setting):
    net, pairs, graph = setting
    curve = faithfulness(net, graph, pairs, FRACTIONS)
    curve.table["reason"] = "<i>"
    shown = curve._repr_html_()
    assert shown.count("<tr") == 1 + len(FRACTIONS) and f"{curve.cpr('logit_difference'):.3g}" in shown
    assert "<i>" not in shown and "&lt;i&gt;" in shown
    figure = curve.plot(axis="n_edges", width="single")
    assert figure.get_size_inches()[0] < 4 and figure.axes


def test_areas(setting):
    net, pairs, graph = setting
    curve = faithfulness(net, graph, pairs, FRACTIONS)
    x, y = curve.table["fraction"].to_numpy(), curve.table["faithfulness"].to_numpy()
    steps = np.diff(x)
    assert curve.cpr("logit_difference") == pytest.approx((steps * (y[1:] + y[:-1]) / 2).sum())
    d = np.abs(1 - y)
    assert curve.cmd("logit_difference") == pytest.approx((steps * (d[1:] + d[:-1]) / 2).sum())


def test_intervals_of_areas_are_those_of_a_plain_bootstrap():
    rng, sizes = np.random.default_rng(0), np.array([0.5, 0.1, 1.0, 0.2])
    n, tasks = 14, np.repeat(["a", "b"], 7)
    means = np.array([5, 0, *(5 * sizes**0.3)])
    values = (means[:, None] + rng.normal(size=(6, n)))[:, None]
    circuits = pd.DataFrame({"role": "circuit", "size": sizes, "fraction": sizes, "note": "", "run": range(1, 5)})
    circuits = circuits.assign(**dict.fromkeys(("n_edges", "n_nodes", "mean_degree", "units", "parameters"), 1))
    curve = curve_of(circuits, values, ["margin"], tasks, {}, by_task=True, n_bootstrap=200, seed=3)
    areas = curve.areas.set_index(["task", "area"])
    assert areas.loc[("all", "cpr"), "value"] == pytest.approx(curve.cpr("margin"))
    assert areas.loc[("all", "cmd"), "value"] == pytest.approx(curve.cmd("margin"))
    order = np.argsort(sizes)
    for task, members in (("all", np.arange(n)), ("a", np.arange(7)), ("b", np.arange(7, 14))):
        counts = np.random.default_rng(3).multinomial(len(members), [1 / len(members)] * len(members), size=200)
        found = []
        for row in counts:
            model, empty, *runs = values[:, 0][:, np.repeat(members, row)].mean(1)
            y = ((np.array(runs) - empty) / (model - empty))[order]
            found.append([np.trapz(y, sizes[order]), np.trapz(np.abs(1 - y), sizes[order])])
        for k, area in enumerate(("cpr", "cmd")):
            row = areas.loc[(task, area)]
            expected = np.quantile(np.array(found)[:, k], [0.025, 0.975])
            np.testing.assert_allclose([row["low"], row["high"]], expected, atol=1e-12)
            assert row["low"] <= row["value"] <= row["high"]
    without = curve_of(circuits, values, ["margin"], tasks, {}, n_bootstrap=0).areas
    assert without["low"].isna().all() and without["value"].notna().all()


def test_what_is_recovered_has_a_reason_where_it_is_undefined(setting):
    net, pairs, graph = setting
    curve = faithfulness(net, graph, pairs, [0.3, 1.0], metrics=["logit_difference", "kl"])
    rows = curve.table.set_index("metric")
    plain = rows.loc["logit_difference"]
    np.testing.assert_allclose(plain["recovered"], 100 * plain["value"] / plain["model"])
    assert (plain["unrecovered"] == "").all()
    assert rows.loc["kl", "recovered"].isna().all()
    assert (rows.loc["kl", "unrecovered"] == "the model's metric is 0: there is nothing to recover a share of").all()
    assert rows.loc["kl", "faithfulness"].notna().all()


def test_nothing_to_be_faithful_to(setting):
    net, pairs, graph = setting
    same = type(pairs)(pairs.clean, pairs.clean, pairs.answers, pairs.distractors)
    curve = faithfulness(net, graph, same, [0.2])
    for row in (curve.table.rename(columns={"faithfulness": "value", "value": "mean"}).iloc[0], curve.areas.iloc[0]):
        assert np.isnan(row["value"]) and "nothing to be faithful to" in row["reason"]


def test_chain_and_node_ablation():
    net, pairs = chain(), Images(n=8)
    graph = effective_connectivity(net, pairs, Partition.channels(net))
    for ablation in ("edge", "node"):
        table = faithfulness(
            net, graph, pairs, [0.2, 1.0], ablation=ablation, metrics=["accuracy", "kl"]
        ).table
        full = table[table["fraction"] == 1]
        np.testing.assert_allclose(full["value"], full["model"], atol=1e-12)


def test_refuses_before_any_pass(setting):
    net, pairs, graph = setting
    alone = PromptPairs(pairs.clean, pairs.corrupted, pairs.answers)
    with count_passes() as made:
        with pytest.raises(DataError, match="logit_diff'"):
            faithfulness(net, graph, pairs, [0.5], metrics=["logit_diff"])
        with pytest.raises(DataError, match="this metric needs distractors"):
            faithfulness(net, graph, alone, [0.5])
        with pytest.raises(GraphError, match="sizes is empty"):
            faithfulness(net, graph, pairs, [])
        for size in (True, 0.0, 1.5, -1, 10**6):
            with pytest.raises(GraphError, match="n_edges"):
                faithfulness(net, graph, pairs, [size])
    assert (made.forward, made.backward) == (0, 0)


def test_completeness_is_the_faithfulness_of_what_is_left(setting):
    net, pairs, graph = setting
    for ablation in ("edge", "node"):
        curve = faithfulness(net, graph, pairs, [0.1, 0.4], ablation=ablation, complement=True)
        for _, row in curve.table.iterrows():
            circuit = graph.top(int(row["n_edges"]))
            mask = graph.mask_of(circuit)
            if ablation == "node":
                used = np.zeros(graph.n_nodes, bool)
                used[[*circuit.source, *circuit.target]] = True
                free = ~used
                free[[*graph.inputs, *graph.outputs]] = True
                rest = graph.subgraph(free[graph.source] & free[graph.target])
            else:
                rest = graph.subgraph(~mask)
            targets = Targets(torch.from_numpy(pairs.answers), torch.from_numpy(pairs.distractors))
            value = float(logit_difference(run_graph(net, rest, pairs, ablation=ablation), targets).mean())
            assert row["complement"] == pytest.approx(value, abs=1e-10)
            share = (value - row["empty"]) / (row["model"] - row["empty"])
            assert row["completeness"] == pytest.approx(share, abs=1e-10)
            assert row["completeness_low"] <= share <= row["completeness_high"]


def test_random_circuits_give_a_band_and_a_rank(setting):
    net, pairs, graph = setting
    table = faithfulness(net, graph, pairs, [0.2, 0.5, 1.0], n_random=19, metrics=["kl", "logit_difference"]).table
    assert (table["n_random"] == 19).all()
    assert ((table["null_low"] <= table["null_mean"]) & (table["null_mean"] <= table["null_high"])).all()
    assert ((table["p"] >= 1 / 20) & (table["p"] <= 1)).all()
    assert (table["q"] >= table["p"] - 1e-12).all()
    whole = table[table["fraction"] == 1]
    assert (whole["p"] == 1).all(), "the whole graph is its own only random circuit"
    assert "p" not in faithfulness(net, graph, pairs, [0.2]).table


def test_other_selections_and_axes(setting):
    net, pairs, graph = setting
    greedy = faithfulness(net, graph, pairs, [0.05, 0.3, 1.0], selection="greedy", options={"by": "abs"})
    assert greedy.attributes["selection"] == "greedy"
    assert greedy.table["n_edges"].is_monotonic_increasing
    signed = faithfulness(net, graph, pairs, [0.3], options={"by": "signed"}).table.iloc[0]
    logits = run_graph(net, graph.top(int(signed["n_edges"]), by="signed"), pairs)
    targets = Targets(torch.from_numpy(pairs.answers), torch.from_numpy(pairs.distractors))
    assert signed["value"] == pytest.approx(float(logit_difference(logits, targets).mean()), abs=1e-10)
    curve = faithfulness(net, graph, pairs, FRACTIONS)
    x = curve.table["n_nodes"].to_numpy(dtype=float)
    y = curve.table["faithfulness"].to_numpy()
    order = np.argsort(x, kind="stable")
    expected = np.trapz(y[order], x[order] / x.max())
    assert curve.cpr("logit_difference", axis="n_nodes") == pytest.approx(expected)
    np.testing.assert_allclose(curve.recovered("logit_difference")[-1], 100)
    with pytest.raises(ValueError, match="axis 'edges' is not known"):
        curve.cmd("logit_difference", axis="edges")


def test_a_ratio_of_noise_is_no_number():
    net, pairs = tiny_network("gpt2", dtype=torch.float64), make_pairs(n=12)
    graph = effective_connectivity(net, pairs, Partition.heads(net))
    row = faithfulness(net, graph, pairs, [0.2]).table.iloc[0]
    assert np.isnan(row["faithfulness"]) and "no more than chance" in row["reason"]
    assert np.isfinite(faithfulness(net, graph, pairs, [0.2], n_bootstrap=0).table["faithfulness"]).all()


def test_what_is_out_of_the_ordinary_is_said(setting):
    net, pairs, graph = setting
    table = faithfulness(net, graph, pairs, [0, 1, graph.n_edges]).table
    assert "no edge is kept" in table["note"].iloc[0]
    assert table["note"].iloc[1] in ("", "no path leads from an input to an output")
    assert table["note"].iloc[2] == ""
    assert table["per_example"].iloc[2] == pytest.approx(1)
