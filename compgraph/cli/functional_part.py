"""``compgraph functional-part``: what one pass over a part of the data keeps, to be merged by ``functional``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compgraph.cli.console import TO_BE_GIVEN, Call, output_option, pool_option, rois_option, verb


@verb("functional-part", section="functional", device=True)
@click.argument("buffer", type=TO_BE_GIVEN)
@pool_option
@click.option("--number", type=click.IntRange(0), required=True, help="Which part, from 0.")
@click.option("--of", type=click.IntRange(1), required=True, help="How many parts there are.")
@rois_option
@output_option
def command(
    call: Call,
    buffer: Path,
    pool: tuple[Path, ...],
    number: int,
    of: int,
    rois: Path | None,
    output: Path,
    entry: Any,
) -> None:
    """BUFFER is the manifest of recorded activations or attributions."""
    from compgraph.cli.inputs import PART, build_partition, open_recordings
    from compgraph.config.functional import PART_FIELDS
    from compgraph.connectivity.functional import divided, gather_part, unit_scale

    buffers, opened = open_recordings([buffer, *pool], None, None, call.device)
    partition, inputs = build_partition(buffers[0], entry.partition, rois)
    some = divided(buffers, number, of)
    standardise = entry.method != "covariance"
    part = gather_part(some, partition, unit_scale(buffers), sites=entry.sites, standardise=standardise)
    dumped = entry.model_dump(mode="json")
    parameters = {name: dumped[name] for name in PART_FIELDS} | {"number": number, "of": of}
    with call.result(output, PART, ".part", inputs={**opened, **inputs}, parameters=parameters) as draft:
        part.save(draft.path)
        draft.summary.update(n_rows=part.n_rows, n_signals=len(part.sums.joint.mean), number=number, of=of)
