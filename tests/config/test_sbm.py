from __future__ import annotations

import pytest

from compgraph import catalogue
from compgraph.config.flags import parse
from compgraph.config.study import Study
from compgraph.errors import ConfigError
from tests.config.studies import SMALL, small

needs = pytest.mark.skipif(bool(catalogue.missing(catalogue.STAGES["sbm"])), reason="graph-tool is not installed")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"signs": True, "weights": "none"}, "not with none"),
        ({"structure": "ordered"}, "needs weights: none"),
        ({"structure": "ordered", "weights": "none", "n_samples": 10}, "not from structure: ordered"),
        ({"structure": "select", "weights": "none", "n_blocks": 3}, "n_blocks is for structure: any"),
        ({"structure": "select", "weights": "none", "layers": "channels"}, "needs layers: none"),
        ({"n_blocks": 3, "constraint": "levels"}, "cannot be met together"),
        ({"layers": "channels", "constraint": "bipartite"}, "is for layers: none"),
        ({"n_folds": 1}, "at least 2"),
    ],
)
def test_keys_that_contradict_each_other(options: dict, said: str) -> None:
    entry, problems = parse("sbm", options)
    assert entry is None
    assert said in problems[0]


MORE = SMALL.replace("  mix: {", "  other: {kind: mixture, tasks: [induction, ioi], n: 32, seed: 1}\n  mix: {")


def study(selection: str, more: str = "") -> Study:
    before = "sbm: {nested: {graphs: [effective.heads]}}"
    assert before in MORE
    return Study(small(MORE.replace(before, f"sbm: {{joint: {{{selection}}}}}{more}")))


def made(of: Study) -> dict[str, list[str]]:
    """Path of each block model, and the graphs that it reads."""
    return {
        one.path: [graph.path for graph in of.layers_of(one)] for one in of.results() if one.stage == "sbm"
    }


@needs
def test_graphs_of_a_place_are_layers_of_one_model() -> None:
    of = study("layers: graphs, graphs: [structural.comp, effective.heads]")
    paths = made(of)
    assert set(paths) == {f"tf/step-000100/{data}/sbm/joint.json" for data in ("other", "mix")}
    assert paths["tf/step-000100/mix/sbm/joint.json"] == [
        "tf/step-000100/structural/comp.json",
        "tf/step-000100/mix/effective/heads.json",
    ]
    assert of.layer_paths("sbm", "tf/step-000100/mix", "joint")[1].endswith("mix/effective/heads.json")


@needs
def test_the_blocks_of_layers_are_drawn_with_all_their_graphs() -> None:
    of = study("layers: graphs, graphs: [structural.comp, effective.heads]")
    drawn = {place: found for place, found in of.figure_inputs.items() if place[1].startswith("blocks")}
    assert set(drawn) == {(f"tf/step-000100/{data}", "blocks.joint") for data in ("other", "mix")}
    place = ("tf/step-000100/mix", "blocks.joint")
    read = [one.path for one in drawn[place]]
    assert read == ["tf/step-000100/mix/sbm/joint.json", *made(of)["tf/step-000100/mix/sbm/joint.json"]]


@needs
def test_datasets_are_layers_of_one_model() -> None:
    paths = made(study("layers: datasets, graphs: [effective.heads], models: [tf]"))
    assert paths == {
        "tf/step-000100/sbm/joint.json": [
            f"tf/step-000100/{data}/effective/heads.json" for data in ("other", "mix")
        ]
    }


@needs
def test_too_few_graphs_for_layers() -> None:
    with pytest.raises(ConfigError, match="needs at least two in graphs"):
        study("layers: graphs, graphs: [effective.heads]")


@needs
def test_layers_that_are_at_no_place_together() -> None:
    with pytest.raises(ConfigError, match="layers: datasets finds no two graphs"):
        study("layers: datasets, graphs: [effective.heads], datasets: [mix], models: [tf]")


@needs
def test_blocks_of_several_graphs_divide_none_of_them() -> None:
    test = "\ntests: {x: {method: separability, buffer: attributions.patched, blocks: sbm.joint}}"
    with pytest.raises(ConfigError, match="no effective graph with these blocks"):
        study("layers: graphs, graphs: [structural.comp, effective.heads]", test)
