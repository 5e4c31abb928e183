from __future__ import annotations

import numpy as np
import pytest

from compgraph.communities import adjusted_rand
from compgraph.errors import ConfigError, DataError
from compgraph.partition import Partition
from compgraph.rois import find_rois
from compgraph.rois.find import chosen_sites
from tests.communities.graphs import chain, groups, transformer
from tests.rois.recordings import MemoryRecording, factor_signals


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
    divisible = ["attn.0", "mlp.0", "attn.1", "mlp.1"]
    assert chosen_sites(buffer, None) == divisible
    assert chosen_sites(buffer, ["*"]) == divisible
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
    with pytest.raises(ConfigError, match="'ward' is not known; valid are kmeans, sbm"):
        find_rois(buffer, method="ward")
