"""Distinct streams of rows that keep few changing sources, against a walk over rows and tokens."""

from __future__ import annotations

import numpy as np
import torch

from compgraph.ablation.feature_states import changed, states_of
from compgraph.ablation.unit_plan import Sparse


def test_every_row_and_token_with_a_change_reads_the_stream_of_its_changes_and_equal_single_ones_are_one():
    rng = np.random.default_rng(0)
    changes = torch.from_numpy(rng.normal(size=(12, 9)) * (rng.random((12, 9)) < 0.3))
    changes[3] = 0
    kept = [np.sort(rng.choice(12, n, replace=False)) for n in (0, 1, 2, 3, 3, 5, 6)]
    rows = Sparse(1, np.concatenate(kept), np.cumsum([0, *map(len, kept)]), [np.array([k]) for k in range(len(kept))])
    moving = changes.numpy() != 0
    assert changed(rows, changes).tolist() == [int(moving[one].sum()) for one in kept]
    chosen = np.array([0, 1, 3, 4, 5, 6])
    states = states_of(rows, chosen, changes)
    found = {}
    for k in range(len(states)):
        units = tuple(states.units[states.bounds[k] : states.bounds[k + 1]].tolist())
        readers = states.readers[states.reader_bounds[k] : states.reader_bounds[k + 1]].tolist()
        assert states.row[k] in readers and (len(units) == 1 or len(readers) == 1)
        found |= {(row, int(states.token[k])): units for row in readers}
    expected = {
        (int(k), t): tuple(kept[k][moving[kept[k], t]].tolist())
        for k in chosen
        for t in range(9)
        if moving[kept[k], t].any()
    }
    assert found == expected and len(states) < len(expected)
    assert len({(int(t), u) for (_, t), u in expected.items() if len(u) == 1}) == (np.diff(states.bounds) == 1).sum()
    assert len(states_of(rows, np.array([0]), changes)) == 0
