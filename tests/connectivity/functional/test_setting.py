"""What is done to signals before they are compared, and what is refused: against numpy on the whole arrays."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from compgraph.connectivity.functional import functional_connectivity
from compgraph.errors import DataError
from compgraph.partition import DEAD, Partition

from .recordings import Memory
from .test_methods import activations, close, run, table, units, upper, wide


def residuals(x: np.ndarray, columns: np.ndarray) -> np.ndarray:
    known = np.column_stack([np.ones(len(x)), columns])
    return x - known @ np.linalg.lstsq(known, x, rcond=None)[0]


def test_confounds_are_regressed_out_and_cost_degrees_of_freedom() -> None:
    data, rows = activations(), table()
    drift = np.outer(rows["position"], np.linspace(-1, 1, 8))
    data["mlp.0"] = data["mlp.0"] + drift
    graph = run("pearson", data, confounds=["position", "task", "token-frequency"], samples="rows")
    counts = rows.groupby("token")["token"].transform("size")
    columns = np.column_stack([rows["position"], pd.get_dummies(rows["task"]).to_numpy(float), np.log(counts)])
    r = upper(np.corrcoef(residuals(wide(data), columns).T))
    close(graph.weight, r)
    assert graph.attributes["confounds"]["degrees_of_freedom"] == 5
    close(graph.columns["z"], np.arctanh(r) * np.sqrt(640 - 3 - 5), 1e-8)
    each = run("pearson", data, confounds=["each:position"])
    close(each.weight, upper(np.corrcoef(residuals(wide(data), np.eye(16)[rows["position"]]).T)))


def test_a_signal_that_is_all_confound_is_no_node() -> None:
    data = activations()
    data["mlp.0"][:, 2] = 3 * table()["position"] + 1
    for method in ("pearson", "spearman"):
        graph = run(method, data, confounds=["position"])
        assert graph.attributes["excluded_nodes"] == ["mlp.0/neuron.2"], method


def test_within_and_between_classes() -> None:
    data, task = activations(), table()["task"].to_numpy()
    x = wide(data)
    means = np.stack([x[task == name].mean(axis=0) for name in "abcd"])
    noise = x - means[np.unique(task, return_inverse=True)[1]]
    within = run("pearson", data, part="within")
    close(within.weight, upper(np.corrcoef(noise.T)))
    assert within.attributes["by"] == "task"
    between = run("pearson", data, part="between")
    close(between.weight, upper(np.corrcoef(means.T)))
    assert between.columns["effective_n"].tolist() == [4] * between.n_edges
    with pytest.raises(DataError, match="at least 3 values of 'item', whose means vary; there are 2: 0, 1"):
        few = {site: values[:32] for site, values in data.items()}
        functional_connectivity(Memory(few, 7, table()[:32]), units(data), part="between", by="item")


def test_windows_of_positions() -> None:
    data, position = activations(), table()["position"].to_numpy()
    graph = run("pearson", data, positions=(4, 9))
    close(graph.weight, upper(np.corrcoef(wide(data)[(position >= 4) & (position < 9)].T)))
    with pytest.raises(DataError, match=r"0 rows have positions from 16 up to 20 \(recorded are 0 to 15\)"):
        run("pearson", data, positions=(16, 20))


def test_winsorised_and_ranked_signals_resist_a_massive_activation() -> None:
    data = activations()
    plain = run("pearson", data)
    data["mlp.0"][100, :2] = 1e4
    assert run("pearson", data).weight[0] > 0.99
    clipped = run("pearson", data, winsorise=0.02)
    low, high = np.quantile(wide(data), [0.02, 0.98], axis=0)
    close(clipped.weight, upper(np.corrcoef(np.clip(wide(data), low, high).T)))
    assert abs(clipped.weight[0] - plain.weight[0]) < 0.1
    assert abs(run("spearman", data).weight[0] - plain.weight[0]) < 0.1


def test_heavy_tailed_units_are_named() -> None:
    data = activations()
    assert run("pearson", data).attributes["heavy_tailed_units"] == {}
    data["mlp.1"][7, 3] = 500
    x = data["mlp.1"][:, 3]
    kurtosis = ((x - x.mean()) ** 4).mean() / x.var() ** 2
    part = Partition.from_labels({"mlp.0": [0] * 8, "mlp.1": [0, 1, 1, 1, 0, 0]})
    for graph in (run("pearson", data), run("pearson", data, partition=part), run("covariance", data)):
        found = graph.attributes["heavy_tailed_units"]
        assert found == {"mlp.1": {"units": 1, "heaviest": {"3": pytest.approx(kurtosis, abs=0.1)}}}


def test_constant_units_are_dead_in_the_graphs_partition() -> None:
    data = activations()
    data["mlp.1"][:, 4] = 2.0
    graph = run("pearson", data)
    assert graph.partition is not None
    assert graph.partition.labels["mlp.1"][4] == DEAD
    assert graph.partition.reasons["mlp.1"] == {"constant": (4,)}
    assert graph.attributes["excluded_nodes"] == ["mlp.1/neuron.4"]


def test_several_buffers_are_one_long_one() -> None:
    data = activations()
    data["mlp.0"][:320] += 5
    halves = [
        Memory(
            {s: x[rows] for s, x in data.items()}, 9, table()[rows].assign(item=lambda t: t["item"] - t["item"].min())
        )
        for rows in (slice(0, 320), slice(320, 640))
    ]
    for method in ("pearson", "spearman", "lagged", "cka"):
        pooled, whole = functional_connectivity(halves, units(data), method), run(method, data)
        close(pooled.weight, whole.weight)
        for name, values in whole.columns.items():
            close(pooled.columns[name], values, 1e-8)


def test_buffers_that_disagree() -> None:
    data = activations()
    other = {"mlp.0": data["mlp.0"][:, :5]}
    with pytest.raises(DataError, match=r"site 'mlp\.0' has 8 units in buffer 0 and 5 in buffer 1"):
        functional_connectivity([Memory(data), Memory(other)], units(data))
    with pytest.raises(DataError, match="there is no buffer"):
        functional_connectivity([], units(data))
    scores = Memory(data)
    scores.quantity = "attribution"  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="they hold activation, attribution; pool one kind only"):
        functional_connectivity([Memory(data), scores], units(data))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"confounds": ["weather"]}, "'weather' is not a column of the buffer's rows; they have item, position, task"),
        ({"part": "beside"}, "part 'beside' is not known; valid are total, within, between"),
        ({"winsorise": 0.5}, r"winsorise is 0.5; a share at either end lies in \[0, 0.5\)"),
        ({"level": 0.0}, "level is 0.0; it lies between 0 and 1"),
        ({"positions": (3, 3)}, r"positions \[3, 3\] are no window"),
        ({"samples": "items"}, "samples 'items' is not known"),
        ({"confounds": ["each:row"]}, "640 rows"),
    ],
)
def test_choices_out_of_range(options: dict, message: str) -> None:
    data = activations()
    rows = table().assign(row=np.arange(640))
    with pytest.raises(DataError, match=message):
        functional_connectivity(Memory(data, 7, rows), units(data), **options)
