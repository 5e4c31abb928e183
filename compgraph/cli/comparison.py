"""``compgraph comparison``: every two of some graphs, edge by edge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compgraph.cli.console import TO_BE_GIVEN, Call, output_option, verb


@verb("comparison", section="comparison")
@click.argument("graphs", type=TO_BE_GIVEN, nargs=-1, required=True)
@output_option
def command(call: Call, graphs: tuple[Path, ...], output: Path, entry: Any) -> None:
    """GRAPHS are the manifests of at least two graphs of one network over the same nodes."""
    from compgraph.cli.inputs import graph_name, open_graph
    from compgraph.cli.saving import save_table
    from compgraph.statistics.compare import compare_all

    opened = {graph_name(path): open_graph(path) for path in graphs}
    options = {"weights": entry.weights, "top": entry.top, "n_nulls": entry.n_nulls, "seed": entry.seed}
    table = compare_all({name: graph for name, (graph, _) in opened.items()}, **options)
    inputs = {name: made for name, (_, made) in opened.items()}
    save_table(call, table, output, "comparison", inputs, {"graphs": list(opened)})
