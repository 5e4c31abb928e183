"""The table of what changes over checkpoints, on an invented training."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest

from compgraph.emergence.births import node_births
from compgraph.emergence.quantities import Settings, of_skill
from compgraph.emergence.snapshots import Snapshot
from compgraph.emergence.tracking import Tracking, track
from compgraph.errors import DataError
from compgraph.statistics.compare import compare_graphs
from compgraph.statistics.testing import network_statistics

from .examples import STEPS, curve, graph, snapshot, trajectory


@cache
def found() -> Tracking:
    return track(trajectory(), n_nulls=4, n_surrogates=99)


def test_numbers_are_those_of_the_results() -> None:
    table = found().table.set_index(["quantity", "series", "step"])["value"]
    assert table["accuracy", "all", 1000] == pytest.approx(0.951)
    assert table["faithfulness", "edges@effective.heads", 200] == pytest.approx(0.1**0.5)
    assert ("kl", "all", 0) not in table.index  # it compares with the network itself
    circuit = graph(500).top(round(0.1 * graph(500).n_edges))
    value = network_statistics(circuit, ["modularity"], n_nulls=0)["value"][0]
    assert table["circuit_modularity", "effective.heads", 500] == pytest.approx(value, abs=1e-12)
    turnover = compare_graphs(graph(50), graph(100), n_nulls=0).set_index("measure")["value"]
    assert table["edge_overlap", "effective.heads", 100] == pytest.approx(turnover["top_overlap"], abs=1e-12)
    correlation = table["edge_rank_correlation", "effective.heads", 100]
    assert correlation == pytest.approx(turnover["rank_by_layers"], abs=1e-12)
    assert table["edge_overlap", "effective.heads", 1000] == 1.0
    assert table["community_ari", "l@effective.heads", 200] == 1.0


def test_nulls_and_intervals_come_along() -> None:
    rows = found().table.set_index(["quantity", "step"])
    assert rows.loc[("community_quality", 0), ["null_mean", "null_low", "null_high"]].tolist() == [0.2, 0.1, 0.25]
    one = rows.loc[("circuit_modularity", 1000)]
    assert one["null_low"] <= one["null_mean"] <= one["null_high"] < one["value"]
    assert rows.loc[("faithfulness", 1000), ["low", "high"]].tolist() == [0.0, 1.0]


def test_what_nothing_was_given_for_says_so() -> None:
    rows = found().table[found().table["quantity"] == "separability"]
    assert rows["step"].tolist() == list(STEPS) and rows["value"].isna().all()
    why = "separability: no entry of tests (method: separability) is made at these checkpoints"
    assert set(rows["reason"]) == {why}
    assert any(sentence.startswith("blocks: no entry of sbm") for sentence in found().left_out)


def test_the_change_and_the_lag_are_found() -> None:
    changes = found().changes.set_index("quantity")
    assert changes.loc["accuracy", ["after", "before"]].tolist() == [50, 100]
    lags = found().lags.set_index("structure")
    assert abs(lags.loc["faithfulness | edges@effective.heads", "lag"]) < 0.05
    assert lags["skill"].eq("accuracy | all").all()


def test_communities_keep_their_numbers_once_they_are_there() -> None:
    alignment = found().alignment.set_index("step_b")
    assert alignment.loc[[200, 500, 1000], "kept"].tolist() == [2, 2, 2]
    flows = found().flows
    assert (flows.groupby("step_a")["n"].sum() == graph(0).n_nodes).all()
    late = flows[flows["step_a"] >= 100]
    assert (late["block_a"] == late["block_b"]).all()


def test_nodes_are_born_and_die() -> None:
    steps = [0, 10, 20]
    graphs = [graph(0), graph(100), graph(0)]
    births = node_births(steps, graphs, 0.1).set_index("node")
    alive = [set(one.top(round(0.1 * one.n_edges)).prune().node_names) for one in graphs]
    for name, one in births.iterrows():
        there = [k for k in range(3) if name in alive[k]]
        assert one["alive"] == len(there) and one["spells"] == (2 if there == [0, 2] else min(1, len(there)))
        assert (one["born"] == steps[there[0]]) if there else np.isnan(one["born"])
        assert np.isnan(one["died"]) if not there or there[-1] == 2 else one["died"] == steps[there[-1] + 1]


def test_confusion_of_classes_is_no_skill() -> None:
    table = curve(100)
    table = pd.concat([table, table.iloc[:2].assign(metric="confusion", true="cat", predicted=["cat", "dog"])])
    rows = of_skill(Snapshot(100, curves={"edges": table}), Settings())
    assert [one["quantity"] for one in rows] == ["logit_difference", "accuracy"]


def test_gaps_are_named_all_at_once() -> None:
    gone = [replace(one, curves={}) if one.step in (20, 200) else one for one in trajectory()]
    with pytest.raises(DataError, match=r"gaps: curves 'edges@effective.heads' at steps 20, 200"):
        track(gone)
    with pytest.raises(DataError, match="at least two checkpoints in order"):
        track([snapshot(10), snapshot(0)])
