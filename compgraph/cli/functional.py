"""``compgraph functional``: a graph of what varies together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compgraph import catalogue
from compgraph.cli.console import TO_BE_GIVEN, Call, output_option, rois_option, verb


@verb("functional", section="functional")
@click.argument("activations", type=TO_BE_GIVEN)
@rois_option
@output_option
def command(call: Call, activations: Path, rois: Path | None, output: Path, entry: Any) -> None:
    """ACTIVATIONS is the manifest of a buffer."""
    from compgraph import store
    from compgraph.cli.inputs import build_partition
    from compgraph.cli.saving import method_options, save_graph
    from compgraph.data.buffers import open_buffer

    made = store.open(activations, kind="activations")
    buffer = open_buffer(activations)
    partition, inputs = build_partition(buffer, entry.partition, rois)
    method = catalogue.FUNCTIONAL[entry.method]
    graph = catalogue.load(method)(buffer, partition, **method_options(method, entry))
    save_graph(call, graph, output, {"activations": made, **inputs})
