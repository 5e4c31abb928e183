from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from compgraph import catalogue
from compgraph.config.base import NAME_PATTERN
from compgraph.config.opening import open_study
from compgraph.config.results import Result
from compgraph.config.serving import has_counterfactuals
from compgraph.config.study import Study
from compgraph.errors import ConfigError
from tests.config.studies import SMALL, small


@pytest.fixture(scope="module")
def study() -> Study:
    return Study(small())


def paths(study: Study, stage: str) -> set[str]:
    return {result.path for result in study.results() if result.stage == stage}


def test_every_checkpoint_is_a_result(study: Study) -> None:
    assert paths(study, "model") == {
        f"{model}/step-{step:06d}/model.json" for model, step in [("net", 0), ("net", 40)]
    } | {f"tf/step-{step:06d}/model.json" for step in (0, 10, 100)}


def test_entries_apply_to_what_they_can_serve(study: Study) -> None:
    assert paths(study, "structural") == {
        "tf/step-000100/structural/comp.json",
        "net/step-000040/structural/norm.json",
    }
    assert paths(study, "effective") == {
        *(f"tf/step-{step:06d}/mix/effective/heads.json" for step in (0, 10, 100)),
        "net/step-000040/digits/effective/channels.json",
        "tf/step-000100/mix/effective/roi.json",
    }
    assert paths(study, "data") == {"net/datasets/digits.json", "tf/datasets/mix.json"}


def test_attributions_are_made_where_they_are_selected_or_read(study: Study) -> None:
    assert paths(study, "attributions") == {
        "tf/step-000100/mix/attributions/patched.json",
        *(f"tf/step-{step:06d}/mix/attributions/product.json" for step in (0, 10, 100)),
        *(f"net/step-{step:06d}/digits/attributions/product.json" for step in (0, 40)),
    }
    early = Study(small(SMALL.replace("{buffer: attributions", "{checkpoints: all, buffer: attributions")))
    assert "tf/step-000010/mix/attributions/patched.json" in paths(early, "attributions")


def test_functional_graphs_and_rois_read_the_buffer_they_name(study: Study) -> None:
    # The attributions are made for one dataset, so the graph of them is too.
    assert {path for path in paths(study, "functional") if "influence" in path} == {
        "tf/step-000100/mix/functional/influence.json"
    }
    place, folder = ("tf", "step-000100", "mix"), "results/tf/step-000100/mix"
    assert study.buffer_paths("functional", "influence", *place) == [f"{folder}/attributions/patched.json"]
    assert study.buffer_paths("functional", "units", *place) == [f"{folder}/activations.json"]
    assert study.buffer_paths("rois", "km", *place) == [f"{folder}/activations.json"]
    assert "--buffer" not in study.flags("functional", "influence")


def test_a_method_without_a_baseline_has_no_such_key(study: Study) -> None:
    assert "--baseline counterfactual --seed 0" in study.flags("attributions", "patched")
    assert "--baseline" not in study.flags("attributions", "product")
    with pytest.raises(ConfigError, match=r"attributions.product.baseline .*there is no such key"):
        small(SMALL.replace("activation-x-gradient,", "activation-x-gradient, baseline: zero,"))


def test_readers_of_graphs(study: Study) -> None:
    assert paths(study, "ablation") == {
        "tf/step-000100/mix/ablation/edge@effective.heads.json",
        "tf/step-000100/mix/ablation/edge@effective.roi.json",
        "net/step-000040/digits/ablation/edge@effective.channels.json",
        "tf/step-000100/mix/ablation/node@effective.heads.json",
    }
    assert paths(study, "evaluation") == {
        path.replace("/ablation/", "/evaluation/curves@") for path in paths(study, "ablation")
    }
    assert "tf/step-000100/statistics/basic@structural.comp.json" in paths(study, "statistics")
    assert "tf/step-000010/mix/statistics/basic@effective.heads.json" in paths(study, "statistics")


def test_figures(study: Study) -> None:
    found = paths(study, "figure")
    assert "figures/tf/step-000100/mix/effective.heads.json" in found
    assert "figures/tf/step-000100/mix/faithfulness.json" in found
    assert "figures/tf/step-000100/mix/blocks.nested@effective.heads.json" in found
    assert "figures/tf/all/mix/emergence.json" in found
    assert "figures/tf/step-000010/mix/effective.heads.json" not in found
    curves = study.figure_paths("tf/step-000100/mix", "faithfulness")
    assert [Path(path).stem for path in curves] == [
        "curves@edge@effective.heads",
        "curves@edge@effective.roi",
        "curves@node@effective.heads",
    ]
    assert study.figure_paths("tf/step-000100/mix", "blocks.nested@effective.heads") == [
        "results/tf/step-000100/mix/sbm/nested@effective.heads.json",
        "results/tf/step-000100/mix/effective/heads.json",
    ]


def test_partitions_that_a_graph_needs_are_made(study: Study) -> None:
    assert study.roi_paths("effective", "roi", "tf", "step-000100", "mix") == [
        "results/tf/step-000100/mix/rois/km.json"
    ]
    assert study.roi_paths("effective", "heads", "tf", "step-000100", "mix") == []
    early = Study(small(SMALL.replace("roi: {", "roi: {checkpoints: all, ")))
    assert "tf/step-000010/mix/rois/km.json" in paths(early, "rois")
    assert "tf/step-000010/mix/activations.json" in paths(early, "activations")


def test_results_are_unique_and_their_names_need_no_quoting(study: Study) -> None:
    found = study.paths()
    assert len(found) == len(set(found))
    for path in found:
        for part in path.removesuffix(".json").split("/"):
            assert re.fullmatch(rf"{NAME_PATTERN}(@{NAME_PATTERN})?(@[a-z]+\.{NAME_PATTERN})?", part)


def test_an_added_entry_changes_no_other_result() -> None:
    before = Study(small()).paths()
    after = Study(
        small(SMALL.replace("effective:\n", "effective:\n  more: {partition: modules, models: [tf]}\n"))
    ).paths()
    assert set(before) < set(after)
    assert {path for path in set(after) - set(before) if "/effective/" in path} == {
        "results/tf/step-000100/mix/effective/more.json"
    }


def test_flags_of_stages(study: Study) -> None:
    assert "--checkpoints 0,10,100" in study.flags("train", "tf")
    assert study.flags("ablation", "node").startswith("--ablation node --baseline counterfactual")
    assert study.flags("activations").startswith("--sites 'attn.*,mlp.*,conv.*,linear.*'")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("{kind: task, task: ioi}", True),
        ("{kind: text, path: a.txt}", False),
        ("{kind: pairs, path: a.csv}", True),
        ("{kind: pairs, path: a.csv, columns: {clean: c, answer: a}}", False),
    ],
)
def test_counterfactuals(data: str, expected: bool) -> None:
    from compgraph.config.config import validate
    from compgraph.config.reading import parse

    config = validate(parse("datasets: {d: " + data + "}"), check=False)
    assert has_counterfactuals(config.datasets["d"]) is expected  # type: ignore[arg-type]


def test_figures_are_named_once() -> None:
    assert {entry.per for entry in catalogue.FIGURES.values()} <= {"result", "place", "entry", "model"}
    one = Result("effective", "heads", "m", "c", "d")
    assert one.place == "m/c/d"


def test_open_study_reads_the_file_it_is_given(tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text(SMALL)
    second.write_text(SMALL.replace("n: 32", "n: 16"))
    assert open_study([], {}, first) == Study(small())
    import yaml

    values = yaml.safe_load(second.read_text())
    assert open_study([second], values, first).config.datasets["mix"].n == 16  # type: ignore[union-attr]
    values["run"] = {"cores": 3}
    assert open_study([second], values, first).config.run.cores == 3


def test_what_a_missing_library_is_needed_for_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Study(small()).left_out() == []
    monkeypatch.setattr(catalogue, "missing", lambda entry: list(entry.requires))
    without = Study(small())
    assert paths(without, "sbm") == set()
    said = "sbm.nested is left out: it needs graph_tool, which is not installed (see compgraph doctor)"
    assert without.left_out() == [said]
    flat = Study(small(SMALL.replace("nested: {", "nested: {nested: false, ")))
    assert paths(flat, "sbm") and flat.left_out() == []  # the dense engine serves it
    small(SMALL.replace("km: {", "km: {method: sbm, "))  # the dense engine serves it
    needing = replace(catalogue.ROIS["sbm"], requires=("graph_tool",))
    monkeypatch.setitem(catalogue.ROIS, "sbm", needing)
    with pytest.raises(ConfigError, match=r"rois.km.method .*'sbm' needs graph_tool, which is not installed"):
        small(SMALL.replace("km: {", "km: {method: sbm, "))


COMPARED = (
    SMALL
    + """
comparison:
  kinds: {graphs: [structural.comp, effective.heads], checkpoints: all}
  layers: {graphs: [structural.norm, effective.channels]}
"""
)


def test_a_comparison_is_made_where_two_of_its_graphs_are() -> None:
    study = Study(small(COMPARED))
    assert paths(study, "comparison") == {
        "tf/step-000100/mix/comparison/kinds.json",  # the structural graph is of the last checkpoint alone
        "net/step-000040/digits/comparison/layers.json",
    }
    assert study.compared_paths("kinds", "tf", "step-000100", "mix") == [
        "results/tf/step-000100/structural/comp.json",
        "results/tf/step-000100/mix/effective/heads.json",
    ]
    drawn = study.figure_paths("tf/step-000100/mix", "three-connectivities.kinds")
    assert [path.rpartition("/")[2] for path in drawn] == ["kinds.json", "comp.json", "heads.json"]


FEATURES = """
models:
  tf: {source: trained, architecture: transformer, tasks: [induction, ioi], steps: 100, checkpoints: 2}
datasets:
  mix: {kind: mixture, tasks: [induction, ioi], n: 32}
  other: {kind: task, task: ioi, n: 32}
dictionaries: {d: {datasets: [other]}, both: {}}
effective:
  a: {dictionaries: d, datasets: [mix], checkpoints: all}
  b: {dictionaries: both}
ablation: {cut: {graphs: [effective.a]}}
"""


ATTRIBUTED = """
models:
  tf: {source: trained, architecture: transformer, tasks: [induction, ioi], steps: 100}
datasets:
  mix: {kind: mixture, tasks: [induction, ioi], n: 32}
  other: {kind: task, task: ioi, n: 32}
activations: {datasets: [mix]}
dictionaries: {d: {datasets: [other]}}
attributions: {plain: {datasets: [mix]}, f: {dictionaries: d, datasets: [mix]}}
rois: {r: {buffer: attributions.f, dictionaries: d, n_rois: 2, datasets: [mix]}}
effective:
  features: {dictionaries: d, datasets: [mix]}
  heads: {partition: heads, datasets: [mix]}
tests:
  s: {method: separability, buffer: attributions.f}
  t: {method: separability, buffer: attributions.plain}
"""


def test_attributions_of_features_meet_those_that_read_the_same_features():
    study = Study(small(ATTRIBUTED))
    last = study.facts["tf"].checkpoints[-1]
    place = f"results/tf/{last}"
    assert study.dictionary_paths("attributions", "f", "tf", last, "mix") == [f"{place}/other/dictionaries/d.json"]
    assert study.dictionary_paths("attributions", "plain", "tf", last, "mix") == []
    results = study.results()
    graphs = {one.name: one.graph for one in results if one.stage == "tests"}
    assert graphs == {"s": "effective.features", "t": "effective.heads"}
    order = [one.stage for one in results]
    assert order.index("dictionaries") < order.index("attributions") < order.index("rois")


def test_dictionaries_come_from_the_graph_s_data_or_from_their_own():
    study = Study(small(FEATURES))
    last = study.facts["tf"].checkpoints[-1]
    path = f"results/tf/{last}/other/dictionaries/d.json"
    assert study.dictionary_paths("effective", "a", "tf", last, "mix") == [path]
    assert study.dictionary_paths("ablation", "a", "tf", last, "mix") == [path]
    for dataset in ("mix", "other"):
        expected = [f"results/tf/{last}/{dataset}/dictionaries/both.json"]
        assert study.dictionary_paths("effective", "b", "tf", last, dataset) == expected
    made = [result for result in study.results() if result.stage == "dictionaries" and result.name == "d"]
    # At the checkpoints of the graphs, though the entry itself asks for the last one only.
    assert {one.checkpoint for one in made} == set(study.facts["tf"].checkpoints)
    buffers = {result.path for result in study.results() if result.stage == "activations"}
    assert {f"tf/{one.checkpoint}/other/activations.json" for one in made} <= buffers
    assert "--dictionaries" not in study.flags("effective", "a")
