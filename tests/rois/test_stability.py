from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

from compgraph.communities import adjusted_rand
from compgraph.errors import DataError
from compgraph.partition import Partition
from compgraph.rois import find_rois
from compgraph.rois.overlap import overlap_with_heads
from compgraph.rois.recordings import ArrayRecording
from compgraph.rois.stability import Resampled, co_assignment, consensus, roi_stability
from tests.communities.graphs import groups, transformer
from tests.rois.recordings import MemoryRecording, factor_signals


def test_a_resample_is_the_recording_of_its_rows() -> None:
    signals = factor_signals(90, groups(4, 2), seed=0)
    counts = np.random.default_rng(0).integers(3, size=90)
    drawn = Resampled(MemoryRecording(transformer(), {"mlp.0": signals}, chunk=13), counts)
    rows = np.repeat(signals, counts, axis=0)
    np.testing.assert_array_equal(np.concatenate([c["mlp.0"] for c in drawn.chunks(["mlp.0"])]), rows)
    np.testing.assert_allclose(drawn.mean("mlp.0"), rows.mean(0))
    np.testing.assert_allclose(drawn.variance("mlp.0"), rows.var(0))
    assert drawn.n_rows == len(drawn.items) == len(rows)
    assert drawn.items["item"].to_numpy().tolist() == np.repeat(np.arange(90), counts).tolist()


def test_planted_regions_are_found_again_and_noise_is_not() -> None:
    found = {}
    for name, noise in (("planted", 0.7), ("noise", 50.0)):
        signals = factor_signals(200, groups(24, 3), seed=0, noise=noise)
        part = find_rois(signals, method="kmeans", n_rois=3)
        found[name] = roi_stability(signals, part, method="kmeans", n_rois=3, n_repeats=2).table
    assert found["planted"].groupby("kind")["ari"].min().eq(1).all()
    assert found["planted"]["vi"].max() == 0
    halves = found["noise"].set_index("kind")["ari"]["halves"]
    assert halves.max() < 0.3
    assert found["noise"]["kind"].value_counts().to_dict() == {"seeds": 3, "halves": 2, "bootstrap": 2}


def test_numbers_name_the_divisions() -> None:
    signals = factor_signals(60, groups(12, 3), seed=0, noise=4)
    part = find_rois(signals, method="kmeans", n_rois=3)
    found = roi_stability(signals, part, method="kmeans", n_rois=3, n_repeats=2)
    again = roi_stability(signals, part, method="kmeans", n_rois=3, n_repeats=2)
    assert found.table.equals(again.table)
    divisions = [part, *found.repeats]
    for row in found.table.itertuples():
        first, second = (divisions[k].labels["units"] for k in (row.first, row.second))
        assert row.ari == pytest.approx(adjusted_rand_score(first, second))
        assert row.ami == pytest.approx(adjusted_mutual_info_score(first, second))


def test_co_assignment_counts_shared_parts_of_live_units() -> None:
    found = co_assignment([[0, 0, 1, -1], [0, 1, 1, 0]])
    np.testing.assert_allclose(found, [[1, 0.5, 0, 1], [0.5, 1, 0.5, 0], [0, 0.5, 1, 0], [1, 0, 0, 1]])


def test_the_consensus_outvotes_a_stray_division() -> None:
    true = groups(20, 4)
    stray = np.random.default_rng(0).permutation(true)
    parts = [Partition.from_labels({"units": labels}) for labels in (stray, true, true, true)]
    assert adjusted_rand(consensus(parts[0], parts[1:]).labels["units"], true) == 1


def test_heads_overlap_with_themselves_and_not_with_random_regions() -> None:
    architecture = transformer(n_layers=2)
    rng = np.random.default_rng(0)
    heads = Partition.heads(architecture).labels["attn.0"]
    part = Partition.mixed(
        architecture,
        {"attn.*": Partition.from_labels({"attn.0": heads, "attn.1": rng.permutation(heads)})},
    )
    table = overlap_with_heads(part, architecture, n_random=99).set_index("site")
    assert table.loc["attn.0", "ami"] == 1
    assert table.loc["attn.0", "p"] == 0.01
    assert abs(table.loc["attn.1", "null"]) < 0.1
    assert table.loc["attn.1", "p"] > 0.05
    assert table.loc["attn.1", "n_heads"] == 6


def test_too_little_to_divide_again_is_refused() -> None:
    signals = factor_signals(20, groups(6, 2), seed=0)
    part = find_rois(signals, method="kmeans", n_rois=2)
    with pytest.raises(DataError, match="n_repeats is 0"):
        roi_stability(signals, part, method="kmeans", n_rois=2, n_repeats=0)
    with pytest.raises(DataError, match=r"'units' has .* rows; .* at least 10"):
        roi_stability(signals[:12], part, method="kmeans", n_rois=2, n_repeats=1)


def test_regions_of_recordings_are_found_again() -> None:
    recording = ArrayRecording(None, {"units": factor_signals(100, groups(12, 2), seed=0)})
    part = find_rois(recording, method="ward", n_rois=2)
    assert roi_stability(recording, part, method="ward", n_rois=2, n_repeats=1).table["ari"].eq(1).all()
