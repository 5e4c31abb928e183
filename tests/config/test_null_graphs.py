from __future__ import annotations

import pytest

from compgraph.config.config import validate
from compgraph.config.reading import parse
from compgraph.config.study import Study
from compgraph.errors import ConfigError
from tests.config.studies import SMALL, small

ASKED = SMALL.replace(
    "statistics: {basic: {checkpoints: all}}",
    "statistics: {basic: {null_model: network, n_nulls: 9, graphs: [effective.heads, structural.comp]}}",
).replace(
    "communities: {louvain: {",
    "communities: {louvain: {null_model: network, n_nulls: 9, ",
)


def nulls(study: Study) -> list[str]:
    return [study.path(result) for result in study.results() if result.stage == "nulls"]


def test_entries_that_want_the_same_null_graphs_share_them() -> None:
    assert nulls(Study(small())) == []
    study = Study(small(ASKED))
    found = nulls(study)
    assert len(set(found)) == len(found)
    of_heads = [path for path in found if path.endswith("mix/nulls/shuffled-9-0@effective.heads.json")]
    assert len(of_heads) == 1
    assert any(path.endswith("nulls/shuffled-9-0@structural.comp.json") for path in found)
    place = of_heads[0].removeprefix(f"{study.config.run.results}/").partition("/nulls/")[0]
    for stage, name in (("statistics", "basic"), ("communities", "louvain")):
        assert study.null_graph_paths(stage, name, place, "effective.heads") == of_heads
    without = Study(small(ASKED.replace("n_nulls: 9", "n_nulls: 0")))
    assert nulls(without) == [] and without.null_graph_paths("statistics", "basic", place, "effective.heads") == []


def test_a_job_reads_what_the_graph_was_made_from() -> None:
    study = Study(small(ASKED.replace("graphs: [effective.heads, structural.comp]", "graphs: [functional.influence]")))
    model, checkpoint = "tf", study.facts["tf"].checkpoints[-1]
    making = study.null_graphs(f"{model}/{checkpoint}/mix", "shuffled-9-0", "functional.influence")
    roles = {role: one.stage for role, one in making.inputs.items()}
    assert roles == {"graph": "functional", "model": "model", "data": "data", "buffer": "attributions"}
    assert making.flags == "--randomised shuffled --n-nulls 9 --seed 0"
    other = study.null_graphs(f"{model}/{checkpoint}", "shuffled-9-0", "structural.comp")
    assert set(other.inputs) == {"graph", "model"}
    assert other.code != making.code


def test_graphs_of_dictionary_features_are_refused() -> None:
    text = ASKED.replace(
        "effective:\n", "dictionaries: {pca: {method: pca}}\neffective:\n  features: {dictionaries: pca}\n"
    )
    text = text.replace("graphs: [effective.heads, structural.comp]", "graphs: [effective.features]")
    with pytest.raises(ConfigError, match=r"statistics.basic.graphs.*effective.features are features of dictionaries"):
        validate(parse(text))
    unknown = ASKED.replace("louvain: {null_model: network", "louvain: {null_model: netwrk")
    with pytest.raises(ConfigError, match="null_model"):
        validate(parse(unknown))
