"""``compgraph functional``: a graph of what varies together."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compgraph import catalogue
from compgraph.cli.console import (
    TO_BE_GIVEN,
    Call,
    dictionaries_option,
    model_option,
    output_option,
    pool_option,
    rois_option,
    verb,
)

if TYPE_CHECKING:
    from compgraph.graph import ComputationalGraph
    from compgraph.partition import Partition


@verb("functional", section="functional", device=True)
@click.argument("buffer", type=TO_BE_GIVEN)
@pool_option
@click.option("--against", type=TO_BE_GIVEN, multiple=True, help="Manifest of a buffer that a contrast compares with.")
@click.option("--part-file", type=TO_BE_GIVEN, multiple=True, help="Manifest of a part: sums instead of a pass.")
@rois_option
@dictionaries_option
@model_option
@output_option
def command(
    call: Call,
    buffer: Path,
    pool: tuple[Path, ...],
    against: tuple[Path, ...],
    part_file: tuple[Path, ...],
    rois: Path | None,
    dictionaries: Path | None,
    model: Path | None,
    output: Path,
    entry: Any,
) -> None:
    """BUFFER is the manifest of recorded activations or attributions."""
    from compgraph.cli.inputs import build_partition, merged_parts, open_recordings
    from compgraph.cli.saving import save_graph

    own, opened = open_recordings([buffer, *pool], dictionaries, model, call.device)
    other, compared = open_recordings(against, dictionaries, model, call.device, role="against")
    partition, inputs = build_partition(own[0], entry.partition, rois)
    inputs |= {**opened, **compared}
    source: Any = own
    if part_file:
        source, merged = merged_parts(part_file)
        inputs |= merged
    besides = {"against": other} if other else {}
    save_graph(call, partial(graph_of, source, entry, partition, **besides), output, inputs)


def graph_of(recorded: Any, entry: Any, partition: Partition, **further: Any) -> ComputationalGraph:
    """The graph of an entry, for buffers: of the checkpoint, or of a network with random weights.

    `further` are arguments that an entry has no value for: what to compare with, and where all scores go.
    """
    from compgraph.circuits import sparsify
    from compgraph.cli.saving import method_options
    from compgraph.config.functional import SHARED
    from compgraph.connectivity.functional import functional_connectivity

    options = method_options(catalogue.FUNCTIONAL[entry.method], entry)
    options |= {name: getattr(entry, name) for name in SHARED}
    graph = functional_connectivity(recorded, partition, entry.method, **options, **further)
    return graph if entry.sparsify is None else sparsify(graph, entry.sparsify, **entry.sparsify_options)
