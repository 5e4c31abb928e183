from __future__ import annotations

import numpy as np
import pytest

from compgraph.errors import DataError
from compgraph.rois import find_rois
from compgraph.rois.recordings import Concatenated
from compgraph.rois.signals import units_of
from tests.communities.graphs import groups, transformer
from tests.rois.recordings import MemoryRecording, factor_signals


def test_each_recording_counts_alike() -> None:
    short, long = factor_signals(30, groups(4, 2), seed=0), 7 * factor_signals(300, groups(4, 1), seed=1)
    both = Concatenated([MemoryRecording(transformer(), {"mlp.0": one}) for one in (short, long)])
    expected = (np.corrcoef(short.T) + np.corrcoef(long.T)) / 2
    assert units_of(both, ["mlp.0"]).correlation == pytest.approx(expected, abs=1e-12)
    assert both.n_rows == len(both.items) == 330


def test_a_unit_that_is_silent_in_one_recording_is_judged_by_the_other() -> None:
    first, second = factor_signals(40, groups(4, 2), seed=0), factor_signals(40, groups(4, 2), seed=1)
    first[:, 0], first[:, 1], second[:, 1] = 5, 0, 0
    both = [MemoryRecording(transformer(), {"mlp.0": one}) for one in (first, second)]
    found = find_rois(both, "mlp.0", method="ward", n_rois=2)
    assert found.labels["mlp.0"].tolist() == [0, -1, 1, 1]


def test_recordings_of_other_networks_are_refused() -> None:
    one = MemoryRecording(transformer(), {"mlp.0": np.zeros((20, 4))})
    with pytest.raises(DataError, match="no site in common"):
        Concatenated([one, MemoryRecording(transformer(), {"mlp.1": np.zeros((20, 4))})])
    other = MemoryRecording(transformer(n_heads=5), {"attn.0": np.zeros((20, 10))})
    with pytest.raises(DataError, match=r"'attn\.0' has 12 units in recording 0 and 10 in recording 1"):
        Concatenated([MemoryRecording(transformer(), {"attn.0": np.zeros((20, 12))}), other])


def test_what_is_not_finite_is_named_in_any_recording() -> None:
    broken = factor_signals(40, groups(4, 2), seed=0)
    broken[3, 2] = np.nan
    both = [MemoryRecording(transformer(), {"mlp.0": one}) for one in (np.nan_to_num(broken), broken)]
    with pytest.raises(DataError, match=r"unit 2 of 'mlp\.0' has values that are not finite"):
        find_rois(both, "mlp.0", method="ward", n_rois=2)
