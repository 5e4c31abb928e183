"""``compgraph evaluation``: how faithful the runs of a graph are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compgraph.cli.console import TO_BE_GIVEN, Call, output_option, verb


@verb("evaluation", section="evaluation")
@click.argument("data", type=TO_BE_GIVEN)
@click.argument("runs", type=TO_BE_GIVEN)
@output_option
def command(call: Call, data: Path, runs: Path, output: Path, entry: Any) -> None:
    """DATA is the manifest of a dataset, RUNS that of outputs which `compgraph ablation` kept. No network is run."""
    import numpy as np

    from compgraph.cli.inputs import open_pairs
    from compgraph.cli.saving import save_table
    from compgraph.evaluation.curve import curve_of
    from compgraph.evaluation.outputs import open_outputs

    pairs, pairs_made = open_pairs(data)
    kept = open_outputs(runs)
    pairs = kept.examples_of(pairs)
    values = kept.values(pairs, entry.metrics)
    task = np.asarray(pairs.task)
    settings = {"by_task": entry.by_task, "n_bootstrap": entry.n_bootstrap, "seed": entry.seed}
    curve = curve_of(kept.circuits, values, entry.metrics, task, kept.about, **settings)
    areas = {metric: {"cpr": curve.cpr(metric), "cmd": curve.cmd(metric)} for metric in entry.metrics}
    inputs = {"data": pairs_made, "runs": kept.result}
    notes = sorted({note for note in curve.table["note"] if note})
    save_table(call, curve.table, output, "faithfulness", inputs, {**curve.attributes, "areas": areas}, notes)
