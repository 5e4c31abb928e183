from __future__ import annotations

import re
from pathlib import Path

import pytest

from compgraph.config.config import from_mapping
from compgraph.config.facts import Facts, transformer_sites
from compgraph.config.resources import STAGES, Estimate, estimate, parameters, products, stage_of_rule
from compgraph.config.study import Study
from compgraph.errors import ConfigError

RULES = Path(__file__).parents[2] / "workflow" / "rules"


def study(width: int = 16, **run: object) -> Study:
    net = {"source": "trained", "architecture": "transformer", "tasks": ["induction"], "width": width, "neurons": width}
    values = {
        "models": {"net": net},
        "datasets": {"prompts": {"kind": "task", "task": "induction", "n": 1000}},
        "effective": {"heads": {"partition": "heads"}},
        "run": run,
    }
    return Study(from_mapping(values), Path("study.yaml"))


def test_every_rule_is_of_a_stage() -> None:
    names = {name for path in RULES.glob("*.smk") for name in re.findall(r"^rule (\w+):", path.read_text(), re.M)}
    assert {stage_of_rule(name) for name in names} | {"train"} == set(STAGES)
    assert stage_of_rule("sbm_layers") == "sbm" and stage_of_rule("functional_part") == "functional"
    with pytest.raises(ValueError, match="no stage"):
        stage_of_rule("other")


def test_weights_are_counted_from_sites() -> None:
    gpt2 = Facts("transformer", ("main",), transformer_sites(12, 768, 768, 3072, 50257))
    assert parameters(gpt2) == pytest.approx(124e6 + 50257 * 768 + 28e6, rel=0.01)  # embedding twice, a gated MLP
    assert parameters(Facts("sequential", ("main",), {"input": 64, "linear.0": 10, "logits": 3})) == 670
    assert parameters(Facts("transformer", ("main",))) > 1e8
    assert parameters(Facts("sequential", ("main",))) == 0


def test_larger_models_ask_for_more() -> None:
    small, large = (estimate(study(width), "effective", "net", "prompts") for width in (16, 2048))
    assert large.mem_mb > small.mem_mb >= 1500 and large.minutes > small.minutes >= 10
    assert estimate(study(2048), "train_net").mem_mb > estimate(study(16), "train_net").mem_mb
    assert estimate(study(), "report") == Estimate(1500, 10)


def test_the_config_has_the_last_word_and_changes_no_result() -> None:
    plain = study()
    said = study(resources={"effective": {"mem_mb": 9000, "cpus": 2}}, slurm={"account": "lab"})
    assert estimate(said, "effective", "net", "prompts") == Estimate(
        9000, estimate(plain, "effective", "net", "prompts").minutes, 2
    )
    assert said.flags("effective", "heads") == plain.flags("effective", "heads")
    assert said.code("effective", "heads") == plain.code("effective", "heads")


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        ({"slurm": {"acount": "lab"}}, "run.slurm.acount.*did you mean 'account'"),
        ({"slurm": {"account": "lab; rm"}}, "run.slurm.account"),
        ({"slurm": {"options": ["--mem=3"]}}, "--mem is set by the workflow"),
        ({"slurm": {"options": ["--reservation=$(date)"]}}, "is no option of sbatch"),
        ({"resources": {"efective": {"cpus": 2}}}, "did you mean 'effective'"),
        ({"resources": {"effective": {"cpu": 2}}}, "did you mean 'cpus'"),
    ],
)
def test_what_is_wrong_is_named(run: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        from_mapping({"run": run}, check=False)


def test_products_of_a_pass() -> None:
    shape = (1, 28, 28)
    sites = {"input": 784, "conv.0": 16 * 14 * 14, "conv.1": 32 * 7 * 7, "linear.0": 64, "logits": 10}
    expected = 28 * 28 * 16 * 9 + 14 * 14 * 32 * 9 * 16 + 32 * 7 * 7 * 64 + 640
    assert products(Facts("sequential", ("main",), sites, image_shape=shape)) == expected
    dense = Facts("sequential", ("main",), {"input": 64, "linear.0": 10, "logits": 3}, image_shape=(1, 8, 8))
    assert products(dense) == parameters(dense) == 670
    gpt2 = Facts("transformer", ("main",), transformer_sites(12, 768, 768, 3072, 50257))
    assert products(gpt2) == 32 * parameters(gpt2)
