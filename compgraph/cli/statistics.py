"""``compgraph statistics``: numbers that describe a graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compgraph.cli.console import TO_BE_GIVEN, Call, output_option, verb


@verb("statistics", section="statistics")
@click.argument("graph", type=TO_BE_GIVEN)
@output_option
def command(call: Call, graph: Path, output: Path, entry: Any) -> None:
    """GRAPH is the manifest of a graph of any kind."""
    from compgraph.cli.inputs import open_graph
    from compgraph.cli.saving import save_table
    from compgraph.statistics.testing import network_statistics

    opened, made = open_graph(graph)
    table = network_statistics(opened, entry.names, entry.null_model, entry.n_nulls, entry.seed, call.threads)
    save_table(call, table, output, "statistics", {"graph": made})
