"""Products, masks and sums over parts against loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import compgraph.parts as module
from compgraph.parts import Parts

CASES = {
    "regular": [0, 0, 1, 1, 2, 2],
    "irregular": [1, 0, 1, 2, 2, 2],
    "dead": [0, -1, 1, 1, -1, 0],
    "whole": [0] * 6,
    "single": [3, 2, 1, 0, 4, 5],
}


@pytest.mark.parametrize("many", [256, 0], ids=["loop", "scatter"])
@pytest.mark.parametrize("labels", CASES.values(), ids=CASES)
def test_against_loops(labels, many, monkeypatch):
    monkeypatch.setattr(module, "MANY", many)
    n = max(labels) + 1
    parts = Parts.from_labels(np.array(labels, np.int32), n, torch.device("cpu"))
    units, rows = torch.randn(2, 3, 6, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    assert len(parts) == n
    member = torch.tensor(labels)
    for k in range(n):
        own = units * (member == k)
        torch.testing.assert_close(parts.product(units, rows)[k], own @ rows)
        torch.testing.assert_close(parts.masked(units)[k], own)
        torch.testing.assert_close(parts.sums(units)[..., k], own.sum(-1))
    assert parts.label.tolist() == [n if k < 0 else k for k in labels]
    keep = torch.tensor([n - 1, 0])
    torch.testing.assert_close(parts.product(units, rows, keep), parts.product(units, rows)[keep])


def test_only_adjacent_equal_runs_are_regular():
    def size(labels):
        return Parts.from_labels(np.array(labels), max(labels) + 1, torch.device("cpu")).size

    assert size(CASES["regular"]) == 2 and size(CASES["whole"]) == 6
    assert size([0, 0, 1]) == size([1, 1, 0, 0]) == size([0, 1, 0, 1]) == size([0, 0, -1, -1]) == 0
