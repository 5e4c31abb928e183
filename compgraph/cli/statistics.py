"""``compgraph statistics``: numbers that describe a graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compgraph.cli.console import TO_BE_GIVEN, Call, null_graphs_option, output_option, verb


@verb("statistics", section="statistics")
@click.argument("graph", type=TO_BE_GIVEN)
@null_graphs_option
@output_option
def command(call: Call, graph: Path, null_graphs: Path | None, output: Path, entry: Any) -> None:
    """GRAPH is the manifest of a graph of any kind."""
    from compgraph.cli.inputs import open_graph, open_null_graphs
    from compgraph.cli.saving import save_table
    from compgraph.statistics.testing import network_statistics

    opened, made = open_graph(graph)
    nulls, nulls_made = open_null_graphs(null_graphs)
    table = network_statistics(
        opened, entry.names, entry.null_model, entry.n_nulls, entry.seed, call.threads, null_graphs=nulls
    )
    save_table(call, table, output, "statistics", {"graph": made, **nulls_made})
