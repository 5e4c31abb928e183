from __future__ import annotations

import numpy as np
import pytest

from compgraph.errors import DataError
from compgraph.rois.recordings import ArrayRecording
from compgraph.rois.signals import units_of
from tests.communities.graphs import groups, transformer
from tests.rois.recordings import MemoryRecording, factor_signals, units


def test_correlations_equal_numpy() -> None:
    signals = factor_signals(100, groups(8, 2), seed=0)
    found = units(signals)
    assert found.correlation == pytest.approx(np.corrcoef(signals.T), abs=1e-12)
    assert found.sites["units"].live.tolist() == list(range(8))
    assert (found.n, found.n_rows, dict(found.sites["units"].dead)) == (8, 100, {})


def test_a_buffer_is_read_in_one_pass_of_chunks() -> None:
    signals = factor_signals(150, groups(8, 2), seed=1).astype(np.float32)
    buffer = MemoryRecording(transformer(), {"mlp.0": signals})
    assert units_of(buffer, ["mlp.0"]).correlation == pytest.approx(np.corrcoef(signals.T), abs=1e-6)


def test_silent_units_are_dead_for_a_reason() -> None:
    signals = factor_signals(50, groups(6, 2), seed=2)
    signals[:, 1], signals[:, 4] = 0, 7.25
    site = units(signals).sites["units"]
    assert dict(site.dead) == {"always zero": (1,), "constant": (4,)}
    assert site.live.tolist() == [0, 2, 3, 5]
    assert units(signals).correlation.shape == (4, 4)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_named(bad: float) -> None:
    signals = factor_signals(50, groups(6, 2), seed=3)
    signals[7, 2] = bad
    with pytest.raises(DataError, match=r"unit 2 of 'mlp\.0' has values that are not finite \(1 such"):
        units(signals, "mlp.0")
    with pytest.raises(DataError, match="not finite"):
        units_of(MemoryRecording(transformer(), {"mlp.0": signals}), ["mlp.0"])


@pytest.mark.parametrize("rows", [0, 1, 9])
def test_too_few_rows_say_how_many_are_needed(rows: int) -> None:
    with pytest.raises(DataError, match=r"'mlp\.0' has .* rows; .* at least 10"):
        units(np.zeros((rows, 3)), "mlp.0")


@pytest.mark.parametrize("signals", [np.zeros(5), np.array([["a", "b"]]), np.zeros((2, 2, 2))])
def test_what_is_no_matrix_is_refused(signals: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"must be numbers \[rows, units\]"):
        ArrayRecording(None, {"mlp.0": signals})


def test_a_site_that_was_not_recorded_is_refused_with_those_that_were() -> None:
    buffer = MemoryRecording(transformer(), {"mlp.0": np.zeros((20, 4))})
    with pytest.raises(DataError, match=r"'mlp\.1' was not recorded; the buffer has mlp\.0"):
        units_of(buffer, ["mlp.1"])


def test_units_of_several_sites_are_side_by_side() -> None:
    rng = np.random.default_rng(4)
    arrays = {"attn.0": rng.normal(size=(70, 12)), "mlp.0": rng.normal(size=(70, 4))}
    arrays["attn.0"][:, 2] = 0
    found = units_of(MemoryRecording(transformer(), arrays), list(arrays))
    both = np.concatenate([np.delete(arrays["attn.0"], 2, axis=1), arrays["mlp.0"]], axis=1)
    assert found.correlation == pytest.approx(np.corrcoef(both.T), abs=1e-12)
    assert found.points @ found.points.T == pytest.approx(np.corrcoef(both.T), abs=1e-12)
