from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from compgraph.communities import adjusted_rand
from compgraph.errors import ConfigError, DataError
from compgraph.partition import Partition
from compgraph.rois import find_rois
from compgraph.rois.find import chosen_sites
from tests.communities.graphs import chain, groups, transformer
from tests.rois.recordings import MemoryRecording, factor_signals

DIVISIBLE = ["attn.0", "mlp.0", "attn.1", "mlp.1"]


@pytest.fixture
def buffer() -> MemoryRecording:
    """Every site of a transformer with d_model 4, attention of 12 units and MLPs of 4; mlp.1 has dead units."""
    architecture = transformer(n_layers=2)
    arrays = {
        site.name: factor_signals(80, groups(site.n_units, 2), seed=k) for k, site in enumerate(architecture.sites)
    }
    arrays["mlp.1"][:, 0] = 0
    return MemoryRecording(architecture, arrays)


def test_signals_of_one_site() -> None:
    signals = factor_signals(200, groups(30, 3), seed=0)
    signals[:, 5] = 1.5
    part = find_rois(signals, "mlp.3", method="kmeans", n_rois=3)
    assert part.kind == "rois"
    assert part.part_names("mlp.3") == ("roi.0", "roi.1", "roi.2")
    labels = part.labels["mlp.3"]
    assert np.flatnonzero(labels == -1).tolist() == [5]
    assert part.reasons["mlp.3"] == {"constant": (5,)}
    assert adjusted_rand(labels, groups(30, 3)) == 1
    firsts = [np.flatnonzero(labels == k)[0] for k in range(3)]
    assert firsts == sorted(firsts)
    assert find_rois(signals, method="kmeans", n_rois=2).sites == ("units",)


def test_sites_of_a_buffer_that_are_not_chosen_stay_whole(buffer: MemoryRecording) -> None:
    part = find_rois(buffer, "mlp.*", method="kmeans", n_rois=2)
    modules = Partition.modules(buffer.architecture)
    assert part.sites == modules.sites
    for site in ("embed", "attn.0", "attn.1", "logits"):
        assert np.array_equal(part.labels[site], modules.labels[site])
        assert part.names[site] == ("",)
    assert part.part_names("mlp.0") == ("roi.0", "roi.1")
    assert part.labels["mlp.1"][0] == -1
    assert part.reasons["mlp.1"] == {"always zero": (0,)}
    part.check(buffer.architecture)


def test_which_sites_are_chosen(buffer: MemoryRecording) -> None:
    assert chosen_sites(buffer, None) == DIVISIBLE
    assert chosen_sites(buffer, ["*"]) == DIVISIBLE
    assert chosen_sites(buffer, ["mlp.1", "attn.*"]) == ["attn.0", "attn.1", "mlp.1"]
    assert chosen_sites(buffer, "embed") == ["embed"]
    with pytest.raises(DataError, match=r"site 'mlp\.7' was not recorded; the buffer has embed"):
        chosen_sites(buffer, "mlp.7")
    with pytest.raises(DataError, match=r"logits\* selects none of the recorded sites"):
        chosen_sites(buffer, "logits*")


def test_every_site_of_a_chain_can_be_divided() -> None:
    architecture = chain((6, 8, 6))
    arrays = {s.name: factor_signals(60, groups(s.n_units, 2), 0) for s in architecture.sites}
    part = find_rois(MemoryRecording(architecture, arrays), method="kmeans", n_rois=2)
    assert [part.n_parts(site) for site in part.sites] == [2, 2, 2]


def test_numbers_of_rois_by_site(buffer: MemoryRecording) -> None:
    part = find_rois(buffer, "attn.*", method="kmeans", n_rois={"attn.0": 3, "attn.1": 5})
    assert (part.n_parts("attn.0"), part.n_parts("attn.1")) == (3, 5)


def test_the_default_method_needs_no_number() -> None:
    pytest.importorskip("graph_tool", reason="graph-tool is not installed")
    signals = factor_signals(300, groups(45, 3), seed=1)
    first, again = (find_rois(signals, "mlp.0", seed=4, n_runs=1) for _ in range(2))
    assert first == again
    assert adjusted_rand(first.labels["mlp.0"], groups(45, 3)) > 0.95


def test_the_same_seed_gives_the_same_partition(buffer: MemoryRecording) -> None:
    parts = [find_rois(buffer, method="kmeans", n_rois=3, seed=6) for _ in range(2)]
    assert parts[0].digest == parts[1].digest


def test_what_cannot_be_divided_is_refused(buffer: MemoryRecording) -> None:
    with pytest.raises(DataError, match=r"4 ROIs were asked for in 'mlp\.1', but only 3 of its 4 units vary"):
        find_rois(buffer, "mlp.*", method="kmeans", n_rois=4)
    with pytest.raises(DataError, match="n_rois of 'units' must be at least 1, not 0"):
        find_rois(factor_signals(20, groups(4, 2), 0), method="kmeans", n_rois=0)
    with pytest.raises(DataError, match="none of the 4 units of 'units' varies"):
        find_rois(np.ones((20, 4)), method="kmeans", n_rois=1)
    with pytest.raises(DataError, match="signals of one site were given, but 2 names"):
        find_rois(np.ones((20, 4)), ["a", "b"])
    with pytest.raises(ConfigError, match="'wards' is not known; valid are kmeans, ward, spectral"):
        find_rois(buffer, method="wards")
    with pytest.raises(ConfigError, match="scope 'model' is not known; valid are site, layer, all"):
        find_rois(buffer, method="kmeans", n_rois=2, scope="model")
    with pytest.raises(DataError, match="range from 3 to 2; give the smaller number first"):
        find_rois(buffer, "attn.0", method="kmeans", n_rois=[3, 2])


@pytest.mark.parametrize(
    ("scope", "groups_of_sites"), [("layer", [["attn.0", "mlp.0"], ["attn.1", "mlp.1"]]), ("all", [DIVISIBLE])]
)
def test_regions_of_several_sites_share_a_name(scope: str, groups_of_sites: list[list[str]]) -> None:
    architecture = transformer(n_layers=2)
    planted = {site.name: np.arange(site.n_units) % 2 for site in architecture.sites}
    together = np.concatenate([planted[site] for site in DIVISIBLE])
    signals = np.split(factor_signals(80, together, seed=0), np.cumsum([len(planted[s]) for s in DIVISIBLE])[:-1], 1)
    recording = MemoryRecording(architecture, dict(zip(DIVISIBLE, signals, strict=True)))
    part = find_rois(recording, method="ward", n_rois=2, scope=scope)
    part.check_causal(architecture)
    for sites in groups_of_sites:
        names = [part.part_names(site) for site in sites]
        assert all(one == names[0] for one in names)
        found = np.concatenate([part.labels[site] for site in sites])
        assert adjusted_rand(found, np.concatenate([planted[site] for site in sites])) == 1
    if scope == "layer":
        assert not set(part.part_names("mlp.0")) & set(part.part_names("mlp.1"))


def test_a_region_of_several_sites_is_no_part_where_it_has_no_unit() -> None:
    architecture = transformer(n_layers=1)
    sites = {"attn.0": np.zeros(12, int), "mlp.0": np.array([0, 0, 1, 1])}
    signals = factor_signals(80, np.concatenate(list(sites.values())), seed=0)
    recording = MemoryRecording(architecture, {"attn.0": signals[:, :12], "mlp.0": signals[:, 12:]})
    part = find_rois(recording, method="ward", n_rois=2, scope="all")
    assert part.part_names("attn.0") == ("roi.0",)
    assert part.part_names("mlp.0") == ("roi.0", "roi.1")


def test_heads_are_given_by_the_architecture(buffer: MemoryRecording) -> None:
    part = find_rois(buffer, "attn.*", method="heads")
    heads = Partition.heads(buffer.architecture)
    assert part.labels["attn.1"].tolist() == heads.labels["attn.1"].tolist()
    with pytest.raises(DataError, match=r"'mlp\.0' has no heads"):
        find_rois(buffer, "mlp.0", method="heads")


def test_labels_are_read_from_a_table(buffer: MemoryRecording, tmp_path: Path) -> None:
    table = pd.DataFrame({"site": "mlp.1", "unit": [3, 2, 1], "label": ["b", "a", "b"]})
    table.to_csv(tmp_path / "labels.csv", index=False)
    part = find_rois(buffer, "mlp.1", method="labels", path=str(tmp_path / "labels.csv"))
    assert part.labels["mlp.1"].tolist() == [-1, 0, 1, 0]
    table[:2].to_csv(tmp_path / "short.csv", index=False)
    with pytest.raises(DataError, match=r"no label for unit 1 of 'mlp\.1'"):
        find_rois(buffer, "mlp.1", method="labels", path=str(tmp_path / "short.csv"))
    with pytest.raises(DataError, match="there is no table"):
        find_rois(buffer, "mlp.1", method="labels", path="none.csv")
