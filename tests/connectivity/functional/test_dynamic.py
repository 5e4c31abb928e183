"""Correlations window by window against numpy; the test of equal ones keeps its level on smooth signals."""

from __future__ import annotations

import numpy as np
import pytest

from compgraph.connectivity.functional import functional_connectivity
from compgraph.errors import DataError

from .recordings import Memory
from .test_methods import activations, close, table, units, upper, wide
from .test_significance import PART, smooth


def test_windows_are_those_of_numpy() -> None:
    data, items = activations(), table()
    graph = functional_connectivity(Memory(data, 9, items), units(data), "dynamic", window=6, step=5)
    position = items["position"].to_numpy()
    assert graph.attributes["windows"] == [[0, 6], [5, 11], [10, 16]]
    r = [upper(np.corrcoef(wide(data)[(position >= a) & (position < b)].T)) for a, b in graph.attributes["windows"]]
    close(graph.weight, np.arctanh(r).std(axis=0))
    close(graph.columns["r_mean"], np.mean(r, axis=0))
    close(graph.columns["r_10"], r[2])
    assert "p" not in graph.columns  # windows that share rows


def test_a_change_is_found_and_smooth_independent_signals_are_left_alone() -> None:
    rates = [
        (functional_connectivity(smooth(seed, 0.8), PART, "dynamic", window=8).columns["p"] <= 0.05).mean()
        for seed in (0, 1)
    ]
    assert 0.01 < np.mean(rates) < 0.07
    rng = np.random.default_rng(0)
    items = table()
    x = rng.normal(size=(len(items), 3))
    late = items["position"].to_numpy() >= 8
    x[late, 1] += 2 * x[late, 0]
    graph = functional_connectivity(Memory({"mlp.0": x}, 9, items), units({"mlp.0": x}), "dynamic", window=8)
    found = dict(zip(zip(graph.source.tolist(), graph.target.tolist(), strict=True), graph.columns["p"], strict=True))
    assert found[0, 1] < 1e-9 and min(found[0, 2], found[1, 2]) > 0.01


def test_refuses_a_single_window() -> None:
    data = activations()
    with pytest.raises(DataError, match="positions 0 to 15 hold 1 windows of 16; at least 2 are needed"):
        functional_connectivity(Memory(data, 9, table()), units(data), "dynamic", window=16)
