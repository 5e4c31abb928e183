"""``compgraph train``: train a model from its recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compgraph.cli.console import TO_BE_GIVEN, Call, verb


@verb("train", section="models", only=("transformer", "cnn", "mlp", "layers"))
@click.option("--output", "-o", type=TO_BE_GIVEN, required=True, help="Folder: CHECKPOINT/model.json is written in it.")
def command(call: Call, output: Path, entry: Any) -> None:
    """All checkpoints are made by one call: each as OUTPUT/step-000000/model.json with the model beside it."""
    from compgraph.cli.saving import model_summary
    from compgraph.config.models import step_name
    from compgraph.data.training_data import training_data
    from compgraph.models.loading import load_network
    from compgraph.models.recipes import recipe_from
    from compgraph.models.training import train

    parameters = entry.model_dump(mode="json", exclude={"variants", "seeds"})
    recipe = recipe_from({**recipe_fields(entry), "threads": call.threads})
    for checkpoint in train(recipe, training_data(recipe)):
        manifest = output / step_name(checkpoint.step) / "model.json"
        with call.result(manifest, "model", "", inputs={}, parameters=parameters) as draft:
            checkpoint.save(draft.path)
            draft.summary.update(model_summary(load_network(draft.path, device="cpu")))
            draft.summary.update(step=checkpoint.step, accuracy=checkpoint.accuracy)
            for warning in checkpoint.warnings:
                draft.warn(warning)


def recipe_fields(entry: Any) -> dict[str, Any]:
    """A config entry as the fields of a recipe: checkpoints as steps, options of tasks beside their names."""
    from compgraph.config.datasets import options_by_task

    fields: dict[str, Any] = entry.model_dump(mode="python", exclude={"options", "variants", "seeds"})
    fields["checkpoints"] = entry.checkpoint_steps()
    if entry.architecture == "transformer":
        fields["tasks"] = options_by_task(entry.tasks, entry.options)
    return fields
