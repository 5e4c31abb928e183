"""``compgraph functional``: a graph of what varies together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compgraph import catalogue
from compgraph.cli.console import TO_BE_GIVEN, Call, dictionaries_option, model_option, output_option, rois_option, verb


@verb("functional", section="functional", device=True)
@click.argument("buffer", type=TO_BE_GIVEN)
@rois_option
@dictionaries_option
@model_option
@output_option
def command(
    call: Call,
    buffer: Path,
    rois: Path | None,
    dictionaries: Path | None,
    model: Path | None,
    output: Path,
    entry: Any,
) -> None:
    """BUFFER is the manifest of recorded activations or attributions."""
    from compgraph.cli.inputs import build_partition, open_features
    from compgraph.cli.saving import method_options, save_graph
    from compgraph.data.buffers import open_buffer

    opened = open_buffer(buffer)
    recorded, features = open_features(opened, dictionaries, model, call.device)
    partition, inputs = build_partition(recorded, entry.partition, rois)
    method = catalogue.FUNCTIONAL[entry.method]
    graph = catalogue.load(method)(recorded, partition, **method_options(method, entry))
    save_graph(call, graph, output, {opened.result.kind: opened.result, **features, **inputs})
