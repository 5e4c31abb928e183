"""``compgraph functional``: a graph of what varies together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compgraph import catalogue
from compgraph.cli.console import TO_BE_GIVEN, Call, dictionaries_option, model_option, output_option, rois_option, verb

if TYPE_CHECKING:
    from compgraph.graph import ComputationalGraph
    from compgraph.partition import Partition


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
    from compgraph.cli.saving import save_graph
    from compgraph.data.buffers import open_buffer

    opened = open_buffer(buffer)
    recorded, features = open_features(opened, dictionaries, model, call.device)
    partition, inputs = build_partition(recorded, entry.partition, rois)
    graph = graph_of(recorded, entry, partition)
    save_graph(call, graph, output, {opened.result.kind: opened.result, **features, **inputs})


def graph_of(recorded: Any, entry: Any, partition: Partition) -> ComputationalGraph:
    """The graph of an entry, for a buffer: of the checkpoint, or of a network with random weights."""
    from compgraph.circuits import sparsify
    from compgraph.cli.saving import method_options
    from compgraph.config.functional import SHARED
    from compgraph.connectivity.functional import functional_connectivity

    options = method_options(catalogue.FUNCTIONAL[entry.method], entry)
    options |= {name: getattr(entry, name) for name in SHARED}
    graph = functional_connectivity(recorded, partition, entry.method, **options)
    return graph if entry.sparsify is None else sparsify(graph, entry.sparsify, **entry.sparsify_options)
