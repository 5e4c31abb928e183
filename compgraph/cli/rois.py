"""``compgraph rois``: groups of units that respond alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compgraph.cli.console import TO_BE_GIVEN, Call, output_option, verb


@verb("rois", section="rois")
@click.argument("activations", type=TO_BE_GIVEN)
@output_option
def command(call: Call, activations: Path, output: Path, entry: Any) -> None:
    """ACTIVATIONS is the manifest of a buffer."""
    from compgraph import catalogue, store
    from compgraph.cli.saving import method_options
    from compgraph.data.buffers import open_buffer
    from compgraph.rois.find import find_rois

    made = store.open(activations, kind="activations")
    method = catalogue.ROIS[entry.method]
    partition = find_rois(
        open_buffer(activations),
        entry.sites,
        entry.method,
        entry.n_rois,
        entry.seed,
        **method_options(method, entry),
    )
    with call.result(output, "partition", ".partition", inputs={"activations": made}) as draft:
        partition.save(draft.path)
        draft.summary.update(parts={site: partition.n_parts(site) for site in partition.sites})
