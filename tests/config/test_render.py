from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from compgraph.config.config import ENTRY_MODELS, SECTIONS, SINGLE_MODELS, load
from compgraph.config.reading import read
from compgraph.config.render import UNSAID, heading_of, render, scalar, schema_text

ROOT = Path(__file__).parents[2]
CONFIGS = [ROOT / "config.yaml", *sorted((ROOT / "configs").glob("*.yaml"))]


def test_the_schema_on_disk_is_that_of_the_models() -> None:
    kept = (ROOT / "workflow/schemas/config.schema.json").read_text(encoding="utf-8")
    assert kept == schema_text(), "write it anew: compgraph config schema > workflow/schemas/config.schema.json"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_the_comments_of_config_files_are_those_of_the_models(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    again = f"write it anew: compgraph config render {path.name}"
    assert text == render(read(path).values, heading_of(text)), again


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_config_files_fit_the_schema(path: Path) -> None:
    import json

    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(read(path).values, json.loads(schema_text()))


def test_every_section_is_explained_and_every_key_listed() -> None:
    text = render({})
    for section in SECTIONS:
        assert f"# {section}: " in text
        models = [SINGLE_MODELS[section]] if section in SINGLE_MODELS else ENTRY_MODELS[section].values()
        part = text[text.index(f"# {section}: ") :].split("\n\n")[0]
        for model in models:
            assert not [key for key in model.model_fields if key not in part and key not in UNSAID]
    assert text.count("did you") == 0
    assert yaml.safe_load(text)["models"] == {}


def test_a_rendered_file_reads_back(tmp_path: Path) -> None:
    values = {
        "models": {"m": {"source": "trained", "architecture": "mlp", "hidden": [3, 4], "learning_rate": 1e-05}},
        "datasets": {"d": {"kind": "images"}},
        "effective": {"a": {"partition": {"linear.*": "units", "input": "modules"}}, "b": {}},
        "run": {"open": False, "cores": 2},
    }
    file = tmp_path / "c.yaml"
    file.write_text(render(values, "A title\n\nand more"), encoding="utf-8")
    assert read(file).values | {"activations": None, "figures": None, "report": None} == values | {
        section: read(file).values[section] for section in SECTIONS if section not in values
    } | {"activations": None, "figures": None, "report": None}
    assert load(file).effective["a"].partition == {"linear.*": "units", "input": "modules"}  # type: ignore[union-attr]


def test_keys_are_explained_once_and_short_entries_take_a_line() -> None:
    heads = {"method": "eap", "partition": "heads"}
    text = render({"effective": {"a": heads, "b": heads, "c": heads | {"steps": 3, "method": "eap-ig-inputs"}}})
    assert "    partition: heads  # Nodes: " in text
    assert text.count("# Nodes: ") == 1
    assert "  b: {method: eap, partition: heads}\n" in text
    assert "    steps: 3  # Points on the path." in text


def test_options_of_the_methods_in_use_are_listed_and_the_names_of_the_rest() -> None:
    part = render({"effective": {"a": {"method": "acdc"}}}).split("# effective: ")[1].split("\n\n")[0]
    assert "method: acdc - metric: kl, tau: 0.01" in part
    assert "qk_fix" not in part
    assert "16 others: docs/configuration.md" in part
    few = render({"structural": {"a": {"method": "composition"}}}).split("# structural: ")[1].split("\n\n")[0]
    assert "others (docs/configuration.md): weight-norm, " in few


def test_the_default_study_is_a_page() -> None:
    assert len((ROOT / "config.yaml").read_text(encoding="utf-8").splitlines()) <= 280


@pytest.mark.parametrize(
    "value", ["plain", "attn.*", "yes", "1e-3", "12", "", "a: b", "../x", "~/y", "é", "#", True, None, 1e-5, [1, "*"]]
)
def test_scalars_read_back(value: object) -> None:
    from compgraph.config.reading import parse

    assert parse(f"x: {scalar(value)}").values == {"x": value}


def test_heading_of() -> None:
    assert heading_of("# a\n#\n# b\n\n# models: …\n") == "a\n\nb"
