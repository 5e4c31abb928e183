"""What does not fit into memory is refused with the estimate and a way out, before or while it grows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import compgraph as cg
from compgraph.connectivity.functional import memory
from compgraph.errors import DataError
from tests.connectivity.functional.recordings import Memory

ALL_PAIRS = r"all pairs of \d+ nodes need about \d\.\d GB, and 1\.0 GB are free; use a coarser .*pearson with `keep`"


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Memory:
    """Where a pair, or a number, counts as very many."""
    monkeypatch.setattr(memory, "_available", lambda: 10**9)
    items = pd.DataFrame({"item": np.repeat(np.arange(8), 8), "position": np.tile(np.arange(8), 8), "task": "a"})
    return Memory({"mlp.0": np.random.default_rng(0).normal(size=(64, 8))}, items=items)


@pytest.mark.parametrize("method", ["pearson", "covariance", "spearman", "partial", "lagged", "dynamic", "coherence"])
def test_all_pairs(recorded: Memory, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "BYTES_PER_PAIR", 2 * 10**9 // 28)
    options = {"window": 4} if method in ("dynamic", "coherence") else {}
    with pytest.raises(DataError, match=ALL_PAIRS):
        cg.functional_connectivity(recorded, cg.Partition.units(recorded), method, **options)


def test_pairs_that_are_active_together(recorded: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    from compgraph.connectivity.functional import coactivation

    monkeypatch.setattr(coactivation, "BYTES_PER_EDGE", 10**8)
    with pytest.raises(DataError, match=r"\d+ pairs of nodes that are active together need .* a larger `active_above`"):
        cg.functional_connectivity(recorded, cg.Partition.units(recorded), "coactivation")


def test_patterns_and_permuted_signals(recorded: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_available", lambda: 1000)
    part = cg.Partition.units(recorded)
    with pytest.raises(DataError, match=r"rsa of 8 nodes over 8 values of 'item' needs .* or a smaller `most`"):
        cg.functional_connectivity(recorded, part, "rsa")
    with pytest.raises(DataError, match=r"permuting the signals of 8 nodes over 128 rows needs about 0.0 GB"):
        cg.functional_contrast(recorded, recorded, part, n_permutations=9)
