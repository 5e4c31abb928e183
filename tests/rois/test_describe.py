from __future__ import annotations

import numpy as np
import pytest

from compgraph.partition import Partition
from compgraph.rois import describe_rois, find_rois
from compgraph.rois.describe import densities
from compgraph.rois.recordings import ArrayRecording
from tests.communities.graphs import groups
from tests.rois.recordings import factor_signals


def test_densities_equal_loops_over_pairs() -> None:
    r = np.corrcoef(np.random.default_rng(0).normal(size=(20, 7)).T)
    labels = np.array([0, 0, 1, 0, 2, 2, -1])
    within, between = densities(r, labels, 3)
    for part in range(3):
        inside = [r[a, b] for a in range(7) for b in range(7) if a != b and labels[a] == labels[b] == part]
        outside = [r[a, b] for a in range(7) for b in range(7) if labels[a] == part and labels[b] not in (part, -1)]
        assert within[part] == pytest.approx(np.mean(inside) if inside else np.nan, nan_ok=True)
        assert between[part] == pytest.approx(np.mean(outside))


def test_regions_of_the_same_factor_are_tight_and_their_noise_averages_out() -> None:
    signals = factor_signals(2000, groups(20, 2), seed=0)
    recording = ArrayRecording(None, {"units": signals})
    part = find_rois(signals, method="ward", n_rois=2)
    table = describe_rois(part, recording, repeats=[part, Partition.from_labels({"units": np.arange(20) % 2})])
    assert table["roi"].tolist() == ["units/roi.0", "units/roi.1"]
    assert (table["within"] > 0.4).all()
    assert (table["between"].abs() < 0.1).all()
    standard = (signals - signals.mean(0)) / signals.std(0)
    mean = standard[:, :10].mean(1)
    r = np.corrcoef(signals[:, :10].T)
    shared = (r.sum() - 10) / 90
    assert table["snr"][0] == pytest.approx(shared / (mean.var() - shared), rel=1e-6)
    assert table["stability"].tolist() == pytest.approx([(1 + 1 / 3) / 2] * 2)
    assert "selectivity" not in table


def test_regions_are_scored_on_other_data() -> None:
    labels = groups(12, 2)
    first, second = (ArrayRecording(None, {"units": factor_signals(300, labels, seed=k)}) for k in (0, 1))
    part = find_rois(first, method="ward", n_rois=2)
    own, other = describe_rois(part, first), describe_rois(part, second)
    assert own["within"].to_numpy() == pytest.approx(other["within"].to_numpy(), abs=0.1)
    assert own["within"].tolist() != other["within"].tolist()
