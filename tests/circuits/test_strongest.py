"""top, threshold and ratio against a plain sort."""

from __future__ import annotations

import numpy as np
import pytest

from compgraph.circuits.choice import share_of
from compgraph.circuits.strongest import ratio, threshold, top
from tests.circuits.graphs import scored

WEIGHTS = [3.0, -3.0, 2.0, -5.0, 0.0, 2.0, -2.0, 1.0, -1.0, 4.0, 0.5, -0.5]


def ranked(values) -> list[int]:
    """Edges by falling value, of equal ones the earlier first."""
    return sorted(range(len(values)), key=lambda e: (-values[e], e))


@pytest.mark.parametrize("n", range(13))
@pytest.mark.parametrize("by", ["abs", "signed", "negative"])
def test_top(n, by):
    values = {"abs": np.abs(WEIGHTS), "signed": np.array(WEIGHTS), "negative": -np.array(WEIGHTS)}[by]
    assert np.flatnonzero(top(scored(WEIGHTS), n, by=by).edges).tolist() == sorted(ranked(values)[:n])


def test_threshold_is_inclusive():
    graph = scored(WEIGHTS)
    assert threshold(graph, at=2.0).edges.sum() == 7
    assert threshold(graph, at=2.0, by="signed").edges.sum() == 4
    assert threshold(graph, at=2.0, by="negative").edges.sum() == 3
    with pytest.raises(ValueError, match="finite"):
        threshold(graph, at=np.nan)


@pytest.mark.parametrize("n", range(13))
@pytest.mark.parametrize("share", [0.0, 0.29, 0.6, 1.0])
@pytest.mark.parametrize("by", ["negative", "signed"])
def test_ratio(n, share, by):
    signed = np.array(WEIGHTS) if by == "signed" else -np.array(WEIGHTS)
    first = ranked(signed)[: int(np.floor(share * n + 1e-9))]
    rest = [e for e in ranked(np.abs(WEIGHTS)) if e not in first]
    expected = sorted((first + rest)[:n])
    choice = ratio(scored(WEIGHTS), n, share=share, by=by)
    assert np.flatnonzero(choice.edges).tolist() == expected
    assert choice.record == {"supporting": int((signed[expected] > 0).sum())}


def test_a_share_is_not_lost_to_rounding():
    assert int(0.29 * 100) == 28 and share_of(100, 0.29) == 29
    assert all(share_of(10 * k, 0.1) == k for k in range(1000))
    assert share_of(9, 0.99) == 8
