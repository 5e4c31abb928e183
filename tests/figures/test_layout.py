"""Layered layout: no boxes on each other, few crossings, routes that start and end at their nodes."""

from __future__ import annotations

import numpy as np
import pytest

from compgraph.figures.layout import _inversions, _isotonic, layered, split_rows


def random_layers(n: int, rows: int, edges: int, seed: int):
    rng = np.random.default_rng(seed)
    row = np.sort(np.concatenate([np.arange(rows), rng.integers(0, rows, n - rows)]))
    pairs = np.unique(rng.integers(0, n, (edges, 2)), axis=0)
    pairs = pairs[row[pairs[:, 0]] < row[pairs[:, 1]]]
    return row, pairs[:, 0], pairs[:, 1]


@pytest.mark.parametrize("seed", range(3))
def test_boxes_of_a_row_never_touch_and_stay_on_the_page(seed):
    row, source, target = random_layers(60, 8, 200, seed)
    width = np.full(60, 0.3)
    placed = layered(row, width, source, target, np.full(len(source), 0.02), total=6.0)
    for r in range(8):
        x = np.sort(placed.x[row == r])
        assert (np.diff(x) > 0.3).all()
    assert placed.x.min() >= 0.15 - 1e-9 and placed.x.max() <= 5.85 + 1e-9


def test_a_reversed_bipartite_graph_is_untangled():
    row = np.repeat([0, 1], 8)
    source, target = np.arange(8), 15 - np.arange(8)
    assert layered(row, np.full(16, 0.2), source, target, np.full(8, 0.01), total=5.0).crossings == 0


def test_routes_pass_every_row_between_their_ends():
    row = np.array([0, 1, 2, 3])
    source, target = np.array([0, 0, 2]), np.array([3, 1, 3])
    placed = layered(row, np.full(4, 0.3), source, target, np.full(3, 0.01), total=4.0)
    for edge, route in enumerate(placed.routes):
        assert [r for _, r in route] == list(range(row[source[edge]], row[target[edge]] + 1))
        assert abs(route[0][0] - placed.x[source[edge]]) < 0.15
        assert abs(route[-1][0] - placed.x[target[edge]]) < 0.15


def test_edges_of_one_source_have_lanes_of_their_own():
    row = np.array([0, 1, 2, 2])
    placed = layered(row, np.full(4, 0.3), np.array([0, 0]), np.array([2, 3]), np.full(2, 0.02), total=4.0)
    first, second = (dict((r, x) for x, r in route) for route in placed.routes)
    assert abs(first[1] - second[1]) >= 0.02


def test_crowded_levels_are_spread_over_rows():
    rows = split_rows([0] * 50 + [1] * 3, [0.4] * 53, available=5.0, gap=0.1)
    assert rows[:50].max() == 4 and (rows[50:] == 5).all()
    assert all(0.5 * (rows == r).sum() <= 5.0 for r in range(6))


def test_inversions_are_counted():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 20, 60).astype(float)
    slow = sum(values[i] > values[j] for i in range(60) for j in range(i + 1, 60))
    assert _inversions(values) == slow


def test_isotonic_regression_pools_violators():
    assert _isotonic(np.array([1.0, 3.0, 2.0, 4.0]), np.ones(4)).tolist() == [1.0, 2.5, 2.5, 4.0]
    assert _isotonic(np.array([2.0, 0.0]), np.array([3.0, 1.0])).tolist() == [1.5, 1.5]


def test_a_graph_without_edges_has_positions():
    nothing = np.zeros(0, dtype=int)
    placed = layered(np.zeros(3, dtype=int), np.full(3, 0.3), nothing, nothing, np.zeros(0), total=3.0)
    assert np.isfinite(placed.x).all() and placed.routes == ()
