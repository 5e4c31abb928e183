"""``compgraph wiring``: the networks that node and edge ablation really run."""

from __future__ import annotations

from pathlib import Path

import click

from compgraph.cli.console import Call, output_option, verb


@verb("wiring")
@click.option("--edges", type=click.IntRange(min=1), default=32, show_default=True, help="Edges before pruning.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the perceptron and its data.")
@output_option
def command(call: Call, edges: int, seed: int, output: Path) -> None:
    """Reads nothing: a small perceptron is trained here."""
    from compgraph.evaluation.wiring import find_wiring
    from compgraph.store import write_table

    found = find_wiring(edges, seed)
    with call.result(output, "wiring", ".tables", inputs={}, parameters={"edges": edges, "seed": seed}) as draft:
        draft.path.mkdir()
        write_table(found.edges, draft.path / "edges.parquet")
        write_table(found.networks, draft.path / "networks.parquet")
        draft.summary["networks"] = found.networks.to_dict("records")
