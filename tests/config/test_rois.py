from __future__ import annotations

import pytest

from compgraph import catalogue
from compgraph.config.results import Result
from compgraph.config.study import Study
from compgraph.errors import ConfigError
from tests.config.studies import SMALL, small

PLACE = ("tf", "step-000100", "mix")


def study(entries: str) -> Study:
    return Study(small(SMALL.replace("rois: {km: {n_rois: 4}}", f"rois:\n  km: {{n_rois: 4}}\n  {entries}")))


def test_several_signals_are_read_and_made() -> None:
    found = study("many: {n_rois: 3, buffer: [activations, attributions.patched, weights], models: [tf]}")
    folder = "results/tf/step-000100"
    assert found.buffer_paths("rois", "many", *PLACE) == [
        f"{folder}/mix/activations.json", f"{folder}/mix/attributions/patched.json", f"{folder}/model.json",
    ]  # fmt: skip
    assert found.buffer_payloads("rois", "many", *PLACE)[2] == f"{folder}/model"
    assert Result("rois", "many", *PLACE) in found.results()


def test_random_regions_read_those_whose_sizes_they_have() -> None:
    found = study("chance: {method: random, like: km, checkpoints: all, models: [tf]}")
    assert found.buffer_paths("rois", "chance", *PLACE)[-1] == "results/tf/step-000100/mix/rois/km.json"
    assert "--like" not in found.flags("rois", "chance")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("a: {method: random}", "rois.a .*random ROIs need n_rois, or like"),
        ("a: {method: random, like: none}", "rois.a.like .*there is no entry of rois that is not random 'none'"),
        ("a: {method: random, like: b}\n  b: {method: random, n_rois: 2}", "rois.a.like .*valid: km"),
        ("a: {method: random, like: b}\n  b: {n_rois: 2, models: [tf]}", "'b' is not found for 'net' on 'digits'"),
        ("a: {n_rois: 2, consensus: true}", "rois.a.consensus .*give n_repeats"),
        ("a: {method: labels, path: none.csv}", "rois.a.path .*there is no table 'none.csv'"),
        ("a: {method: labels}", "rois.a.* this key is missing"),
        ("a: {n_rois: 2, buffer: [activations, structural.a]}", "there is no buffer 'structural.a'"),
        ("a: {n_rois: 2, buffer: [attributions.no]}", "rois.a.buffer .*there is no buffer 'attributions.no'"),
        ("a: {n_rois: [2]}", "rois.a.n_rois"),
        ("a: {n_rois: 2, scope: model}", "rois.a.scope"),
        ("a: {method: heads, models: [net]}", "rois.a.models"),
        ("a: {method: sbm, nested: true, n_rois: 4}", "rois.a.n_rois .*give a range of n_rois"),
        ("a: {method: sbm, hierarchy_level: 1}", "rois.a.hierarchy_level .*only a nested model"),
        ("a: {method: sbm, weights: discrete-poisson, weighted: true}", "rois.a.weights .*not knn with weights"),
        ("a: {method: sbm, weights: real-exponential, graph: covariance}", "rois.a.weights .*not covariance"),
        ("a: {method: sbm, weights: poisson}", "rois.a.weights .*discrete-poisson"),
    ],
)
def test_what_cannot_be_is_refused(entry: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        study(entry)


def test_what_only_graph_tool_serves_is_refused_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "missing", lambda entry: list(entry.requires))
    study("a: {method: sbm, n_rois: 4, engine: dense}\n  b: {method: sbm, weights: none}")
    for entry, place in (("{method: sbm, nested: true}", "nested"), ("{method: sbm, engine: graph-tool}", "engine")):
        with pytest.raises(ConfigError, match=rf"rois\.a\.{place} .*conda install -c conda-forge graph-tool"):
            study(f"a: {entry}")


def test_regions_at_several_checkpoints_are_followed() -> None:
    found = study("a: {n_rois: 2, models: [tf], checkpoints: all}\n  b: {n_rois: 3, models: [tf]}")
    shown = found.figure_inputs[("tf/all/mix", "roi-stability")]
    assert {(one.name, one.checkpoint) for one in shown} == {
        ("a", f"step-{step:06d}") for step in (0, 10, 100)
    }
    assert not any(name == "roi-stability" and place.startswith("net") for place, name in found.figure_inputs)
