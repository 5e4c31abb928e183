"""The pieces behind large graphs: what is kept of scores that go by, what is counted, and where rows wait."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compgraph.connectivity.blockwise.score_summary import Histogram
from compgraph.connectivity.blockwise.strongest_edges import (
    EdgeNumbers,
    Edges,
    StrongestOverall,
    StrongestPerTarget,
    strongest_columns,
)
from compgraph.connectivity.effective.scratch import RowStore
from compgraph.connectivity.effective.unit_groups import UnitGroups
from compgraph.errors import DataError
from compgraph.parts import Parts

SOURCES, TARGETS, CHANNELS = 30, 12, 3


def scores_with_ties(seed):
    """[channels, targets, sources] of few different values, zeros among them."""
    rng = np.random.default_rng(seed)
    return rng.integers(-4, 5, (CHANNELS, TARGETS, SOURCES)).astype(np.float32)


def first_by_strength(scores, k):
    """Numbers of the k first edges by strength, then place, among [channels, targets, sources]."""
    c, t, s = np.indices(scores.shape)
    number = EdgeNumbers(SOURCES + TARGETS, CHANNELS)(t.ravel() + SOURCES, c.ravel(), s.ravel())
    return set(number[np.lexsort((number, -np.abs(scores).ravel()))[:k]].tolist())


@pytest.mark.parametrize("k", [1, 5, 40, 500, 5000])
@pytest.mark.parametrize("seed", range(3))
def test_overall_whatever_the_order_of_blocks(k, seed):
    scores = scores_with_ties(seed)
    kept = StrongestOverall(k, EdgeNumbers(SOURCES + TARGETS, CHANNELS))
    blocks = [(c, t, s) for c in range(CHANNELS) for t in range(0, TARGETS, 5) for s in range(0, SOURCES, 7)]
    np.random.default_rng(seed).shuffle(blocks)
    for c, t, s in blocks:
        block = torch.from_numpy(scores[c, t : t + 5, s : s + 7].copy())
        kept.add(block, block.abs(), t + SOURCES, c, s)
    edges = kept.edges()
    assert set(edges.number.tolist()) == first_by_strength(scores, k)
    assert (np.diff(edges.number) > 0).all()
    source, target, channel = kept.numbers.columns(edges.number)
    np.testing.assert_array_equal(edges.score, scores[channel, target - SOURCES, source])


@pytest.mark.parametrize("k", [1, 3, 29, 40, 200])
@pytest.mark.parametrize("step", [4, 30])
def test_per_target_over_channels(k, step):
    scores = scores_with_ties(1)
    kept = StrongestPerTarget(k, EdgeNumbers(SOURCES + TARGETS, CHANNELS))
    for s in range(0, SOURCES, step):
        for c in reversed(range(CHANNELS)):
            for t in range(0, TARGETS, 5):
                block = torch.from_numpy(scores[c, t : t + 5, s : s + step].copy())
                kept.add(block, block.abs(), t + SOURCES, c, s)
    kept.close()
    expected = set()
    for t in range(TARGETS):
        c, s = np.indices((CHANNELS, SOURCES))
        number = kept.numbers(np.full(c.size, t + SOURCES), c.ravel(), s.ravel())
        expected |= set(number[np.lexsort((number, -np.abs(scores[:, t]).ravel()))[:k]].tolist())
    assert set(Edges.joined(kept.pieces).number.tolist()) == expected


def test_entries_that_are_no_edges_are_never_kept():
    kept = StrongestPerTarget(2, EdgeNumbers(10, 1))
    scores = torch.tensor([[0.0, 5.0, 0.0], [0.0, 0.0, 0.0]])
    kept.add(scores, torch.tensor([[-1.0, 5.0, -1.0], [-1.0, 0.0, -1.0]]), 5, 0, 0)
    kept.restart()
    kept.add(torch.tensor([[0.0], [1.0]]), torch.tensor([[-1.0], [1.0]]), 5, 0, 7)
    kept.close()
    source, target, _ = kept.numbers.columns(Edges.joined(kept.pieces).number)
    assert list(zip(target.tolist(), source.tolist(), strict=True)) == [(5, 1), (6, 1), (6, 7)]


@pytest.mark.parametrize("n", [3, 8, 50])
def test_strongest_columns_take_the_first_of_equals(n):
    rng = np.random.default_rng(n)
    values = rng.integers(0, 4, (20, n)).astype(np.float32)
    for k in (1, 2, 7, n):
        found = strongest_columns(torch.from_numpy(values), k).numpy()
        expected = np.sort(np.argsort(-values, axis=1, kind="stable")[:, :k], axis=1)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_histogram_has_fixed_edges(dtype):
    values = [1.0, 1.999, 2.0, -2.0, -3.9, 0.5, 0.0, -0.0, 0.25, -0.2499]
    counts = Histogram()
    counts.add(torch.tensor(values, dtype=dtype).reshape(2, 5))
    assert counts.n == 10
    assert counts.about() == {
        "zero": 2,
        "exponents": [-3, -2, -1, 0, 1],
        "positive": [0, 1, 1, 2, 1],
        "negative": [1, 0, 0, 0, 2],
    }


def test_histogram_counts_what_is_beyond_its_ends():
    counts = Histogram()
    counts.add(torch.tensor([1e-42, -1e-42, 0.0], dtype=torch.float32))
    counts.add(torch.tensor([1e-300, 1e300, -1e200, 2.0**-126], dtype=torch.float64))
    about = counts.about()
    assert (about["exponents"][0], about["exponents"][-1], about["zero"]) == (-126, 127, 1)
    assert (about["positive"][0], about["positive"][-1]) == (3, 1)
    assert (about["negative"][0], about["negative"][-1]) == (1, 1)
    assert Histogram().about() == {"zero": 0, "exponents": [], "positive": [], "negative": []}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_histogram_refuses_what_is_not_finite(dtype, value):
    with pytest.raises(DataError, match="not finite"):
        Histogram().add(torch.tensor([1.0, value], dtype=dtype))


def test_units_by_node():
    labels = np.array([2, 0, -1, 2, 0, 2])  # no unit in part 1
    groups = UnitGroups.from_parts(Parts.from_labels(labels, 4, torch.device("cpu")))
    assert groups.order.tolist() == [1, 4, 0, 3, 5] and groups.bounds == [0, 2, 2, 5, 5] and not groups.single
    values = torch.tensor([[1.0, 2.0, 4.0, 8.0, 16.0, 32.0]])
    assert groups.sums(groups.pick(values), 1).tolist() == [[18.0, 0.0, 41.0, 0.0]]
    assert groups.sums(groups.pick(values)[:, groups.units(1, 3)], 1, 1, 3).tolist() == [[0.0, 41.0]]
    assert groups.cut(2) == [(0, 1), (1, 2), (2, 3), (3, 4)] and groups.cut(3) == [(0, 2), (2, 4)]
    every = UnitGroups.from_parts(Parts.from_labels(np.arange(7), 7, torch.device("cpu")))
    assert every.single and every.order is None and every.cut(3) == [(0, 3), (3, 6), (6, 7)]


def test_rows_are_read_as_they_were_written(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    rng = np.random.default_rng(0)
    pieces = [torch.from_numpy(rng.normal(size=(n, 3))) for n in (2, 0, 5, 1, 4)]
    whole = torch.cat(pieces)
    for memory in (10**6, 100, 0):
        with RowStore(memory) as rows:
            for piece in pieces:
                rows.append("a/b", piece)
                rows.append("other", piece[:, :1].float())
            assert rows.on_disk == (memory < 10**6) and rows.length("a/b") == 12
            for a, b in ((0, 12), (3, 9), (11, 12), (5, 5)):
                assert torch.equal(rows.read("a/b", a, b), whole[a:b])
                assert torch.equal(rows.read("other", a, b), whole[a:b, :1].float())
            assert bool(list(tmp_path.rglob("*.rows"))) == rows.on_disk
        assert not list(tmp_path.iterdir())
