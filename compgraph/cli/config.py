"""``compgraph config``: validate a config file, write the schema or the commented file."""

from __future__ import annotations

from pathlib import Path

import click

from compgraph.cli.console import TO_BE_GIVEN, Call, errors_in_one_sentence


@click.group("config")
def command() -> None:
    """Validate a config, or write the schema or the commented file."""


@command.command("validate")
@click.argument("file", type=TO_BE_GIVEN, default=Path("config.yaml"))
def validate(file: Path) -> None:
    """Check FILE (config.yaml if not given) and say how many results it asks for."""
    from compgraph.cli.run import load_study

    with errors_in_one_sentence(Call("config validate")):
        study = load_study(file)
        click.echo(f"{file}: valid; {len(study.config.models)} models, {len(study.results())} results")


@command.command("schema")
def schema() -> None:
    """Write the JSON schema of config files, for editors."""
    from compgraph.config.render import schema_text

    click.echo(schema_text(), nl=False)


@command.command("render")
@click.argument("file", type=TO_BE_GIVEN, default=Path("config.yaml"))
def render(file: Path) -> None:
    """Write FILE anew with every key's default and meaning as comments; its first comment stays."""
    from compgraph.config.reading import read
    from compgraph.config.render import heading_of
    from compgraph.config.render import render as rendered

    with errors_in_one_sentence(Call("config render")):
        values = read(file).values
        click.echo(rendered(values, heading_of(file.read_text(encoding="utf-8"))), nl=False)
