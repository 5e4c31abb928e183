"""``compgraph structures``: what block models and communities find in graphs whose structure is known."""

from __future__ import annotations

from pathlib import Path

import click

from compgraph.cli.console import Call, output_option, verb


@verb("structures")
@click.option("--nodes", type=click.IntRange(min=8), default=120, show_default=True, help="Nodes of each graph.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the graphs, fits and searches.")
@output_option
def command(call: Call, nodes: int, seed: int, output: Path) -> None:
    """Reads nothing: the graphs are generated. Needs graph-tool."""
    from compgraph.communities.blocks.recovered import find_structures
    from compgraph.store import write_table

    found = find_structures(nodes, seed)
    with call.result(output, "structures", ".tables", inputs={}, parameters={"nodes": nodes, "seed": seed}) as draft:
        draft.path.mkdir()
        for name, table in found.tables().items():
            write_table(table, draft.path / f"{name}.parquet")
        draft.summary["graphs"] = found.graphs[["graph", "n_blocks", "pattern", "n_beyond_chance"]].to_dict("records")
