from __future__ import annotations

import subprocess
import sys

import pytest

from compgraph.config.config import SECTIONS, Config, from_mapping, validate
from compgraph.config.reading import parse
from compgraph.errors import ConfigError
from tests.config.studies import SMALL, small


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        validate(parse(text, "f"))
    head, *lines = str(caught.value).splitlines()
    assert head == f"f: {len(lines)} error" + "s" * (len(lines) > 1)
    return [line.strip() for line in lines]


def test_sections_are_in_pipeline_order() -> None:
    data = "models datasets activations attributions dictionaries structural functional effective rois"
    graphs = "ablation evaluation communities sbm tests statistics comparison tracking scale ground_truth"
    assert (*data.split(), *graphs.split(), "figures", "report", "run") == SECTIONS


def test_a_valid_study() -> None:
    config = small()
    assert config.effective["heads"].method == "eap"  # type: ignore[union-attr]
    assert config.models["tf"].checkpoint_steps() == [0, 10, 100]  # type: ignore[union-attr]


def test_an_empty_section_is_as_one_left_out() -> None:
    assert validate(parse(SMALL + "\nreport:\n")).report == Config().report


def test_every_error_at_once_each_with_its_path() -> None:
    found = problems(
        """\
models:
  net: {source: trained, architecture: cnn, stepz: 3}
  Bad Name: {source: pretrained, path: gpt2}
  other: {source: traned}
datasets:
  d: {kind: imagez}
efective: {}
effective:
  a: {metric: logit_diff, partition: headz, checkpoints: lst, split_qkv: 3}
  b: {method: ep}
run: {device: gpu, cores: 0}
"""
    )
    paths = [line.split(" ")[0] for line in found]
    assert set(paths) == {
        "models.net.stepz",
        "models.Bad",
        "models.other.source",
        "datasets.d.kind",
        "efective",
        "effective.a.metric",
        "effective.a.partition",
        "effective.a.checkpoints",
        "effective.a.split_qkv",
        "effective.b.method",
        "run.device",
        "run.cores",
    }
    text = "\n".join(found)
    for nearest in ("steps", "trained", "images", "effective", "logit_difference", "heads", "last", "eap"):
        assert f"did you mean '{nearest}'" in text
    assert "models.net.stepz (line 2)" in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("models: {m: {source: pretrained}}", "models.m.path (line 1): this key is missing"),
        ("models: {m: {path: x}}", "models.m.source (line 1): this key is missing"),
        ("models: 3", "models (line 1): it should be a mapping of keys; it is 3"),
        ("models: {m: 3}", "models.m (line 1): it should be a mapping of keys; it is 3"),
        ("models: {logs: {source: pretrained, path: gpt2}}", "'logs' has a meaning of its own"),
        ("models: {m: {source: trained, architecture: mlp, steps: many}}", "models.m.steps (line 1): it should be"),
        ("models: {m: {source: trained, architecture: mlp, steps: 10, checkpoints: [0, 20]}}", "rising steps"),
        ("models: {m: {source: trained, architecture: mlp, steps: 3, checkpoints: 9}}", "must not be more than"),
        (
            "models: {m: {source: trained, architecture: transformer, tasks: [ioi, ioi]}}",
            "models.m.tasks (line 1): 'ioi' is listed twice",
        ),
        (
            "models: {m: {source: trained, architecture: transformer, tasks: [ioi], width: 30}}",
            "width (30) must be an even multiple of heads (4)",
        ),
        ("ablation: {a: {sizes: [0.1, 2]}}", "ablation.a.sizes[1] (line 1): it should be less than or equal to 1"),
        ("communities: {a: {resolution: -1}}", "communities.a.resolution (line 1): it should be greater than"),
    ],
)
def test_one_error(text: str, said: str) -> None:
    assert any(said in line for line in problems(text))


def test_from_a_mapping() -> None:
    assert from_mapping({"run": {"cores": 2}}, check=False).run.cores == 2


def test_importing_the_config_imports_no_library_that_computes() -> None:
    code = (
        "import sys, compgraph.config.study, compgraph.config.render;"
        "heavy = {'torch', 'transformers', 'numpy', 'pandas', 'matplotlib', 'zarr', 'pyarrow', 'graph_tool'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_key_can_be_written_without_quotes() -> None:
    """`null`, `on` or `1` as a key would be read as something else than text."""
    from compgraph.config.config import ENTRY_MODELS, SINGLE_MODELS
    from compgraph.config.render import scalar

    models = [*SINGLE_MODELS.values(), *(model for branches in ENTRY_MODELS.values() for model in branches.values())]
    keys = {key for model in models for key in model.model_fields}
    assert keys and [key for key in keys if scalar(key) != key] == []
