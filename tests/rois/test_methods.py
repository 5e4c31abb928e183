"""What every method does with planted, structureless and degenerate signals."""

from __future__ import annotations

import numpy as np
import pytest

from compgraph.catalogue import ROIS
from compgraph.communities import adjusted_rand
from compgraph.errors import DataError
from compgraph.partition import Partition
from compgraph.rois import find_rois
from tests.communities.graphs import groups, transformer
from tests.rois.recordings import MemoryRecording, factor_signals

PLANTED = groups(36, 3)
FREE = {"spectral": {}, "louvain": {}, "leiden": {}, "sbm": {"n_runs": 1}, "sbm-bipartite": {}}
"""Methods that can find the number by themselves."""
GIVEN = {"kmeans": {}, "ward": {}, **FREE}


def _needs(method: str) -> None:
    for library in ROIS[method].requires:
        pytest.importorskip(library)


@pytest.mark.parametrize("method", GIVEN)
def test_planted_groups_are_found_again_by_number(method: str) -> None:
    _needs(method)
    signals = factor_signals(200, PLANTED, seed=0)
    first, again = (find_rois(signals, method=method, n_rois=3, seed=4, **GIVEN[method]) for _ in range(2))
    assert adjusted_rand(first.labels["units"], PLANTED) > 0.9
    assert first.digest == again.digest


@pytest.mark.parametrize("method", FREE)
def test_methods_find_the_number(method: str) -> None:
    _needs(method)
    found = find_rois(factor_signals(200, PLANTED, seed=0), method=method, **FREE[method])
    assert adjusted_rand(found.labels["units"], PLANTED) > 0.9


@pytest.mark.parametrize("method", ["sbm", "sbm-bipartite", "spectral"])
def test_independent_units_are_one_roi(method: str) -> None:
    _needs(method)
    noise = np.random.default_rng(1).normal(size=(200, 30))
    assert find_rois(noise, method=method, **FREE[method]).n_parts("units") == 1


@pytest.mark.parametrize("method", [*GIVEN, "random"])
def test_numbers_lie_in_the_range(method: str) -> None:
    _needs(method)
    found = find_rois(factor_signals(100, PLANTED, seed=0), method=method, n_rois=(2, 5), **GIVEN.get(method, {}))
    assert 2 <= found.n_parts("units") <= 5


@pytest.mark.parametrize("method", [*GIVEN, "random"])
def test_one_live_unit_is_one_roi(method: str) -> None:
    _needs(method)
    signals = np.zeros((20, 3))
    signals[:, 1] = np.arange(20)
    found = find_rois(signals, method=method, n_rois=1, **GIVEN.get(method, {}))
    assert found.labels["units"].tolist() == [-1, 0, -1]


@pytest.mark.parametrize("method", ["kmeans", "ward", "random"])
def test_methods_that_need_a_number_say_so(method: str) -> None:
    with pytest.raises(DataError, match=f"{method} needs to be told how many ROIs"):
        find_rois(factor_signals(20, PLANTED, seed=0), method=method)


def test_random_parts_have_equal_sizes() -> None:
    found = find_rois(factor_signals(20, PLANTED, seed=0), method="random", n_rois=5, seed=3)
    assert sorted(found.part_sizes("units").tolist()) == [7, 7, 7, 7, 8]
    other = find_rois(factor_signals(20, PLANTED, seed=0), method="random", n_rois=5, seed=4)
    assert other != found


def test_random_parts_have_the_sizes_of_others_site_by_site() -> None:
    architecture = transformer(n_layers=1)
    planted = {"attn.0": np.array([0] * 8 + [1] * 4), "mlp.0": np.array([0, 0, 0, 1])}
    like = Partition.mixed(architecture, {name: Partition.from_labels({name: own}) for name, own in planted.items()})
    recording = MemoryRecording(architecture, {s: factor_signals(30, own, seed=1) for s, own in planted.items()})
    found = find_rois(recording, method="random", like=like)
    for site in planted:
        assert sorted(found.part_sizes(site)) == sorted(like.part_sizes(site))
    assert found.labels["attn.0"].tolist() != like.labels["attn.0"].tolist()
    with pytest.raises(DataError, match="leave one of them out"):
        find_rois(recording, method="random", like=like, n_rois=2)
    with pytest.raises(DataError, match=r"has no labels for 'mlp\.0'"):
        find_rois(recording, method="random", like=like.restrict(["attn.0"]))
