"""Figures of the section ``tests``: what is drawn, nothing touches or leaves the page, degenerate data, captions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from compgraph.figures import circuit_tests, faithfulness, knock_out, minimality, reproducibility, stability

from .examples import faithfulness_table, overlapping_texts, texts_outside

WIDTHS = ["single", "double"]


def tidy(figure):
    return overlapping_texts(figure) == [] and texts_outside(figure) == []


def edges(n, needed, seed=0):
    loss = np.random.default_rng(seed).lognormal(sigma=3, size=n) * np.where(np.arange(n) < needed, 1e4, 0)
    name = [f"attn.{k % 12}/head.{k} -> attn.{k % 12 + 1}/head.{k} (q)" for k in range(n)]
    table = {"name": name, "loss": loss, "chance": 0.3, "q": np.where(loss > 0.3, 0.01, 1.0), "needed": loss > 0.3}
    return pd.DataFrame(table)


CIRCUIT = pd.DataFrame([{"metric": "logit_difference", "faithfulness": 0.9, "null_mean": 0.1}])


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("n", "needed"), [(1, 1), (1, 0), (12, 9), (90, 60)])
def test_minimality(width, n, needed):
    table = edges(n, needed)
    figure = minimality.draw(table, CIRCUIT, width=width)
    assert tidy(figure)
    dots = sum(len(one.get_offsets()) for one in figure.axes[0].collections)
    assert dots == min(n, minimality.MOST)
    assert list(minimality.data(table, CIRCUIT)["loss"]) == sorted(table["loss"], reverse=True)
    assert f"{n - needed} of its {n} edges" in minimality.caption(table, CIRCUIT)


def verdicts(p):
    names = ["equivalence", "independence", "minimality", "sufficiency", "partial necessity"]
    words = "losing it does not hurt more than losing 90% of random circuits"
    return pd.DataFrame({"test": names, "p": p, "passes": [True, False] * 2 + [True], "verdict": words, "alpha": 0.05})


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("p", [[1e-30, 0.0, 0.2, 1, 0.05], [np.nan] * 5, [0.5] * 5])
def test_circuit_tests(width, p):
    figure = circuit_tests.draw(verdicts(p), width=width)
    assert tidy(figure)
    assert sum(len(one.get_offsets()) for one in figure.axes[0].collections if one.get_offsets().size) >= sum(
        np.isfinite(p)
    )
    assert "3 of 5 do" in circuit_tests.caption(verdicts(p))


def knocked(metrics=("logit_difference",), sizes=(0.0, 0.01, 0.1, 1.0)):
    rows = [
        {"fraction": size, "n_edges": int(100 * size), "metric": metric}
        | {f"{name}{end}": value for end in ("", "_low", "_high") for name, value in values.items()}
        for metric in metrics
        for size in sizes
        for values in [{"faithfulness": 3 * size, "completeness": 1 - size, "overlap": 2 * size}]
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("metrics", [("kl",), ("kl", "accuracy", "logit_difference", "total_variation")])
def test_knock_out(width, metrics):
    figure = knock_out.draw(knocked(metrics), width=width)
    assert tidy(figure) and len(figure.axes) == len(metrics)
    assert "2.00 with 100 edges (both can do)" in knock_out.caption(knocked(metrics))
    undefined = knocked(metrics).assign(overlap=np.nan)
    assert tidy(knock_out.draw(undefined, width=width)) and "undefined" in knock_out.caption(undefined)


def agreement(sizes=(0.01, 0.1, 1.0)):
    table = pd.DataFrame({"source": "samples", "fraction": sizes, "n_edges": [int(1000 * size) for size in sizes]})
    shared = {f"{name}{end}": 0.5 for name in ("jaccard", "rbo") for end in ("", "_min", "_max")}
    return table.assign(**shared, jaccard_chance=0.05, core=1)


@pytest.mark.parametrize("width", WIDTHS)
def test_stability(width):
    assert tidy(stability.draw(agreement(), width=width)) and tidy(stability.draw(agreement((0.1,)), width=width))
    assert "With 100 edges the Jaccard index is 0.50, by chance 0.05" in stability.caption(agreement())


@pytest.mark.parametrize("module", [circuit_tests, minimality, reproducibility, stability])
def test_no_circuit_is_a_sentence(module):
    tables = [pd.DataFrame({"reason": []})] * (2 if module in (minimality, reproducibility) else 1)
    assert tidy(module.draw(*tables)) and module.caption(*tables).endswith(".")


@pytest.mark.parametrize("axis", ["n_nodes", "mean_degree"])
def test_faithfulness_against_another_size(axis):
    table = faithfulness_table()
    table = table.assign(n_nodes=1 + table["n_edges"] // 3, mean_degree=9 * table["fraction"])
    figure = faithfulness.draw(table, axis=axis)
    assert tidy(figure)
    assert figure.axes[0].get_xlabel() == faithfulness.AXES[axis]
    drawn = {float(x) for line in figure.axes[0].lines for x in line.get_xdata() if line.get_marker() == "o"}
    assert set(table.loc[table["fraction"] > 0, axis].astype(float)) <= drawn
    assert len(figure.axes) == table["metric"].nunique() + (axis == "n_nodes")
    assert faithfulness.AXES[axis] in faithfulness.caption(table, axis=axis)
    with pytest.raises(ValueError, match=axis):
        faithfulness.draw(table.drop(columns=axis), axis=axis)
    if axis == "n_nodes":
        degrees = {y for line in figure.axes[-1].lines for y in line.get_ydata()}
        assert degrees == set(table["mean_degree"])
        assert "edges per node" in faithfulness.caption(table, axis=axis)


def again(sources=("seeds", "phrasings"), sizes=(0.01, 0.1, 1.0), nulls=True):
    parts = [agreement(sizes).assign(source=source) for source in sources]
    table = pd.concat(parts, ignore_index=True)
    for name in ("jaccard", "rbo"):
        table = table.assign(**{f"{name}_{what}": 0.1 if nulls else np.nan for what in NULL})
    rows = [
        {"source": source, "data": data, "graph": graph, "metric": "kl", "cpr": 0.9}
        for source in sources
        for data in ("this", "effective.again@other")
        for graph in ("this", "effective.again@other")
    ]
    return table, pd.DataFrame(rows)


NULL = ("null", "null_low", "null_high", "p", "q")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("sources", [("seeds",), ("seeds", "phrasings")])
def test_reproducibility(width, sources):
    for nulls in (True, False):
        circuits, areas = again(sources, nulls=nulls)
        figure = reproducibility.draw(circuits, areas, width=width)
        assert tidy(figure) and len(figure.axes) == 3
        caption = reproducibility.caption(circuits, areas)
        assert f"over {sources[-1]} the Jaccard index with 100 edges is 0.50" in caption
        assert ("of random circuits 0.10" in caption) == nulls
    dots = sum(len(line.get_xdata()) for line in figure.axes[2].lines)
    assert dots == len(areas) and len(reproducibility.data(circuits, areas)) == len(circuits) + len(areas)
    undefined = areas.assign(cpr=np.nan)
    assert tidy(reproducibility.draw(circuits, undefined, width=width))
    with pytest.raises(ValueError, match="lacks the columns jaccard_null"):
        reproducibility.draw(circuits.drop(columns="jaccard_null"), areas)
