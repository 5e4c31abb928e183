from __future__ import annotations

import numpy as np
import pytest

from compgraph.communities.dense import integer_partitions
from compgraph.communities.dense.integer_partitions import IntegerPartitions


def test_the_counts_are_those_of_graph_tools_table() -> None:
    libinference = pytest.importorskip("graph_tool.inference", reason="graph-tool is not installed").libinference
    libinference.init_q_cache(3000)
    ours = IntegerPartitions(3000, 300)
    m, n = np.array([1, 5, 12, 500, 2999, 300]), np.array([1, 2, 12, 20, 299, 300])
    expected = [libinference.log_q(int(a), int(b)) for a, b in zip(m, n, strict=True)]
    assert ours.exact(m, n) == pytest.approx(expected, rel=1e-12)


def test_large_totals_follow_the_asymptotic_formula() -> None:
    libinference = pytest.importorskip("graph_tool.inference", reason="graph-tool is not installed").libinference
    m, n = np.array([20_000, 10**6, 10**7, 50_000]), np.array([5, 300, 4000, 50_000])
    expected = [libinference.log_q_approx(int(a), int(b)) for a, b in zip(m, n, strict=True)]
    assert IntegerPartitions(10**7, 10).exact(m, n) == pytest.approx(expected, rel=1e-9)


def test_without_a_table_the_exact_counts_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    m, n = np.array([50, 80, 99]), np.array([3, 20, 99])
    kept = IntegerPartitions(100, 100).exact(m, n)
    monkeypatch.setattr(integer_partitions, "MOST_CELLS", 0)
    without = IntegerPartitions(100, 100)
    assert np.array_equal(without.exact(m, n), kept)
    assert not np.array_equal(without.quick(m, n), kept)
    assert without.quick(m, n) == pytest.approx(kept, rel=0.05)


def test_nothing_has_one_partition() -> None:
    assert IntegerPartitions(10, 10).exact([0, 3], [4, 0]).tolist() == [0, 0]
