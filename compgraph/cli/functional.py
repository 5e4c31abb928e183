"""``compgraph functional``: a graph of what varies together."""

from __future__ import annotations

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
    from compgraph.circuits import sparsify
    from compgraph.cli.inputs import build_partition, merged_parts, open_recordings
    from compgraph.cli.saving import method_options, save_graph
    from compgraph.config.functional import SHARED
    from compgraph.connectivity.functional import functional_connectivity

    own, opened = open_recordings([buffer, *pool], dictionaries, model, call.device)
    other, compared = open_recordings(against, dictionaries, model, call.device, role="against")
    partition, inputs = build_partition(own[0], entry.partition, rois)
    inputs |= {**opened, **compared}
    source: Any = own
    if part_file:
        source, merged = merged_parts(part_file)
        inputs |= merged
    options = method_options(catalogue.FUNCTIONAL[entry.method], entry)
    options |= {name: getattr(entry, name) for name in SHARED}
    if other:
        options["against"] = other

    def make(**matrix: Any) -> ComputationalGraph:
        graph = functional_connectivity(source, partition, entry.method, **options, **matrix)
        return graph if entry.sparsify is None else sparsify(graph, entry.sparsify, **entry.sparsify_options)

    save_graph(call, make, output, inputs)
