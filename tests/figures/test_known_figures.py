"""Figures of networks whose truth is known: what is drawn, what is said, degenerate data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from compgraph.figures import ground_truth, node_vs_edge

from .examples import overlapping_texts, texts_outside

WIDTHS = ["single", "double"]


def tidy(figure):
    return overlapping_texts(figure) == [] and texts_outside(figure) == []


def wired():
    """A circuit of one path in a 2-2-2 network."""
    pairs = [("input/unit.0", "linear.0/unit.0"), ("input/unit.0", "linear.0/unit.1"),
             ("input/unit.1", "linear.0/unit.0"), ("input/unit.1", "linear.0/unit.1"),
             ("linear.0/unit.0", "logits/unit.0"), ("linear.0/unit.0", "logits/unit.1"),
             ("linear.0/unit.1", "logits/unit.0"), ("linear.0/unit.1", "logits/unit.1")]  # fmt: skip
    chosen = [0, 2, 4]
    runs = {"model": range(8), "circuit": chosen, "node ablation": [0, 2, 4], "edge ablation": chosen}
    rows = [
        {"network": name, "source": a, "target": b, "weight": k - 3.5, "chosen": k in chosen, "used": k in used}
        for name, used in runs.items()
        for k, (a, b) in enumerate(pairs)
    ]
    networks = pd.DataFrame({"network": ["model", "node ablation", "edge ablation"], "accuracy": [1.0, 0.9, 0.4]})
    return pd.DataFrame(rows), networks


@pytest.mark.parametrize("width", WIDTHS)
def test_four_networks_with_the_edges_that_run(width):
    edges, networks = wired()
    edges.loc[(edges["network"] == "node ablation") & (edges["target"] == "logits/unit.1"), "used"] = True
    figure = node_vs_edge.draw(edges, networks, width=width)
    assert tidy(figure)
    lines = [axes.collections[0] for axes in figure.axes]
    assert [len(one.get_segments()) for one in lines] == [8, 3, 5, 3]
    other = np.array(to_rgb(node_vs_edge.OTHER))
    assert sum(np.allclose(colour[:3], other) for colour in lines[2].get_colors()) == 2
    said = node_vs_edge.caption(edges, networks)
    assert "the circuit has 3 of 8 edges; node ablation runs 2 edges that are not in it" in said
    assert "edge ablation runs exactly the circuit and keeps 40 % (the model: 100 %)" in said
    assert len(node_vs_edge.data(edges, networks)) == 8 + 3 + 5 + 3


def test_a_network_that_runs_other_edges_is_said_to():
    edges, networks = wired()
    edges.loc[(edges["network"] == "edge ablation") & (edges["target"] == "logits/unit.1"), "used"] = True
    assert "other edges than the circuit" in node_vs_edge.caption(edges, networks)


def test_no_network():
    edges, networks = wired()
    assert tidy(node_vs_edge.draw(edges.assign(used=False), networks))
    assert "There is no network" in node_vs_edge.caption(edges.assign(used=False), networks)
    with pytest.raises(ValueError, match="lacks the columns chosen"):
        node_vs_edge.data(edges.drop(columns="chosen"), networks)


def recovered(n_methods=3, n_cases=2):
    """The first method is perfect, the second random, others between; one case was refused by the last."""
    from compgraph.evaluation.ground_truth import _curves

    rng = np.random.default_rng(0)
    curves, areas = [], []
    for number in range(n_methods):
        name = ["exact", "random"][number] if number < 2 else f"method-{number}-of-a-long-name"
        for case in range(n_cases):
            truth = rng.random(40) < 0.3
            noise = 0.0 if number == 0 else 9.0 if number == 1 else 1.5
            found = _curves(truth + noise * rng.random(40), truth)
            refused = number == n_methods - 1 and case == 1 and n_methods > 2
            auroc, auprc = (np.nan, np.nan) if refused else (found.auroc, found.auprc)
            why = "too few" if refused else ""
            areas.append({"case": f"c{case}", "method": name, "auroc": auroc, "auprc": auprc, "reason": why})
            if not refused:
                curves.append(found.table.assign(case=f"c{case}", method=name))
    return pd.concat(curves, ignore_index=True), pd.DataFrame(areas)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("n_methods", [1, 3, 17])
def test_a_panel_for_each_method_best_first(n_methods, width):
    curves, areas = recovered(n_methods)
    figure = ground_truth.draw(curves, areas, width=width)
    assert tidy(figure) and len(figure.axes) == n_methods
    assert figure.axes[0].get_title(loc="left") == "exact"
    means = [line for line in figure.axes[0].lines if line.get_linewidth() == 1.3]
    assert all(np.allclose(line.get_ydata(), 1) for line in means)
    said = ground_truth.caption(curves, areas)
    assert "In this run exact ranks every true edge above every other in all of them" in said
    if n_methods == 3:
        assert "method-2-of-a-long-name refused 1 network." in said and "Random scores reach 0." in said


def test_curves_have_the_areas_that_are_written():
    curves, areas = recovered(2, 1)
    for method, rows in curves.groupby("method"):
        auroc, auprc = areas.loc[areas["method"] == method, ["auroc", "auprc"]].to_numpy(dtype=float)[0]
        assert np.trapz(ground_truth._roc(rows), ground_truth.GRID) == pytest.approx(auroc, abs=0.02)
        assert ground_truth._precision(rows).mean() == pytest.approx(auprc, abs=0.02)


def test_nothing_served():
    curves, areas = recovered(1)
    none = areas.assign(auroc=np.nan, auprc=np.nan)
    assert tidy(ground_truth.draw(curves.iloc[:0], none))
    assert "No method served any network" in ground_truth.caption(curves.iloc[:0], none)
