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
    from compgraph.communities import find_communities

    opened, made = open_graph(graph)
    method = catalogue.COMMUNITIES[entry.method]
    options = method_options(method, entry)
    found = find_communities(opened, entry.method, entry.seed, n_nulls=entry.n_nulls, **options)
    save_table(call, found.to_table(), output, "communities", {"graph": made}, found.summary(), found.notes)
