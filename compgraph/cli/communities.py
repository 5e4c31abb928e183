"""``compgraph communities``: groups of nodes that are tied together more than chance would have it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compgraph import catalogue
from compgraph.cli.console import TO_BE_GIVEN, Call, output_option, verb


@verb("communities", section="communities")
@click.argument("graph", type=TO_BE_GIVEN)
@output_option
def command(call: Call, graph: Path, output: Path, entry: Any) -> None:
    """GRAPH is the manifest of a graph of any kind."""
    from compgraph.cli.inputs import open_graph
    from compgraph.cli.saving import method_options, save_table

    opened, made = open_graph(graph)
    method = catalogue.COMMUNITIES[entry.method]
    found = catalogue.load(method)(opened, seed=entry.seed, **method_options(method, entry))
    save_table(call, found.to_table(), output, "communities", {"graph": made}, found.summary(), found.notes)
