"""``compgraph structural``: a graph from the weights alone."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from compgraph import catalogue
from compgraph.cli.console import TO_BE_GIVEN, Call, output_option, rois_option, verb


@verb("structural", section="structural", device=True)
@click.argument("model", type=TO_BE_GIVEN)
@rois_option
@output_option
def command(call: Call, model: Path, rois: Path | None, output: Path, entry: Any) -> None:
    """MODEL is the manifest of a checkpoint."""
    from compgraph.cli.inputs import build_partition, open_network
    from compgraph.cli.saving import method_options, save_graph

    net, made = open_network(model, call.device)
    partition, inputs = build_partition(net, entry.partition, rois)
    method = catalogue.STRUCTURAL[entry.method]
    make = partial(catalogue.load(method), net, partition, seed=entry.seed, **method_options(method, entry))
    save_graph(call, make, output, {"model": made, **inputs})
