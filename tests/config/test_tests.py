"""Section ``tests``: where entries apply, what their results read, what is refused."""

from __future__ import annotations

import shlex

import pytest

from compgraph import catalogue
from compgraph.config.base import SELECTORS
from compgraph.config.flags import parse, render
from compgraph.config.results import Result
from compgraph.config.study import Study
from compgraph.errors import ConfigError
from tests.config.studies import SMALL, small

TESTS = """
tests:
  needed: {method: minimality}
  early: {method: knock-out, checkpoints: all, graphs: [effective.heads]}
  separate: {method: separability, buffer: attributions.patched, blocks: sbm.nested}
  regions:
    method: class-ablation
    buffer: attributions.support
    partitions: [rois.km, "communities.fine@functional.units"]
"""
WITH = SMALL.replace("attributions:\n", "attributions:\n  support: {models: [net]}\n").replace(
    "communities: {", "communities: {fine: {}, "
)


def study(text: str = WITH + TESTS) -> Study:
    return Study(small(text))


def made(study: Study) -> set[str]:
    return {result.path for result in study.results() if result.stage == "tests"}


def test_an_entry_has_a_result_for_each_graph_or_place_it_applies_to() -> None:
    place = "tf/step-000100/mix/tests"
    expected = {
        *(f"{place}/needed@effective.{graph}.json" for graph in ("heads", "roi")),
        "net/step-000040/digits/tests/needed@effective.channels.json",
        *(f"tf/step-{step:06d}/mix/tests/early@effective.heads.json" for step in (0, 10, 100)),
        "net/step-000040/digits/tests/regions.json",
    }
    if not catalogue.missing(catalogue.STAGES["sbm"]):
        # Blocks are fitted to the graph of heads alone, so the others have none to read.
        expected.add(f"{place}/separate@effective.heads.json")
    assert made(study()) == expected


def test_a_result_reads_what_its_entry_names() -> None:
    one = study()
    place = ("net", "step-000040", "digits")
    assert one.test_inputs("/".join(place), "regions") == {
        "buffer": Result("attributions", "support", *place),
        "rois.km": Result("rois", "km", *place),
        "communities.fine@functional.units": Result("communities", "fine", *place, "functional.units"),
        "graph:communities.fine@functional.units": Result("functional", "units", *place),
    }
    assert set(one.test_inputs("tf/step-000100/mix", "separate@effective.heads")) == {"graph", "blocks", "buffer"}
    known = set(one.results())
    assert all(read in known for read in one.test_inputs("/".join(place), "regions").values())


AGAIN = WITH.replace("datasets:\n", "datasets:\n  more: {kind: mixture, tasks: [ioi], n: 32, on_request: true}\n")
AGAIN = AGAIN.replace("heads: {partition: heads,", "heads: {partition: heads, datasets: [mix, more],").replace(
    "effective:\n", "effective:\n  other: {partition: heads, datasets: [mix, more]}\n"
)
REPEATED = """
tests:
  repeated:
    method: reproducibility
    graphs: [effective.heads]
    datasets: [mix]
    seeds: [more, effective.other, mix]
    phrasings: ["effective.other@more"]
"""


def test_graphs_made_again_are_read_with_their_data_and_nothing_else_is_made_of_what_is_on_request() -> None:
    one, place = study(AGAIN + REPEATED), ("tf", "step-000100")
    assert one.test_inputs("/".join((*place, "mix")), "repeated@effective.heads") == {
        "graph": Result("effective", "heads", *place, "mix"),
        "again:seeds:more": Result("effective", "heads", *place, "more"),
        "data:more": Result("data", "more", "tf", dataset="more"),
        "again:seeds:effective.other": Result("effective", "other", *place, "mix"),
        "again:phrasings:effective.other@more": Result("effective", "other", *place, "more"),
        "data:effective.other@more": Result("data", "more", "tf", dataset="more"),
    }
    assert made(one) == {"/".join((*place, "mix/tests/repeated@effective.heads.json"))}
    results = one.results()
    assert set(results) >= set(one.test_inputs("/".join((*place, "mix")), "repeated@effective.heads").values())
    about = {(result.stage, result.name) for result in results if result.dataset == "more" and result.stage != "figure"}
    assert about == {("data", "more"), ("effective", "heads"), ("effective", "other")}


@pytest.mark.parametrize(
    ("old", "new", "place", "said"),
    [
        ("seeds: [more, effective.other, mix]", "seeds: [less]", "tests.repeated.seeds[0]", "more"),
        ("seeds: [more, effective.other, mix]", "seeds: [effective.no]", "tests.repeated.seeds[0]", "effective.other"),
        ("seeds: [more, effective.other, mix]", "seeds: [effective.channels]", "tests.repeated.seeds", "partition"),
        ("effective.other@more", "sbm.other@more", "tests.repeated.phrasings[0]", "effective.<name>@<dataset>"),
        ("datasets: [mix, more]}", "datasets: [mix]}", "tests.repeated", "does not make"),
        ("[more, effective.other, mix]\n    phrasings: [\"effective.other@more\"]", "null", "tests.repeated", "seeds"),
    ],
)  # fmt: skip
def test_graphs_made_again_must_be_there_and_have_the_same_nodes(old, new, place, said) -> None:
    assert old in AGAIN + REPEATED
    with pytest.raises(ConfigError) as error:
        small((AGAIN + REPEATED).replace(old, new))
    assert place in str(error.value) and said in str(error.value)


def test_blocks_that_cannot_be_fitted_here_leave_their_tests_out(monkeypatch) -> None:
    monkeypatch.setattr(catalogue, "missing", lambda entry: [lib for lib in entry.requires if lib == "graph_tool"])
    assert not any("/separate@" in path for path in made(study()))
    only = WITH + "tests: {separate: {method: separability, buffer: attributions.patched, blocks: sbm.nested}}\n"
    assert made(study(only)) == set()


def test_an_entry_is_the_flags_of_its_verb_and_back() -> None:
    """What an entry reads is no flag of the verb, so the verb must do without it."""
    for name, entry in study().entries("tests").items():
        words = [word for word in shlex.split(render("tests", entry)) if word != "--no-prune"]
        pairs = dict(zip(words[::2], words[1::2], strict=True))
        again, problems = parse("tests", {flag[2:].replace("-", "_"): value for flag, value in pairs.items()})
        assert problems == [] and again is not None, name
        selected = {key: None for key in SELECTORS if key in type(entry).model_fields} | {"checkpoints": "last"}
        assert again == entry.model_copy(update=selected), name


def test_figures_are_drawn_for_the_results_of_their_method() -> None:
    drawn = {result.name for result in study().results() if result.stage == "figure"}
    assert {"minimality.needed@effective.heads", "class-ablation.regions", "faithfulness-degree"} <= drawn
    assert not any(name.startswith(("minimality.early", "knock-out.needed", "stability")) for name in drawn)


def test_one_figure_shows_all_graphs_of_an_entry_and_their_regions() -> None:
    few = "{method: against-random, graphs: [effective.heads]}"
    found = study(f"{SMALL}\ntests:\n  nodes: {{method: against-random, models: [tf]}}\n  few: {few}\n").figure_inputs
    place = ("tf", "step-000100", "mix")
    assert found["/".join(place), "roi-vs-heads.nodes"] == [
        Result("tests", "nodes", *place, "effective.heads"),
        Result("tests", "nodes", *place, "effective.roi"),
        Result("rois", "km", *place),
    ]
    assert found["/".join(place), "roi-vs-heads.few"] == [Result("tests", "few", *place, "effective.heads")]


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("x: {method: minimal}", "tests.x", "minimality"),
        ("x: {method: separability}", "tests.x.buffer", "missing"),
        ("x: {method: separability, buffer: activations}", "tests.x.buffer", "attributions.<name"),
        ("x: {method: separability, buffer: attributions.other}", "tests.x.buffer", "attributions.patched"),
        ("x: {method: separability, buffer: attributions.patched, blocks: rois.km}", "tests.x.blocks", "sbm.<name"),
        ("x: {method: separability, buffer: attributions.patched, blocks: sbm.no}", "tests.x.blocks", "sbm.nested"),
        ("x: {method: class-ablation, buffer: attributions.support, partitions: [sbm.nested]}", "partitions", "@<sec"),
        ("x: {method: class-ablation, buffer: attributions.support, partitions: [rois.no]}", "partitions", "rois.km"),
        ("x: {method: minimality, graphs: [functional.units]}", "tests.x.graphs", "effective.heads"),
        ("x: {method: minimality, size: 0}", "tests.x.size", "0"),
        ("x: {method: stability, samples: 1}", "tests.x.samples", "2"),
        ("x: {method: minimality, baseline_data: mix}", "tests.x.baseline_data", "mean"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_place(text: str, place: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        small(WITH + "tests:\n  " + text + "\n")
    assert place in str(error.value) and said in str(error.value)


def test_norm_scale_is_for_edges_of_transformers() -> None:
    frozen = SMALL.replace("ablation: {edge: {}", "ablation: {edge: {norm_scale: frozen}")
    runs = [result for result in Study(small(frozen)).results() if (result.stage, result.name) == ("ablation", "edge")]
    assert {result.model for result in runs} == {"tf"}
    with pytest.raises(ConfigError, match="norm_scale is for edge ablation"):
        small(SMALL.replace("node: {ablation: node", "node: {ablation: node, norm_scale: frozen"))
