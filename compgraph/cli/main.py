"""``compgraph``: the verbs, in the order of the pipeline. A verb's module is imported when it is called."""

from __future__ import annotations

import importlib

import click
from click.shell_completion import CompletionItem

from compgraph import catalogue

START = {
    "init": ("compgraph.cli.init", "Write a commented config: for a model and a task, or the embedded study."),
    "plan": ("compgraph.cli.plan", "Say in plain words what a run would do, and why."),
    "run": ("compgraph.cli.run", "Run a study: make whatever is missing or out of date."),
}
END = {
    "show": ("compgraph.cli.show", "Show a result: what it is, how it was made, whether it is whole."),
    "verify": ("compgraph.cli.verify", "Check a results folder: every byte, and what was made from what."),
    "costs": ("compgraph.cli.costs", "Sum what a study's results took, and predict what a run would take."),
    "clean": ("compgraph.cli.clean", "Remove what no study asks for and what interrupted calls left."),
    "doctor": ("compgraph.cli.doctor", "Show versions, optional libraries, threads, disk and accelerator."),
    "convert-dictionary": ("compgraph.cli.convert_dictionary", "Turn published weights (.pt, .npz) into safetensors."),
    "config": ("compgraph.cli.config", "Validate a config, or write the schema or the commented file."),
}
STAGES = {name: (entry.module, entry.summary) for name, entry in catalogue.STAGES.items()}
VERBS = START | STAGES | END


class Verbs(click.Group):
    """A group that knows its commands' names and summaries without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the verbs, in the order of the pipeline."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The verb of a name, imported now."""
        if name not in VERBS:
            return None
        command = importlib.import_module(VERBS[name][0]).command
        assert isinstance(command, click.Command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Verbs that begin like this, or options: click would import every verb to ask for its summary."""
        verbs = [CompletionItem(name, help=told) for name, (_, told) in VERBS.items() if name.startswith(incomplete)]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest name in the error."""
        from compgraph.config.base import did_you_mean

        if args and args[0] not in VERBS and not args[0].startswith("-"):
            ctx.fail(f"there is no verb '{args[0]}'{did_you_mean(args[0], list(VERBS))}; see compgraph --help")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs in three groups."""
        for heading, verbs in (("Study", START), ("Stages, in pipeline order", STAGES), ("Looking", END)):
            with formatter.section(heading):
                formatter.write_dl([(name, summary) for name, (_, summary) in verbs.items()])


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="compgraph", message="%(package)s %(version)s")
def main() -> None:
    """Trained networks as graphs: structural, functional and effective connectivity, and what follows from them.

    A study is a config file; `compgraph run` makes all of it. Each stage is also a verb that works on files by
    itself.
    """


if __name__ == "__main__":
    main()
