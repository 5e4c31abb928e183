from __future__ import annotations

import numpy as np
import pytest

from compgraph.errors import DataError
from compgraph.rois.signals import from_buffer, from_matrix
from tests.communities.graphs import groups, transformer
from tests.rois.recordings import MemoryRecording, factor_signals


def test_correlations_equal_numpy() -> None:
    signals = factor_signals(100, groups(8, 2), seed=0)
    units = from_matrix(signals, "mlp.0")
    assert units.matrix == pytest.approx(np.corrcoef(signals.T), abs=1e-12)
    assert units.live.tolist() == list(range(8))
    assert (units.n_units, units.n_rows, dict(units.dead)) == (8, 100, {})


def test_a_buffer_is_read_in_one_pass_of_chunks() -> None:
    signals = factor_signals(150, groups(8, 2), seed=1).astype(np.float32)
    buffer = MemoryRecording(transformer(), {"mlp.0": signals})
    assert from_buffer(buffer, "mlp.0").matrix == pytest.approx(np.corrcoef(signals.T), abs=1e-6)


def test_silent_units_are_dead_for_a_reason() -> None:
    signals = factor_signals(50, groups(6, 2), seed=2)
    signals[:, 1], signals[:, 4] = 0, 7.25
    units = from_matrix(signals, "mlp.0")
    assert dict(units.dead) == {"always zero": (1,), "constant": (4,)}
    assert units.live.tolist() == [0, 2, 3, 5]
    assert units.matrix.shape == (4, 4)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_named(bad: float) -> None:
    signals = factor_signals(50, groups(6, 2), seed=3)
    signals[7, 2] = bad
    with pytest.raises(DataError, match=r"unit 2 of 'mlp\.0' has values that are not finite \(1 such"):
        from_matrix(signals, "mlp.0")
    with pytest.raises(DataError, match="not finite"):
        from_buffer(MemoryRecording(transformer(), {"mlp.0": signals}), "mlp.0")


@pytest.mark.parametrize("rows", [0, 1, 9])
def test_too_few_rows_say_how_many_are_needed(rows: int) -> None:
    with pytest.raises(DataError, match=r"'mlp\.0' has .* rows; .* at least 10"):
        from_matrix(np.zeros((rows, 3)), "mlp.0")


@pytest.mark.parametrize("signals", [np.zeros(5), np.array([["a", "b"]]), np.zeros((2, 2, 2))])
def test_what_is_no_matrix_is_refused(signals: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"must be numbers \[rows, units\]"):
        from_matrix(signals, "mlp.0")


def test_a_site_that_was_not_recorded_is_refused_with_those_that_were() -> None:
    buffer = MemoryRecording(transformer(), {"mlp.0": np.zeros((20, 4))})
    with pytest.raises(DataError, match=r"'mlp\.1' was not recorded; the buffer has mlp\.0"):
        from_buffer(buffer, "mlp.1")
