"""``compgraph evaluation``: how faithful the runs of a graph are."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compgraph.cli.console import TO_BE_GIVEN, Call, output_option, verb

if TYPE_CHECKING:
    import pandas as pd


@verb("evaluation", section="evaluation")
@click.argument("data", type=TO_BE_GIVEN)
@click.argument("runs", type=TO_BE_GIVEN)
@output_option
def command(call: Call, data: Path, runs: Path, output: Path, entry: Any) -> None:
    """DATA is the manifest of a dataset, RUNS that of outputs which `compgraph ablation` kept. No network is run."""
    import numpy as np
    import pandas as pd

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
    table = pd.concat([curve.table, kept.confusion(pairs)], ignore_index=True) if entry.confusion else curve.table
    inputs = {"data": pairs_made, "runs": kept.result}
    notes = sorted({note for note in curve.table["note"] if note})
    save_table(call, table, output, "faithfulness", inputs, {**curve.attributes, **_areas(curve.areas)}, notes)


def _areas(areas: pd.DataFrame) -> dict[str, Any]:
    """The areas of all tasks together, by metric, and of each task where there are rows of tasks."""
    found: dict[str, dict[str, dict[str, float | None]]] = {}
    for row in areas.itertuples(index=False):
        numbers = {str(row.area): row.value, f"{row.area}_low": row.low, f"{row.area}_high": row.high}
        known = {name: float(value) if math.isfinite(value) else None for name, value in numbers.items()}
        found.setdefault(str(row.task), {}).setdefault(str(row.metric), {}).update(known)
    whole = {"areas": found.pop("all")}
    return whole | ({"areas_by_task": found} if found else {})
