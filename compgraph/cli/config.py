"""``compgraph config``: validate a config file, write the schema or the commented file."""

from __future__ import annotations

import json
from pathlib import Path

import click

from compgraph.cli.console import TO_BE_GIVEN, Call, errors_in_one_sentence


@click.group("config")
def command() -> None:
    """Validate a config, or write the schema or the commented file."""


@command.command("validate")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, also of a file that is not valid.")
@click.argument("file", type=TO_BE_GIVEN, default=Path("config.yaml"))
def validate(file: Path, as_json: bool) -> None:
    """Check FILE (config.yaml if not given) and say how many results it asks for. Exit code 1 if it is not valid."""
    from compgraph.cli.run import load_study
    from compgraph.errors import ConfigError

    with errors_in_one_sentence(Call("config validate")):
        try:
            study = load_study(file)
        except ConfigError as error:
            if not as_json:
                raise
            click.echo(json.dumps({"config": str(file), "valid": False, "error": str(error)}))
            raise SystemExit(1) from None
        models, results = len(study.config.models), len(study.results())
        if as_json:
            click.echo(json.dumps({"config": str(file), "valid": True, "models": models, "results": results}))
        else:
            click.echo(f"{file}: valid; {models} models, {results} results")


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
