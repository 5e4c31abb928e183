"""``compgraph init``: a commented config to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compgraph.cli.console import TO_BE_GIVEN, Call, verb


@verb("init")
@click.option("--model", "-m", help="A local Hugging Face folder, or the name of a model on the hub.")
@click.option("--task", "-t", "tasks", multiple=True, help="A task; several make a mixture.")
@click.option("--n", type=click.IntRange(1), default=128, help="Prompts.")
@click.option("--output", "-o", type=TO_BE_GIVEN, help="File to write: study.yaml, or config.yaml without a model.")
@click.option("--force", is_flag=True, help="Overwrite the file if it exists.")
def command(call: Call, model: str | None, tasks: tuple[str, ...], n: int, output: Path | None, force: bool) -> None:
    """Write a commented config: one entry of every stage for a pretrained model and a task. Without a model, the
    embedded study, which trains its networks itself."""
    from compgraph.errors import ConfigError

    if bool(model) != bool(tasks):
        raise click.UsageError("--model and --task go together; without both, the embedded study is written")
    output = output or Path("study.yaml" if model else "config.yaml")
    if output.exists() and not force:
        raise ConfigError(f"{output} exists; use --force to overwrite it, or --output for another name")
    text = study_of(model, list(tasks), n, output) if model else embedded_study()
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text, encoding="utf-8")
    call.say(f"{output}: edit it, then compgraph run --config {output}")


def study_of(model: str, tasks: list[str], n: int, output: Path) -> str:
    """The validated config of a pretrained model and some tasks, as the text of `output`."""
    from compgraph.config.config import validate
    from compgraph.config.reading import parse
    from compgraph.config.render import render

    heading = f"A study of {model} on {', '.join(tasks)}.\nRun it with: compgraph run --config {output}"
    text = render(starting_point(model, tasks, n), heading)
    validate(parse(text, str(output)))
    return text


def embedded_study() -> str:
    """The config that comes with the workflow."""
    from compgraph.cli.workflow import workflow_root

    return (workflow_root() / "config.yaml").read_text(encoding="utf-8")


def starting_point(model: str, tasks: list[str], n: int) -> dict[str, Any]:
    """The values of a config that takes one model and some tasks through every stage."""
    name = model_name(model)
    data: dict[str, Any] = {"kind": "task", "task": tasks[0], "n": n}
    if len(tasks) > 1:
        data = {"kind": "mixture", "tasks": tasks, "n": n}
    return {
        "models": {name: {"source": "pretrained", "path": model}},
        "datasets": {"prompts": data},
        "activations": {"sites": ["attn.*", "mlp.*"], "positions": "scored"},
        "structural": {"heads": {"method": "composition", "partition": "heads"}},
        "functional": {"heads": {"method": "pearson", "partition": "heads"}},
        "effective": {
            "modules": {"method": "eap", "partition": "modules"},
            "heads": {"method": "eap", "partition": "heads"},
        },
        "ablation": {
            "edges": {"ablation": "edge", "graphs": ["effective.heads"]},
            "nodes": {"ablation": "node", "graphs": ["effective.heads"]},
        },
        "evaluation": {"curves": {"metrics": ["logit_difference", "kl"]}},
        "communities": {"louvain": {"method": "louvain", "graphs": ["effective.heads"]}},
        "sbm": {"nested": {"graphs": ["effective.heads"]}},
        "statistics": {"basic": {"graphs": ["structural.heads", "effective.heads"]}},
    }


def model_name(model: str) -> str:
    """A name for a model entry, made from its path or hub name."""
    from compgraph.config.models import revision_name

    return revision_name(Path(model).name or "model")
