"""Places of nodes: rows by level, few crossings, crowded levels broken."""

from __future__ import annotations

import numpy as np
import pytest

from compgraph.explorer.placing import LEAST_PER_ROW, place_nodes


def crossings(x, source, target):
    a, b = np.triu_indices(len(source), 1)
    return int(((x[source[a]] - x[source[b]]) * (x[target[a]] - x[target[b]]) < 0).sum())


def test_rows_follow_levels_and_sites_stay_together():
    level = np.array([0, 1, 1, 1, 1, 2])
    site = np.array(["embed", "attn.0", "mlp.0", "attn.0", "attn.0", "logits"], dtype=object)
    source, target = np.array([0, 0, 0, 1, 2, 3]), np.array([1, 2, 3, 5, 5, 5])
    x, row = place_nodes(level, site, source, target, np.ones(6))
    assert row.tolist() == level.tolist()
    assert np.argsort(x[1:5]).tolist() == [0, 2, 3, 1]
    assert ((x > 0) & (x < 1)).all()


def test_a_shuffled_ladder_is_untangled():
    n = 12
    shuffled = np.random.default_rng(0).permutation(n)
    level = np.repeat([0, 1], n)
    site = np.repeat(np.array(["conv.0", "conv.1"], dtype=object), n)
    source, target = np.arange(n), n + shuffled
    x, _ = place_nodes(level, site, source, target, np.ones(n))
    assert crossings(x, source, target) == 0


def test_a_crowded_level_takes_several_rows_and_others_follow():
    n = 3 * LEAST_PER_ROW
    level = np.r_[np.zeros(n, dtype=int), 5]
    site = np.array(["conv.0"] * n + ["logits"], dtype=object)
    _, row = place_nodes(level, site, np.arange(n), np.full(n, n), np.ones(n))
    assert sorted(set(row[:-1].tolist())) == [0, 1, 2] and row[-1] == 3


@pytest.mark.parametrize("n", [1, 2])
def test_graphs_without_edges(n):
    none = np.zeros(0, dtype=int)
    x, row = place_nodes(np.zeros(n, dtype=int), np.array(["input"] * n, dtype=object), none, none, np.zeros(0))
    assert len(x) == n and np.isfinite(x).all() and (row == 0).all()
