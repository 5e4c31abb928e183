from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path

import pytest
from click.testing import CliRunner

from compgraph import store
from compgraph.cli.main import main
from compgraph.cli.train import recipe_fields
from compgraph.config.flags import parse
from compgraph.config.models import MODEL_KINDS, TRAINABLE
from compgraph.models.recipes import FAMILIES, ImageRecipe, TransformerRecipe, recipe_from

RECIPES = {"transformer": TransformerRecipe, "cnn": ImageRecipe, "mlp": ImageRecipe, "layers": ImageRecipe}
OURS = {"variants", "seeds", "source", "architecture", "options", "checkpoints", "steps"}
SHAPES = {"channels", "hidden", "layers"}


@pytest.mark.parametrize("architecture", RECIPES)
def test_config_and_recipe_have_the_same_fields_and_defaults(architecture: str) -> None:
    config, recipe = MODEL_KINDS[architecture].model_fields, {f.name: f for f in fields(RECIPES[architecture])}
    assert set(config) - OURS <= set(recipe)
    optional = SHAPES if architecture != "transformer" else set()
    assert set(recipe) - set(config) - optional == {"threads"}
    for name in set(config) & set(recipe) - OURS - optional:
        if not config[name].is_required():
            assert config[name].default == recipe[name].default
        else:
            assert recipe[name].default is MISSING


def test_families() -> None:
    assert set(TRAINABLE) == set(FAMILIES)


@pytest.mark.parametrize(
    "values",
    [
        {"architecture": "transformer", "tasks": "induction,ioi", "options": "induction.length=6"},
        {"architecture": "cnn", "channels": "4", "hidden": "8,8"},
        {"architecture": "mlp"},
        {"architecture": "layers", "layers": '[{"type": "flatten"}, {"type": "linear", "features": 10}]'},
    ],
)
def test_options_become_a_recipe(values: dict[str, str]) -> None:
    entry, problems = parse("models", {"source": "trained", "steps": "20", "checkpoints": "3", **values})
    assert problems == []
    recipe = recipe_from(recipe_fields(entry))
    assert recipe.checkpoints == (0, 4, 20)
    if isinstance(recipe, TransformerRecipe):
        assert recipe.tasks == {"induction": {"length": 6}, "ioi": {}}


def test_every_checkpoint_is_a_result(tmp_path: Path) -> None:
    arguments = ["train", "-o", str(tmp_path / "net"), "--architecture", "mlp", "--hidden", "8", "--steps", "6"]
    done = CliRunner().invoke(main, [*arguments, "--checkpoints", "0,2,6", "--quiet"])
    assert done.exit_code == 0, done.output
    found = [store.verify(tmp_path / "net" / f"step-{step:06d}" / "model.json") for step in (0, 2, 6)]
    assert [made.summary["step"] for made in found] == [0, 2, 6]
    assert found[0].summary["kind"] == "sequential"
    assert found[0].summary["input_shape"] == [1, 8, 8]
    assert len({made.summary["digest"] for made in found}) == 3
    assert set(found[2].summary["accuracy"]) >= {"all"} or found[2].summary["accuracy"]
