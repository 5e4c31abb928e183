from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from compgraph.partition import Partition
from compgraph.rois import find_rois, roi_stability
from compgraph.rois.evidence import write_evidence
from tests.communities.graphs import groups, transformer
from tests.rois.recordings import MemoryRecording, factor_signals
from tests.rois.test_responses import Tasked


def test_tables_lie_beside_a_partition(tmp_path: Path) -> None:
    signals = factor_signals(120, groups(12, 3), seed=0)
    untold = MemoryRecording(transformer(), {"attn.0": signals[:60]})
    told = Tasked(transformer(), {"attn.0": signals})
    part = find_rois([untold, told], "attn.0", method="ward", n_rois=3)
    stability = roi_stability([untold, told], part, "attn.0", method="ward", n_rois=3, n_repeats=1)
    part.save(tmp_path)
    summary = write_evidence(tmp_path, part, [untold, told], stability, n_permutations=19, seed=0)
    assert Partition.load(tmp_path) == part
    tables = {path.stem: pd.read_parquet(path) for path in tmp_path.glob("*.parquet")}
    assert set(tables) == {"rois", "responses", "stability", "heads", "units"}
    assert len(tables["rois"]) == 3
    assert {"top_class", "selectivity", "stability"} <= set(tables["rois"])
    assert len(tables["responses"]) == 3 * 60  # of the recording that knows classes
    assert summary["stability"] == {"bootstrap": 1.0, "halves": 1.0, "seeds": 1.0}
    assert summary["heads"]["attn.0"] == tables["heads"]["ami"][0]


def test_the_error_of_a_dictionary_is_no_region(tmp_path: Path) -> None:
    net = transformer()
    sites = tuple(replace(s, n_units=12, n_features=9) if s.name == "mlp.0" else s for s in net.sites)
    signals = factor_signals(120, groups(9, 3), seed=0)
    error = np.random.default_rng(1).normal(size=(120, 3))
    recording = Tasked(replace(net, sites=sites), {"mlp.0": np.concatenate([signals, error], axis=1)})
    part = find_rois(recording, "mlp.0", method="ward", n_rois=3)
    assert part.part_names("mlp.0") == ("roi.0", "roi.1", "roi.2", "error")
    stability = roi_stability(recording, part, "mlp.0", method="ward", n_rois=3, n_repeats=1)
    write_evidence(tmp_path, part, [recording], stability, n_permutations=19, seed=0)
    tables = {path.stem: pd.read_parquet(path) for path in tmp_path.glob("*.parquet")}
    names = [f"mlp.0/roi.{k}" for k in range(3)]
    assert tables["rois"]["roi"].tolist() == names and tables["rois"]["stability"].tolist() == [1.0] * 3
    assert sorted(set(tables["responses"]["roi"])) == names
    assert set(tables["units"]["roi"]) == {"roi.0", "roi.1", "roi.2"} and tables["units"]["unit"].max() < 9
    one = find_rois(recording, "mlp.0", method="ward", n_rois=1)
    write_evidence(tmp_path, one, [recording], None, n_permutations=9, seed=0)
    assert pd.read_parquet(tmp_path / "rois.parquet").empty  # a site of one region is not divided


def test_a_network_that_is_not_divided_has_empty_tables(tmp_path: Path) -> None:
    recording = Tasked(transformer(), {"attn.0": np.random.default_rng(0).normal(size=(60, 12))})
    part = Partition.modules(transformer())
    assert write_evidence(tmp_path, part, [recording], None, n_permutations=9, seed=0) == {}
    assert all(pd.read_parquet(path).empty for path in tmp_path.glob("*.parquet"))
