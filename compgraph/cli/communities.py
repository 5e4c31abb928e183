"""``compgraph communities``: groups of nodes that are tied together more than chance would have it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compgraph import catalogue
from compgraph.cli.console import TO_BE_GIVEN, Call, null_graphs_option, output_option, verb


@verb("communities", section="communities")
@click.argument("graph", type=TO_BE_GIVEN)
@null_graphs_option
@output_option
def command(call: Call, graph: Path, null_graphs: Path | None, output: Path, entry: Any) -> None:
    """GRAPH is the manifest of a graph of any kind."""
    from compgraph.cli.inputs import open_graph, open_null_graphs
    from compgraph.cli.saving import method_options, save_table
    from compgraph.communities import find_communities

    opened, made = open_graph(graph)
    nulls, nulls_made = open_null_graphs(null_graphs)
    method = catalogue.COMMUNITIES[entry.method]
    options = method_options(method, entry)
    null = None if entry.null_model == "auto" else entry.null_model
    found = find_communities(
        opened,
        entry.method,
        entry.seed,
        n_nulls=entry.n_nulls,
        null=null,
        null_graphs=nulls,
        workers=call.threads,
        **options,
    )
    save_table(
        call, found.to_table(), output, "communities", {"graph": made, **nulls_made}, found.summary(), found.notes
    )
