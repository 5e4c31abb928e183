"""``compgraph tracking``: what changes over the checkpoints of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compgraph.cli.console import Call, output_option, verb


@verb("tracking", section="tracking")
@click.option(
    "--input", "inputs", multiple=True, required=True, metavar="PATH",
    help="Manifest of a result to follow, with {checkpoint} where the checkpoint's name stands; repeatable.",
)  # fmt: skip
@click.option("--at", required=True, metavar="NAMES", help="The checkpoints in order of training: step-0,step-100.")
@output_option
def command(call: Call, inputs: tuple[str, ...], at: str, output: Path, entry: Any) -> None:
    """Reads graphs, evaluations, block models, communities, statistics, regions and tests for separability."""
    from compgraph.cli.following import open_all, save_tables, snapshots
    from compgraph.emergence.tracking import track

    checkpoints = at.split(",")
    opened = open_all(inputs, [{"checkpoint": name} for name in checkpoints])
    found = track(
        snapshots(checkpoints, opened),
        share=entry.share,
        measures=entry.measures,
        skill=entry.skill,
        n_nulls=entry.n_nulls,
        n_surrogates=entry.n_surrogates,
        seed=entry.seed,
    )
    notes = [f"left out: {'; '.join(found.left_out)}"] if found.left_out else []
    save_tables(call, found.tables(), output, "tracking", opened, {"checkpoints": checkpoints}, notes)
